#!/bin/bash
# Makes an executor of any Debian or Ubuntu VM on Compute Engine: installs Docker and Portfire, and
# starts the service. Google's guest agent runs it as root at every boot (metadata attribute
# startup-script); what is there already is left as it is, so an image with all of it starts in
# seconds.
#
# Metadata attributes that it takes, beside those of the executor:
#   portfire_package   what pip installs: a requirement, a URL, or gs://BUCKET/portfire-...whl
#   pip_packages       packages of your own Firetasks, with spaces between
#   linger_seconds     how long a VM on which this failed stays, to be looked at (900)
#   development        true: it stays for ever
#   make_image         true: install all, start nothing, and switch the VM off: its disk is to be
#                      an image (`portfire gce make-image`)
set -uo pipefail

# Another root than the machine's own: to try this script without making an executor of it.
ROOT=${PORTFIRE_STARTUP_ROOT:-}
HOME_DIR=$ROOT/opt/portfire
UNIT=$ROOT/etc/systemd/system/portfire-executor.service
METADATA="http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1"
ATTEMPTS=5
PAUSE=${PORTFIRE_STARTUP_PAUSE:-10}

say() { echo "portfire-startup: $*" >&2; }

metadata() { curl -sf --noproxy '*' --max-time 10 -H 'Metadata-Flavor: Google' "$METADATA/$1"; }

attribute() { metadata "instance/attributes/$1" || true; }

token() {
  metadata instance/service-accounts/default/token |
    sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p'
}

# Mirrors, locks of apt and new networks fail for moments.
patiently() {
  local attempt
  for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    "$@" && return 0
    say "attempt $attempt of $ATTEMPTS failed: $*"
    sleep "$PAUSE"
  done
  return 1
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq -y "$@"
}

install_debian_packages() {
  local wanted=()
  command -v docker >/dev/null || wanted+=(docker.io)
  [ -x "$HOME_DIR/bin/python" ] || python3 -c 'import ensurepip, venv' 2>/dev/null ||
    wanted+=(python3-venv)
  [ ${#wanted[@]} -eq 0 ] && return 0
  apt update && apt install --no-install-recommends "${wanted[@]}"
}

# A private wheel in a bucket needs no package index.
fetched() {
  case $1 in
    gs://*)
      local file
      file=$(mktemp -d)/${1##*/}
      curl -sf --max-time 300 -H "Authorization: Bearer $(token)" -o "$file" \
        "https://storage.googleapis.com/${1#gs://}" && echo "$file"
      ;;
    *) echo "$1" ;;
  esac
}

install_portfire() {
  [ -x "$HOME_DIR/bin/portfire" ] && return 0
  local package
  package=$(fetched "$(attribute portfire_package | grep . || echo portfire)") || return 1
  # shellcheck disable=SC2046 # the attribute has several words on purpose
  python3 -m venv "$HOME_DIR" &&
    "$HOME_DIR/bin/pip" install --quiet --disable-pip-version-check "$package" \
      $(attribute pip_packages)
}

make_user() {
  id portfire >/dev/null 2>&1 ||
    useradd --system --home-dir /var/lib/portfire --shell /usr/sbin/nologin portfire || return 1
  usermod --append --groups docker portfire || return 1
  [ -e "$ROOT/etc/portfire.yml" ] ||
    echo '# Settings of the executor; metadata attributes of the VM go before them.' \
      >"$ROOT/etc/portfire.yml"
}

install_unit() {
  [ -e "$UNIT" ] || "$HOME_DIR/bin/python" -c "
from importlib.resources import files
print((files('fleet') / 'portfire-executor.service').read_text(), end='')" >"$UNIT.new" &&
    { [ -e "$UNIT" ] || mv "$UNIT.new" "$UNIT"; } || return 1
  systemctl daemon-reload
}

start_service() {
    systemctl enable --now docker.service &&
    systemctl enable --now portfire-executor.service
}

# VMs made of the image start the service by themselves; this one must not: it would take jobs.
leave_to_image() {
  systemctl enable docker.service portfire-executor.service && apt-get clean || return 1
  # Each VM is to have an id of its own, which systemd makes of an empty file.
  : >"$ROOT/etc/machine-id"
}

delete_this_vm() {
  local zone
  zone=$(metadata instance/zone) || return 1
  curl -sf --max-time 60 -X DELETE -H "Authorization: Bearer $(token)" \
    "https://compute.googleapis.com/compute/v1/projects/$(metadata project/project-id)/zones/${zone##*/}/instances/$(metadata instance/name)"
}

# A VM that runs no executor must not run on for ever.
give_up() {
  say "$1 failed: this VM runs no executor; see the lines above"
  if [ "$(attribute development)" = true ]; then
    exit 1
  fi
  local linger
  linger=$(attribute linger_seconds | grep -xE '[0-9]+' || echo 900)
  say "the VM will be deleted in $linger s; to keep it, end this script"
  sleep "$linger"
  delete_this_vm || { say "cannot delete the VM: switching it off"; shutdown -h now; }
  exit 1
}

if [ "$(attribute make_image)" = true ]; then
  last=leave_to_image
else
  last=start_service
fi
for step in install_debian_packages install_portfire make_user install_unit "$last"; do
  patiently "$step" || give_up "$step"
done
if [ "$last" = leave_to_image ]; then
  # Who makes the image reads this from the serial port, and needs a moment to.
  say "the image is ready: switching the VM off"
  sleep "$PAUSE"
  shutdown -h now
  exit 0
fi
say "the executor runs: journalctl -u portfire-executor"
