#!/bin/sh
# Runs every fuzz test of all packages, or of those that are named, for a short
# while, one after another: FUZZTIME each, 20000 inputs unless told otherwise. A
# number of inputs and not a time: Go before 1.27 may report the end of a time as a
# failure, "context deadline exceeded" (golang/go#75804).
#   FUZZTIME=1000000x scripts/fuzz.sh ./internal/rdb
# It runs on a copy of the seeds and writes nothing into the tree: an input that
# makes a test fail is shown, to be saved where it says.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./...

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
go list -f '{{.ImportPath}} {{.Dir}}' "$@" >"$scratch/packages"

# Making inputs smaller takes a minute each unless it is bounded, all of a short run.
fuzz() {
    ../fuzz.test -test.run '^$' -test.fuzz "^$1\$" -test.fuzztime "${FUZZTIME:-20000x}" -test.fuzzminimizetime 100x -test.fuzzcachedir ../cache >../log 2>&1
}

failed=0
while read -r package folder; do
    names=$(cat "$folder"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Z][A-Za-z0-9]*\)(.*/\1/p')
    [ -n "$names" ] || continue
    go test -c -vet=off -fuzz . -o "$scratch/fuzz.test" "$package"
    rm -rf "$scratch/run"
    mkdir "$scratch/run"
    [ ! -d "$folder/testdata" ] || cp -R "$folder/testdata" "$scratch/run/"
    touch "$scratch/begun"
    for name in $names; do
        if (cd "$scratch/run" && fuzz "$name" </dev/null); then
            echo "$package $name $(sed -n 's/^fuzz: elapsed: .*\(execs: [0-9]*\).*/\1/p' "$scratch/log" | tail -n 1)"
            continue
        fi
        failed=1
        echo "FAIL $package $name" >&2
        cat "$scratch/log" >&2
        (cd "$scratch/run" && find "testdata/fuzz/$name" -type f -newer ../begun 2>/dev/null) | while read -r input; do
            echo "To keep this input, save it as $folder/$input:" >&2
            cat "$scratch/run/$input" >&2
        done
    done
done <"$scratch/packages"
exit $failed
