#!/bin/sh
# Makes the dumps in internal/rdb/testdata and the append-only files in
# internal/aof/testdata again: unpacks the servers of other versions
# (scripts/servers.sh), lets each of them, and the machine's own, write its
# files, and then their golden reports. A version that Debian no longer has keeps
# the files it made.
set -eu
cd "$(dirname "$0")/.."

scripts/servers.sh bookworm trixie sid
SLOTARK_SERVERS=$(printf '%s:' "$PWD"/.tools/servers/*/bin)
export SLOTARK_SERVERS
for package in internal/rdb internal/aof; do
    go test "./$package" -count=1 -run '^TestFixturesMadeAgain$' -make-fixtures
    go test "./$package" -count=1 -run '^TestFixtures$' -update
    du -sh "$package/testdata"
done
