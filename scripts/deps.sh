#!/bin/sh
# Installs what the demo and the tests run and cannot build: redis-server, from
# Debian's packages. Does nothing where it is on the PATH already.
set -eu

if command -v redis-server >/dev/null 2>&1; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "redis-server is missing, and there is no apt-get to install it with." >&2
    echo "Install Redis 6.2 or newer so that redis-server is on the PATH, then run this again." >&2
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "redis-server is missing. Run as root: apt-get install redis-server redis-tools" >&2
        exit 1
    fi
}

echo "Installing redis-server and redis-tools"
# A broken source that has nothing to do with Redis must not stop us here: if
# the package cannot be had, the next step says so.
as_root apt-get -q -o Acquire::Retries=3 update || true
as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
    install --no-install-recommends redis-server redis-tools

# The package starts a server on port 6379. Slotark needs the program, not the
# service, so what was started by the lines above is stopped again.
if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
elif command -v service >/dev/null 2>&1; then
    as_root service redis-server stop >/dev/null 2>&1 || true
fi
command -v redis-server >/dev/null || { echo "redis-server was installed but is not on the PATH" >&2; exit 1; }
echo "Installed $(redis-server --version | cut -d' ' -f3). Its service is off; to have it: systemctl enable --now redis-server"
