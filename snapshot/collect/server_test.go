package collect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/collect"
)

// waitLimit is for what takes a moment; promptly is for what must not wait for
// the node: far less than the slow saves of these tests take.
const (
	waitLimit = 30 * time.Second
	promptly  = 5 * time.Second
)

// quiet settings: no save that was not asked for, no wait before a diskless
// sync, no PING that moves the replication offset, and dumps as large as the
// values in them.
var quiet = []string{
	"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "3600",
	"--enable-debug-command", "yes", "--rdbcompression", "no",
}

// server is one real server. A dump does not tell whether its node is part of
// a cluster, so most tests need no more.
type server struct {
	*redisproc.Process
	node *cluster.Node
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	return startWith(t, redisproc.Options{Args: args})
}

func startWith(t *testing.T, o redisproc.Options) *server {
	t.Helper()
	o.Dir, o.Args = t.TempDir(), append(append([]string{}, quiet...), o.Args...)
	proc, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("start a server (`make deps` installs what the tests need): %v", err)
	}
	t.Cleanup(func() { proc.Kill() })
	node := proc.Access().Open(proc.Addr())
	t.Cleanup(func() { node.Close() })
	return &server{proc, node}
}

// startReplica starts a replica of a server and waits until it is in step.
func startReplica(t *testing.T, primary *server, args ...string) *server {
	t.Helper()
	s := start(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(primary.Port())}, args...)...)
	s.awaitInfo(t, "replication", "master_link_status", "up")
	return s
}

func (s *server) do(t *testing.T, args ...any) any {
	t.Helper()
	reply, err := s.node.Do(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// fill gives the server keys "key:<n>" with values of a size.
func (s *server) fill(t *testing.T, keys, size int) {
	t.Helper()
	s.do(t, "DEBUG", "POPULATE", keys, "key", size)
}

func (s *server) info(t *testing.T, section string) cluster.Info {
	t.Helper()
	info, err := s.node.Info(t.Context(), section)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (s *server) awaitInfo(t *testing.T, section, field, value string) {
	t.Helper()
	clustertest.Eventually(t, waitLimit, func(ctx context.Context) error {
		info, err := s.node.Info(ctx, section)
		if err == nil && info[field] != value {
			err = fmt.Errorf("%s is %q", field, info[field])
		}
		return err
	})
}

// awaitNextSecond waits until the server's clock has left the second of its
// last save, which a start counts as: Redis keeps that time in whole seconds.
func (s *server) awaitNextSecond(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, waitLimit, func(ctx context.Context) error {
		last, err := s.node.Int(ctx, "LASTSAVE")
		if err != nil {
			return err
		}
		now, err := s.node.Time(ctx)
		if err == nil && now.Unix() <= last {
			err = errors.New("still in the second of the last save")
		}
		return err
	})
}

// now is the server's clock.
func (s *server) now(t *testing.T) time.Time {
	t.Helper()
	now, err := s.node.Time(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// settings are all of the server's settings.
func (s *server) settings(t *testing.T) map[string]string {
	t.Helper()
	pairs := s.do(t, "CONFIG", "GET", "*").([]any)
	settings := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		settings[pairs[i].(string)] = pairs[i+1].(string)
	}
	if len(settings) < 100 {
		t.Fatalf("CONFIG GET * gave %d settings", len(settings))
	}
	return settings
}

func checkUnchanged(t *testing.T, s *server, before map[string]string) {
	t.Helper()
	if after := s.settings(t); !maps.Equal(before, after) {
		t.Errorf("settings changed:\n%s", cmp.Diff(before, after))
	}
}

// child is the process id of the server's saving child, once there is one.
func (s *server) child(t *testing.T) int {
	t.Helper()
	var found int
	clustertest.Eventually(t, waitLimit, func(context.Context) error {
		statuses, err := filepath.Glob("/proc/[0-9]*/status")
		if err != nil {
			return err
		}
		for _, path := range statuses {
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", s.PID())) {
				found, err = strconv.Atoi(filepath.Base(filepath.Dir(path)))
				return err
			}
		}
		return errors.New("the server has no child")
	})
	return found
}

// inspect reads a dump whole, as it is read for a snapshot.
func inspect(t *testing.T, source *collect.Source) *rdb.Report {
	t.Helper()
	report, err := rdb.Inspect(t.Context(), source, rdb.InspectOptions{Size: source.Size})
	if err := errors.Join(err, source.Close()); err != nil {
		t.Fatal(err)
	}
	if source.Size >= 0 && report.Bytes != source.Size {
		t.Errorf("it announced %d bytes and gave %d", source.Size, report.Bytes)
	}
	return report
}

// checkFresh holds a dump against what its source says of it.
func checkFresh(t *testing.T, source *collect.Source, report *rdb.Report, asked time.Time) {
	t.Helper()
	if report.Created.Before(source.NotBefore) || source.NotBefore.Before(asked.Truncate(time.Second)) {
		t.Errorf("asked at %s, not before %s, made at %s", asked, source.NotBefore, report.Created)
	}
	if source.Forked.Before(asked) || source.Forked.After(time.Now()) {
		t.Errorf("asked at %s, forked at %s, now it is %s", asked, source.Forked, time.Now())
	}
	if report.ReplID != "" && report.ReplID != source.ReplID {
		t.Errorf("replication id %s, the dump says %s", source.ReplID, report.ReplID)
	}
}

// result is what a collection in the background came to.
type result struct {
	source *collect.Source
	err    error
}

// beside runs a collection in the background.
func beside(run func() (*collect.Source, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		source, err := run()
		done <- result{source, err}
	}()
	return done
}

// fails waits for a collection to fail, and for no longer than a while.
func fails(t *testing.T, done <-chan result, within time.Duration) error {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.source != nil || r.err == nil {
			t.Fatalf("it gave %+v, %v, and had to fail", r.source, r.err)
		}
		return r.err
	case <-timer.C:
		t.Fatalf("it did not end within %s", within)
		return nil
	}
}

// drain reads to the end in the background; an io.EOF comes as nil.
func drain(source *collect.Source) <-chan result {
	return beside(func() (*collect.Source, error) {
		_, err := io.Copy(io.Discard, source)
		return nil, err
	})
}

// checkSays checks an error's text and that it says what to do.
func checkSays(t *testing.T, err error, text, advice string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with %q", err, text)
	}
	if hints := strings.Join(hint.Of(err), "; "); !strings.Contains(hints, advice) {
		t.Errorf("%v: the hints are %q, want %q", err, hints, advice)
	}
}
