#!/bin/sh
# Installs versitygw, the S3 server the tests run against, into .tools/bin at a
# pinned version. It is a tool, not a dependency: go.mod does not name it.
# Does nothing where that version is there already.
set -eu
version=v1.8.0

cd "$(dirname "$0")/.."
if go version -m .tools/bin/versitygw 2>/dev/null | grep -q "versitygw[[:space:]]$version"; then
    exit 0
fi
echo "Installing versitygw $version into .tools/bin"
# CGO off: a fresh machine has no C compiler, and the tool needs none.
CGO_ENABLED=0 GOBIN="$PWD/.tools/bin" go install "github.com/versity/versitygw/cmd/versitygw@$version"
