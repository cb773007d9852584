# Slotark. `make` lists what there is; `make demo` shows it at work.

# Go where the installer puts it, for a shell whose PATH does not know it yet;
# and the tests' tools, which scripts/tools.sh installs.
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help deps testdeps tools images build demo test race bench profile fuzz agree fixtures clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

deps: ## install redis-server where it is missing (Debian, as root or with sudo)
	@scripts/deps.sh

testdeps: ## and zstd and age, against which sealing is tested
	@scripts/deps.sh tests

tools: ## install the tests' S3 server into .tools
	@scripts/tools.sh

images: ## unpack the servers of other versions, and make the images that the tests drill in (Debian)
	@scripts/images.sh

build: ## build bin/slotark
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/slotark ./cmd/slotark

demo: deps build ## save a real cluster, destroy it, rebuild it, compare (KEEP=1 leaves it running)
	@go build -trimpath -o bin/demo ./internal/demo
	@SLOTARK_BIN='$(CURDIR)/bin/slotark' KEEP='$(KEEP)' bin/demo

test: testdeps tools images ## all checks and tests, on real Redis clusters and a real S3 server
	@scripts/test.sh

race: ## the fast tests under the race detector
	@scripts/race.sh

bench: testdeps ## all benchmarks: how fast we are beside redis-check-rdb, redis-check-aof and a server that loads, and drills against 20 s
	go test -run '^$$' -bench . -benchmem -timeout 60m ./...

profile: deps ## measure anew what the compiler optimises slotark for (cmd/slotark/default.pgo)
	go test ./internal/rdb -run '^$$' -bench '^BenchmarkCheckRDB$$' -benchtime 1x -timeout 30m -o .tools/rdb.test -cpuprofile cmd/slotark/default.pgo

fuzz: ## each fuzz test on FUZZTIME inputs (20000x)
	@scripts/fuzz.sh

agree: ## ask redis-check-rdb and redis-check-aof of six servers about 10000 mutations each (Debian; half an hour)
	@scripts/agree.sh

fixtures: deps ## make the testdata of internal/rdb and internal/aof again, by servers of six versions (Debian)
	@scripts/fixtures.sh

clean: ## remove what was built and the tools
	rm -rf bin .tools
