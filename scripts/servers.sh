#!/bin/sh
# Unpacks the servers of other versions that the fixtures are made by and held
# against: Debian's own packages, by debootstrap (as root), into
#   .tools/servers/<suite>/root   the system they run in
#   .tools/servers/<suite>/bin    one wrapper for each program, which calls the
#                                 root's own loader: no chroot, no container
# and prints the versions it got. A suite that is there already stays.
#   scripts/servers.sh                      the suites below
#   scripts/servers.sh trixie               only this one
# Debian's mirror is the one this machine installs from.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- bookworm trixie sid

# Where .tools really is: worktrees may share one by a link, and the wrappers
# outlive the worktree that made them.
mkdir -p .tools
tools=$(cd .tools && pwd -P)

mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        grep -v -e security -e '^cdrom:' | head -n 1
}

# bootstrap chains its steps: where a function is a condition, set -e does not
# hold inside it.
bootstrap() {
    suite=$1 root=$2
    if [ "$suite" != bookworm ]; then
        debootstrap --variant=minbase --include=redis-server,redis-tools,valkey-server,valkey-tools \
            "$suite" "$root" "$(mirror)"
        return
    fi
    # Its Valkey is among the backports, which debootstrap cannot mix in. No
    # service may start there: the root shares this machine's network.
    debootstrap --variant=minbase --include=redis-server,redis-tools bookworm "$root" "$(mirror)" &&
        echo "deb $(mirror) bookworm-backports main" >"$root/etc/apt/sources.list.d/backports.list" &&
        printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" &&
        chmod +x "$root/usr/sbin/policy-rc.d" &&
        chroot "$root" apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -q -y --no-install-recommends \
            -t bookworm-backports install valkey-server valkey-tools
}

# wrap writes a program that runs one of a root's with the root's libraries.
wrap() {
    root=$1 program=$2 bin=$3
    loader=$(find "$root/lib64" "$root/usr/lib" -name 'ld-linux-*.so.*' 2>/dev/null | head -n 1)
    libraries=$(find "$root/usr/lib" -maxdepth 2 -name libc.so.6 -exec dirname {} \; | head -n 1)
    [ -n "$loader" ] && [ -n "$libraries" ] || { echo "no loader in $root" >&2; exit 1; }
    printf '#!/bin/sh\nexec "%s" --library-path "%s:%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$root/lib/${libraries##*/}" "$root/usr/bin/$program" >"$bin/$program"
    chmod +x "$bin/$program"
}

for suite; do
    folder=$tools/servers/$suite
    if [ ! -d "$folder/bin" ]; then
        if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
            echo "unpacking Debian $suite needs root and debootstrap: apt-get install debootstrap" >&2
            exit 1
        fi
        echo "Unpacking Debian $suite into .tools/servers/$suite"
        rm -rf "$folder"
        mkdir -p "$folder/new"
        if ! bootstrap "$suite" "$folder/root" >"$folder/log" 2>&1; then
            tail -n 5 "$folder/log" >&2
            exit 1
        fi
        for program in "$folder"/root/usr/bin/redis-* "$folder"/root/usr/bin/valkey-*; do
            # Some are links to each other; a wrapper's name must stay its own,
            # for the servers decide by it what they are.
            [ ! -x "$program" ] || wrap "$folder/root" "${program##*/}" "$folder/new"
        done
        # Last, so that what is there is whole.
        mv "$folder/new" "$folder/bin"
    fi
    for server in "$folder"/bin/redis-server "$folder"/bin/valkey-server; do
        [ ! -x "$server" ] || echo "$suite: $("$server" --version | cut -d' ' -f1,3)"
    done
done
