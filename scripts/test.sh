#!/bin/sh
# Formatting, vet, a moment of each fuzz test, then every test, or those of the
# packages that are named:
#   scripts/test.sh ./scheduler ./storage/...
# The last line of the output is
#   N passed, N failed, N skipped
set -eu
cd "$(dirname "$0")/.."
# The packages that take longest first, so that none of them is left to run alone.
[ $# -gt 0 ] || set -- ./cmd/slotark ./restore/drill ./restore ./internal/rdb ./storage/s3 ./...

# Tests compare no speed: without the profile of cmd/slotark, for which all that it
# imports would be compiled a second time.
export GOFLAGS="${GOFLAGS:-} -pgo=off"

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
    echo "These files are not formatted. Run: gofmt -w ." >&2
    echo "$unformatted" >&2
    exit 1
fi
go vet -tags servers "$@" # with those that only scripts/agree.sh runs

TESTREPORT_FAILED=
FUZZTIME=${FUZZTIME:-400x} scripts/fuzz.sh "$@" || TESTREPORT_FAILED=scripts/fuzz.sh
export TESTREPORT_FAILED

if scripts/engine.sh; then
    echo "Container tests run in containers: a Docker engine answers."
else
    echo "Container tests run as local processes: no Docker engine answers."
fi

# The report is built first and not run by `go run`, so that a signal reaches it.
go build -o bin/testreport ./internal/testreport
# Tests wait for servers as much as they compute: so many run at a time as keep the
# cores at work. More of them make servers miss their limits, and nothing faster.
cores=$(getconf _NPROCESSORS_ONLN)
exec bin/testreport -vet=off -count=1 -p "$cores" -parallel $((2 * cores)) -timeout 40m "$@"
