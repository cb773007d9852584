#!/bin/sh
# Runs every fuzz test for a short while, one after another: FUZZTIME each,
# 10s unless told otherwise.
set -eu
cd "$(dirname "$0")/.."

go list ./... | while read -r package; do
    go test -list '^Fuzz' "$package" | grep '^Fuzz' | while read -r name; do
        echo "$package $name"
        go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10s}" "$package" </dev/null
    done
done
