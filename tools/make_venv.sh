#!/bin/sh
# Makes the virtual environment $2 with the Python $1, or says in one line why it cannot.
# Debian ships venv apart from Python; as root we install it, otherwise we say what to install.
set -eu
python=$1
venv=$2

if ! command -v "$python" >/dev/null 2>&1; then
    echo "make: no '$python' here: install Python 3.10 or newer, or name one: make PYTHON=..." >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "make: '$python' is older than Python 3.10: name a newer one: make PYTHON=..." >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "make: '$python' has no venv module: install it (Debian: apt-get install python3-venv)" >&2
        exit 1
    fi
    echo "make: installing python3-venv"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv
fi
# --clear: half a virtual environment from an interrupted run is no use.
"$python" -m venv --clear "$venv"
