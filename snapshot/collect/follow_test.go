package collect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/collect"
)

var following = collect.BgsaveOptions{Follow: true}

// followed begins a save of some seconds and returns its source as soon as the
// child has begun to write.
func followed(t *testing.T, args ...string) (*server, *collect.Source) {
	t.Helper()
	s := start(t, args...)
	s.fill(t, 8000, 100)
	s.do(t, "SAVE") // a dump of before, which looks perfect
	s.do(t, "CONFIG", "SET", "rdb-key-save-delay", 100)
	s.awaitNextSecond(t)
	source, err := s.bgsave(t, following)
	if err != nil {
		t.Fatal(err)
	}
	if source.Saved == nil || source.Size != -1 {
		t.Fatalf("it waited for the save: %+v", source)
	}
	return s, source
}

// A dump is read while it is written, and is the dump that comes of it. What the
// node has of other saves, before and meanwhile, is not read.
func TestFollow(t *testing.T) {
	s := start(t)
	if err := os.WriteFile(filepath.Join(s.Dir(), "temp-1.rdb"), []byte("REDIS0010 of a child that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fill(t, 8000, 100)
	s.do(t, "CONFIG", "SET", "rdb-key-save-delay", 100)
	asked := time.Now()
	source, err := s.bgsave(t, following)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-source.Saved:
		t.Error("the save had ended before: the test proves nothing")
	default:
	}
	report := inspect(t, source)
	<-source.Saved
	checkFresh(t, source, report, asked)
	dump, err := os.Open(filepath.Join(s.Dir(), "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Close()
	saved, err := rdb.Inspect(t.Context(), dump, rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Keys != 8000 || report.CRC64 != saved.CRC64 || report.Bytes != saved.Bytes {
		t.Errorf("read %d keys in %d bytes, CRC64 %x; saved were %d in %d, %x", report.Keys, report.Bytes, report.CRC64, saved.Keys, saved.Bytes, saved.CRC64)
	}
}

// A save that fails, or is called off, gives no end to what was read of it.
func TestFollowASaveThatEnds(t *testing.T) {
	for signal, want := range map[syscall.Signal]error{
		syscall.SIGKILL: collect.ErrCannotSave,
		syscall.SIGUSR1: collect.ErrStale, // as the server itself calls one off
	} {
		t.Run(signal.String(), func(t *testing.T) {
			s, source := followed(t)
			done := drain(source)
			if err := syscall.Kill(s.child(t), signal); err != nil {
				t.Fatal(err)
			}
			if err := fails(t, done, promptly); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if err := source.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is read is the dump only if it is what the dump's name stands for.
func TestFollowAnotherFile(t *testing.T) {
	s, source := followed(t)
	defer source.Close()
	written := filepath.Join(s.Dir(), fmt.Sprintf("temp-%d.rdb", s.child(t)))
	if err := os.Rename(written, written+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(written, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := fails(t, drain(source), promptly)
	if !errors.Is(err, collect.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	checkSays(t, err, "what was read is not what became "+filepath.Join(s.Dir(), "dump.rdb"), "")
}

// A save that is called off while it is followed ends at once, by whoever takes
// no more of it.
func TestFollowClosed(t *testing.T) {
	s, source := followed(t)
	s.child(t)
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-source.Saved:
	default:
		t.Error("it is still waited for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.awaitInfo(t, "persistence", "rdb_bgsave_in_progress", "0")
	source, err := collect.Bgsave(ctx, s.Access(), s.Addr(), following)
	if err != nil {
		t.Fatal(err)
	}
	done := drain(source)
	cancel()
	if err := fails(t, done, promptly); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
}

// Without a checksum nothing would tell whether what was read of a growing file
// is what was written: the save is waited for.
func TestFollowNothingWithoutChecksum(t *testing.T) {
	s := start(t, "--rdb-key-save-delay", "100", "--rdbchecksum", "no")
	s.fill(t, 5000, 100)
	source, err := s.bgsave(t, following)
	if err != nil {
		t.Fatal(err)
	}
	if source.Saved != nil || source.Size < 0 {
		t.Errorf("it was followed: %+v", source)
	}
	if report := inspect(t, source); report.Keys != 5000 {
		t.Errorf("%d keys", report.Keys)
	}
}
