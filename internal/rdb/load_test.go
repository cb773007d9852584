package rdb_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/servertest"
)

// loads are how many mutated dumps servers are usually started on.
const loads = 40

// A server that is started on a mutated dump loads exactly what this package
// finds sound, and as many keys, those that have expired or are empty included.
func TestAgreeWithLoading(t *testing.T) {
	n, seed := servertest.Mutations(t, loads)
	var servers []oracle
	for _, s := range servertest.Servers(t) {
		servers = append(servers, oracle{path: s.Binary, version: s.Engine + " " + s.Version, judge: loadDump,
			weSee: slices.Concat(weSee, serverPasses), theySee: slices.Concat(theySee, serverRefuses)})
	}
	agreeOnMutations(t, servers, seed, n)
}

var (
	logPrefix = regexp.MustCompile(`^\d+:\w \d+ \w+ \d+ [0-9:.]+ . `)
	loaded    = regexp.MustCompile(`^Done loading RDB, (keys loaded: .*)`)
	counted   = regexp.MustCompile(`: (\d+)`)
	trouble   = regexp.MustCompile(`(?i)error|fatal|bad|can.t|failed|invalid|bug report|no matching module|duplicated`)
	ready     = regexp.MustCompile(`[Rr]eady to accept connections`)
)

// loadDump starts a server on a dump, in the dump's folder, and ends it once it
// is ready. The counts it writes are of what it loaded, of what had expired, of
// empty keys, and of hashes whose fields had all expired.
func loadDump(ctx context.Context, path, dump string) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	socket := dump + ".sock" // which a killed server leaves, among the fixtures too
	defer os.Remove(socket)
	command := exec.CommandContext(ctx, path, "--dir", filepath.Dir(dump), "--dbfilename", filepath.Base(dump), "--save", "",
		"--sanitize-dump-payload", "yes", "--port", "0", "--unixsocket", filepath.Base(socket))
	log, err := command.StdoutPipe()
	if err != nil {
		return verdict{}, err
	}
	if err := command.Start(); err != nil {
		return verdict{}, err
	}
	var v verdict
	var said []string
	for lines := bufio.NewScanner(log); !v.sound && lines.Scan(); {
		line := logPrefix.ReplaceAllString(lines.Text(), "")
		if m := loaded.FindStringSubmatch(line); m != nil {
			for _, count := range counted.FindAllStringSubmatch(m[1], -1) {
				n, err := strconv.ParseInt(count[1], 10, 64)
				if err != nil {
					return verdict{}, err
				}
				v.keys += n
			}
		}
		if trouble.MatchString(line) {
			said = append(said, line)
		}
		v.sound = ready.MatchString(line)
	}
	late := ctx.Err() != nil
	cancel() // ends it
	switch ended := command.Wait(); {
	case v.sound:
	case late:
		v.why = "no answer in time"
	default:
		v.why = fmt.Sprintf("%s; %v", strings.Join(said, "; "), ended)
	}
	return v, nil
}
