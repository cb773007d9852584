#!/bin/sh
# Unpacks the servers of other versions that the tests run, that the fixtures are
# made by and that we are held against: Debian's own packages, into
#   .tools/servers/<suite>/root   their files, and those of the libraries they need
#   .tools/servers/<suite>/bin    one wrapper for each program, which calls the
#                                 root's own loader: no chroot, no container
# and prints the versions it got. Nothing is installed, and no root is needed. A
# suite that is there already stays: to have it anew, remove its folder.
#   scripts/servers.sh                      the suites below
#   scripts/servers.sh trixie               only this one
#   scripts/servers.sh registry             a registry of images, of bookworm
# Debian's mirror is the one this machine installs from.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- bookworm trixie sid

# Where .tools really is: worktrees may share one by a link, and the wrappers
# outlive the worktree that made them.
mkdir -p .tools/servers
tools=$(cd .tools && pwd -P)

# One at a time: whoever comes second finds what the first unpacked.
exec 9>"$tools/servers/lock"
if command -v flock >/dev/null; then flock 9; fi

# mirrors are the archives that this machine installs from. They are asked for in
# a way that needs no lists: a machine may have removed them.
mirrors() {
    apt-get update --print-uris |
        sed -n "s|^'\(.*\)/dists/[^/]*/InRelease'.*|\1|p" | grep -v -e security -e '^cdrom:' | uniq
}

# apt_get is apt-get with lists, settings and downloads in a folder of its own.
apt_get() {
    apt-get -q -o Dir::Etc="$apt/etc" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt/cache" -o Dir::Log="$apt" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 \
        -o Acquire::Retries=3 -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o APT::Update::Error-Mode=any -o APT::Update::Post-Invoke::= "$@"
}

# download fetches the packages of a suite and the libraries they need. What only
# their installation needs is said to be there.
download() {
    release=$1 mirror=$2 packages='redis-server redis-tools valkey-server valkey-tools'
    if [ "$release" = registry ]; then
        release=bookworm packages=docker-registry
    fi
    rm -rf "$apt"
    mkdir -p "$apt/etc/apt.conf.d" "$apt/etc/preferences.d" "$apt/etc/sources.list.d" "$apt/etc/trusted.gpg.d" \
        "$apt/state/lists/partial" "$apt/cache/archives/partial"
    for package in adduser debconf init-system-helpers lsb-base passwd perl procps systemd sysvinit-utils usrmerge usr-is-merged; do
        printf 'Package: %s\nStatus: install ok installed\nVersion: 9999\nArchitecture: all\nMulti-Arch: foreign\n\n' "$package"
    done >"$apt/status"
    signed=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [$signed] $mirror $release main" >"$apt/etc/sources.list"
    if [ "$release" = bookworm ]; then
        # Its Valkey is among the backports.
        echo "deb [$signed] $mirror bookworm-backports main" >>"$apt/etc/sources.list"
    fi
    apt_get update &&
        apt_get -y --no-install-recommends --download-only install $packages
}

# unpack chains its steps: where a function is a condition, set -e does not hold
# inside it.
unpack() {
    suite=$1 root=$2 apt=$3
    for mirror in $(mirrors); do
        # Another archive than Debian's fails here, for want of the suite or of
        # Debian's signature.
        download "$suite" "$mirror" || continue
        mkdir -p "$root" || return
        for package in "$apt"/cache/archives/*.deb; do
            dpkg-deb --extract "$package" "$root" || return
        done
        # What is a link on a whole system: programs name their loader by it.
        for name in lib lib64 bin sbin; do
            [ -e "$root/$name" ] || [ ! -e "$root/usr/$name" ] || ln -s "usr/$name" "$root/$name" || return
        done
        rm -rf "$apt"
        return
    done
    echo "no archive this machine installs from has Debian $suite"
    return 1
}

# wrap writes a program that runs one of a root's with the root's libraries.
wrap() {
    root=$1 program=$2 bin=$3
    loader=$(find "$root/lib64" "$root/lib" "$root/usr/lib" -type f -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
    libraries=$(find "$root/usr/lib" "$root/lib" -maxdepth 2 \( -name 'libjemalloc.so.*' -o -name libc.so.6 \) -printf '%h\n' -quit)
    [ -n "$loader" ] && [ -n "$libraries" ] || { echo "no loader in $root" >&2; exit 1; }
    printf '#!/bin/sh\nexec "%s" --library-path "%s:%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$root/lib/${libraries##*/}" "$root/usr/bin/$program" >"$bin/$program"
    chmod +x "$bin/$program"
}

for suite; do
    folder=$tools/servers/$suite
    if [ ! -d "$folder/bin" ]; then
        if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
            echo "unpacking Debian $suite needs apt-get and dpkg-deb" >&2
            exit 1
        fi
        echo "Unpacking Debian $suite into .tools/servers/$suite"
        rm -rf "$folder"
        mkdir -p "$folder/new"
        if ! unpack "$suite" "$folder/root" "$folder/apt" >"$folder/log" 2>&1; then
            tail -n 5 "$folder/log" >&2
            exit 1
        fi
        for program in "$folder"/root/usr/bin/redis-* "$folder"/root/usr/bin/valkey-* "$folder"/root/usr/bin/docker-registry; do
            # Some are links to each other; a wrapper's name must stay its own,
            # for the servers decide by it what they are.
            [ ! -x "$program" ] || wrap "$folder/root" "${program##*/}" "$folder/new"
        done
        # Last, so that what is there is whole.
        mv "$folder/new" "$folder/bin"
    fi
    if [ "$suite" = registry ]; then
        "$folder/bin/docker-registry" --version | sed 's/.*\//registry: /'
    fi
    for server in "$folder"/bin/redis-server "$folder"/bin/valkey-server; do
        [ ! -x "$server" ] || echo "$suite: $("$server" --version | cut -d' ' -f1,3)"
    done
done
