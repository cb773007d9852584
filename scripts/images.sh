#!/bin/sh
# Makes the images that the tests drill in: Redis 7.0 and 8.0, Valkey 8.1 and 9.1,
# as Debian's suites have them (scripts/servers.sh), with no registry. Each holds a
# server, its client and the libraries they need, and nothing else:
#   slotark-test/redis:7.0.15   slotark-test/valkey:9.1.2   and so on
# An image that is there and holds the same files stays. Where no Docker engine
# answers, only the servers are unpacked: the tests run them as local processes.
set -eu
cd "$(dirname "$0")/.."

scripts/servers.sh bookworm trixie sid
tools=$(cd .tools && pwd -P)
scripts/engine.sh || exit 0
scripts/servers.sh registry # from which drills pull

# engine speaks to the engine where there is no docker program: METHOD PATH [BODY].
engine() {
    socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
    curl --silent --show-error --fail --max-time 120 --unix-socket "${socket#unix://}" \
        -X "$1" ${3:+-H 'Content-Type: application/x-tar' --data-binary "@$3"} "http://docker$2"
}

# label is what the image of a name was made of; nothing where there is none.
label() {
    if command -v docker >/dev/null 2>&1; then
        docker image inspect --format '{{index .Config.Labels "io.slotark.files"}}' "$1" 2>/dev/null || true
    else
        engine GET "/images/$1/json" 2>/dev/null | sed -n 's/.*"io.slotark.files":"\([0-9a-f]*\)".*/\1/p'
    fi
}

# load makes an image of a tar: NAME TAR DIGEST SERVER.
load() {
    if command -v docker >/dev/null 2>&1; then
        docker import --change "CMD [\"$4\"]" --change "LABEL io.slotark.image=$4 io.slotark.files=$3" "$2" "$1" >/dev/null
    else
        changes="changes=CMD%20%5B%22$4%22%5D&changes=LABEL%20io.slotark.image=$4%20io.slotark.files=$3"
        engine POST "/images/create?fromSrc=-&repo=${1%:*}&tag=${1##*:}&$changes" "$2" >/dev/null
    fi
    # An engine reports a failed import in an answer that says 200.
    [ "$(label "$1")" = "$3" ] || { echo "the engine did not make image $1" >&2; exit 1; }
}

# collect puts a server, its client and what they load into a folder.
collect() {
    root=$1 engine_name=$2 files=$3
    rm -rf "$files"
    mkdir -p "$files/usr/local/bin" "$files/etc" "$files/tmp"
    chmod 1777 "$files/tmp"
    echo 'slotark:x:999:999:drill:/:/sbin/nologin' >"$files/etc/passwd"
    echo 'slotark:x:999:' >"$files/etc/group"
    # A program names its loader by a path that the libraries are found beside; on
    # a whole system both are links into /usr.
    loader=$(find "$root/lib" "$root/usr/lib" -type f -name 'ld-linux*.so.*' | head -n 1)
    interpreter=$(cd "$root" && find lib64/ lib/ -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
    triplet=$(basename "$(dirname "$(find "$root/usr/lib" "$root/lib/" -name 'libjemalloc.so.*' | head -n 1)")")
    mkdir -p "$files/lib/$triplet" "$files/$(dirname "$interpreter")"
    cp "$loader" "$files/$interpreter"
    for program in "$engine_name-server" "$engine_name-cli"; do
        cp -L "$root/usr/bin/$program" "$files/usr/local/bin/"
        "$loader" --library-path "$root/usr/lib/$triplet:$root/lib/$triplet" --list "$root/usr/bin/$program" |
            sed -n 's|.* => \(/.*\) (0x.*|\1|p' | while read -r library; do
            case $library in
            "$root"/*) cp -L "$library" "$files/lib/$triplet/" ;;
            *) echo "$program of $root would load $library" >&2 && exit 1 ;;
            esac
        done
    done
}

for server in bookworm/redis trixie/redis trixie/valkey sid/valkey; do
    suite=${server%/*} name=${server#*/}
    version=$("$tools/servers/$suite/bin/$name-server" --version | sed 's/.* v=\([^ ]*\) .*/\1/')
    made=$tools/images/$name-$version
    if [ ! -f "$made.tar" ]; then
        collect "$tools/servers/$suite/root" "$name" "$made"
        tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$made" -cf "$made.new" .
        rm -rf "$made"
        mv "$made.new" "$made.tar"
    fi
    digest=$(sha256sum "$made.tar" | cut -d' ' -f1)
    image=slotark-test/$name:$version
    if [ "$(label "$image")" != "$digest" ]; then
        load "$image" "$made.tar" "$digest" "$name-server"
    fi
    echo "image $image"
done
