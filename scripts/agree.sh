#!/bin/sh
# Holds this project's judgement of dumps and append-only sets against that of
# the servers' own redis-check-rdb and redis-check-aof: Redis 7.0 and 8.0, Valkey
# 8.0, 8.1 and 9.1, and the machine's own. Each tool is asked about every fixture
# and about MUTATIONS mutated ones (10000). A disagreement that no table of the
# tests explains fails the run and names the seed that repeats it:
#   SLOTARK_SEED=... MUTATIONS=... scripts/agree.sh
# It unpacks the servers first (scripts/servers.sh).
set -eu
cd "$(dirname "$0")/.."

scripts/servers.sh bookworm trixie sid
SLOTARK_SERVERS=$(printf '%s:' "$PWD"/.tools/servers/*/bin)
SLOTARK_MUTATIONS=${MUTATIONS:-10000}
export SLOTARK_SERVERS SLOTARK_MUTATIONS

# Output first to a file: the status of a pipe would be that of its last program.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM
failed=0
agree() {
    if ! go test -tags servers "$1" -count=1 -run "$2" -v -timeout 6h >"$log" 2>&1; then
        failed=1
    fi
    # What counts: the tools, the classes and how many there were of each, and
    # everything of a run that failed.
    if [ $failed -eq 0 ]; then
        grep -v -e '^=== ' -e '^ok ' -e '^PASS' "$log" | sed 's/^\( *\)[a-z_]*_test.go:[0-9]*: */\1/;s/^\( *\)[a-z]*.go:[0-9]*: */\1/'
    else
        cat "$log"
    fi
}
agree ./internal/rdb '^TestAgreeOn(Fixtures|Mutations)$'
agree ./internal/aof '^TestAgree$'
# And what only the newest of them do: slots that move atomically (Valkey 9).
agree ./snapshot '^TestAtomicMigration$'
# And append-only files of each, restored onto other shards.
agree ./restore '^TestDivided(SetsOfServers|Databases)$'
# From each server onto each, as dumps where those are read, and as commands.
agree ./restore '^TestAcrossServers$'
exit $failed
