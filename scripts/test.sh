#!/bin/sh
# Formatting, vet, a moment of each fuzz test, then every test, or those of the
# packages that are named:
#   scripts/test.sh ./scheduler ./storage/...
# The last line of the output is
#   N passed, N failed, N skipped
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./...

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
# Most tests wait for servers more than they compute: so many run at a time as keep
# the cores at work, and one package more than there are cores.
cores=$(getconf _NPROCESSORS_ONLN)
exec bin/testreport -vet=off -count=1 -p $((cores + 1)) -parallel $((2 * cores)) -timeout 40m "$@"
