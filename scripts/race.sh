#!/bin/sh
# Runs the tests of the fast packages under the race detector: all packages
# whose tests start no Redis cluster and no S3 server. Or of those that are named,
# which may take ten minutes each:
#   scripts/race.sh ./restore ./internal/agent
set -eu
cd "$(dirname "$0")/.."

if [ "$(go env CGO_ENABLED)" != 1 ]; then
    echo "the race detector needs a C compiler. Install one: apt-get install gcc libc6-dev" >&2
    exit 1
fi
go build -o bin/testreport ./internal/testreport
if [ $# -gt 0 ]; then
    exec bin/testreport -race -vet=off -count=1 -timeout 40m "$@"
fi
go list -f '{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... |
    grep -v -e internal/clustertest -e internal/s3test | cut -d' ' -f1 |
    xargs bin/testreport -race -vet=off -count=1 -timeout 20m
