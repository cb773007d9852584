#!/bin/sh
# Installs what the demo and the tests run and cannot build, from Debian's
# packages: redis-server, and with "tests" as argument zstd and age as well.
# Does nothing where all of it is on the PATH already.
set -eu

# Package and program have one name each.
missing=""
command -v redis-server >/dev/null 2>&1 || missing="redis-server redis-tools"
if [ "${1:-}" = tests ]; then
    for program in zstd age; do
        command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
    done
    # By which scripts/images.sh speaks to an engine where there is no docker.
    if [ -S /var/run/docker.sock ] && ! command -v docker >/dev/null 2>&1; then
        command -v curl >/dev/null 2>&1 || missing="$missing curl"
    fi
fi
if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "These are missing, and there is no apt-get to install them with: $missing" >&2
    echo "Install them so that they are on the PATH (Redis 6.2 or newer), then run this again." >&2
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "Run as root: apt-get install $missing" >&2
        exit 1
    fi
}

echo "Installing $missing"
# A broken source that has nothing to do with these must not stop us here: if
# the package cannot be had, the next step says so.
as_root apt-get -q -o Acquire::Retries=3 update || true
# shellcheck disable=SC2086 # a list of names
as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
    install --no-install-recommends $missing

case "$missing" in
*redis-server*)
    # The package starts a server on port 6379. Slotark needs the program, not
    # the service, so what was started by the lines above is stopped again.
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
    elif command -v service >/dev/null 2>&1; then
        as_root service redis-server stop >/dev/null 2>&1 || true
    fi
    command -v redis-server >/dev/null || { echo "redis-server was installed but is not on the PATH" >&2; exit 1; }
    echo "Installed $(redis-server --version | cut -d' ' -f3). Its service is off; to have it: systemctl enable --now redis-server"
    ;;
esac
