#!/bin/sh
# Makes the dumps in internal/rdb/testdata again: unpacks the servers of other
# versions (scripts/servers.sh), lets each of them, and the machine's own, write
# its dumps, and then their golden reports. A version that Debian no longer has
# keeps the files it made.
set -eu
cd "$(dirname "$0")/.."

scripts/servers.sh bookworm trixie sid
SLOTARK_SERVERS=$(printf '%s:' "$PWD"/.tools/servers/*/bin)
export SLOTARK_SERVERS
go test ./internal/rdb -count=1 -run '^TestFixturesMadeAgain$' -make-fixtures
go test ./internal/rdb -count=1 -run '^TestFixtures$' -update
du -sh internal/rdb/testdata
