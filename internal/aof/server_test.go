package aof_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/slot"
)

// fill writes in many ways and returns the slots that the files then name.
func (s *server) fill(tag string, count int) slot.Set {
	s.t.Helper()
	var slots slot.Set
	key := func(name string) string {
		name = fmt.Sprintf("%s:%s", tag, name)
		slots.Add(slot.Of([]byte(name)))
		return name
	}
	for i := range count {
		s.do("SET", key(fmt.Sprint("string:", i)), strings.Repeat("v", i*7%300), "EX", 1_000_000)
		s.do("HSET", key(fmt.Sprint("hash:", i%9)), "field", i, "\x00\r\n", "*1\r\n$4\r\n")
		s.do("RPUSH", key("list"), i, "x")
		s.do("ZADD", key("zset"), i, fmt.Sprint("m", i))
		s.do("XADD", key("stream"), "*", "f", i)
	}
	s.do("MSET", key("m1"), 1, key("m2"), 2)
	s.do("LPOP", key("list"), 3)
	s.do("RENAME", key("m1"), key("m3"))
	s.do("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('INCR', KEYS[1])", 1, key("script"))
	s.do("XGROUP", "CREATE", key("stream"), "g", "0")
	s.do("BITOP", "NOT", key("bits"), key("m2"))
	s.do("ZUNIONSTORE", key("union"), 2, key("zset"), key("none"))
	// go-redis gives a transaction one connection.
	_, err := s.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		p.Incr(context.Background(), key("n"))
		p.Unlink(context.Background(), key("m2"), key("string:0"))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.do("SET", key("large"), noise(1_200_000))
	s.do("FUNCTION", "LOAD", "REPLACE", "#!lua name=lib"+strings.ReplaceAll(tag, "-", "")+"\nredis.register_function('f"+strings.ReplaceAll(tag, "-", "")+"', function() return 1 end)")
	return slots
}

// sound inspects a set that a server left, and fails the test if redis-check-aof
// or this package finds fault with it.
func sound(t *testing.T, files folder, name string) *aof.Report {
	t.Helper()
	report := files.inspect(t, name)
	for _, d := range report.Findings {
		t.Errorf("%s: %v", d.Severity, d)
	}
	if ok, out := files.check(t, report.Name); !ok {
		t.Errorf("redis-check-aof:\n%s", out)
	}
	for _, f := range report.Files {
		if f.Lost() != 0 || f.WholeEnd != f.Bytes || f.Unplaced != 0 || f.Bytes != int64(len(files[f.Name])) {
			t.Errorf("%s: %d of %d bytes are whole, %d unplaced", f.Name, f.WholeEnd, f.Bytes, f.Unplaced)
		}
	}
	return report
}

// A set before, during and after a rewrite.
func TestRewrite(t *testing.T) {
	begun := time.Now().Truncate(time.Second)
	s := startServer(t, t.TempDir(), "--aof-timestamp-enabled", "yes")
	slots := s.fill("one", 60)
	before := sound(t, s.files(), "")
	if len(before.Files) != 2 || before.Files[0].Type != aof.Base || before.Base() == nil || before.Base().Keys != 0 || before.Base().Aux["aof-base"] != "1" {
		t.Fatalf("files %v", before.Files)
	}
	incr := before.Files[1]
	if incr.Slots != slots || incr.Names["SET"] < 60 || incr.Names["XADD"] != 60 || incr.Transactions < 2 || incr.Commands < 300 || incr.MaxDB != 0 {
		t.Errorf("%d commands %v, %d transactions, slots %s, want %s", incr.Commands, incr.Names, incr.Transactions, incr.Slots, slots)
	}
	if first, last := before.Range(); first.Before(begun) || last.After(time.Now()) || last.Before(first) || incr.Annotations == 0 {
		t.Errorf("from %s to %s, %d annotations", first, last, incr.Annotations)
	}

	// The child writes for as long as there are keys: 10 ms for each of about 90.
	s.do("CONFIG", "SET", "rdb-key-save-delay", "10000", "aof-disable-auto-gc", "yes")
	s.do("BGREWRITEAOF")
	s.await("aof_rewrite_in_progress", "1")
	s.do("SELECT", 0)
	more := s.fill("two", 5)
	during := sound(t, s.files(), "")
	if len(during.Files) != 3 || during.Files[2].Seq != 2 || during.Files[2].Slots != more || during.Slots() != slots.Union(more) {
		t.Fatalf("files %v", during.Files)
	}
	s.await("aof_rewrite_in_progress", "0")
	after := sound(t, s.files(), "")
	var types []string
	for _, e := range after.Manifest.Entries {
		types = append(types, e.Type.String())
	}
	if !slices.Equal(types, []string{"base", "history", "history", "incr"}) || len(after.Files) != 2 || after.Base().Keys < 60 || len(after.Base().Functions) != 1 {
		t.Fatalf("manifest %v, files %v", after.Manifest, after.Files)
	}
	if after.Files[1].Commands != during.Files[2].Commands {
		t.Errorf("%d commands, then %d", during.Files[2].Commands, after.Files[1].Commands)
	}
}

// A base of commands, in several databases, with an unusual name.
func TestBaseOfCommands(t *testing.T) {
	s := startServer(t, t.TempDir(), "--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes", "--appendfilename", "my 'odd' file")
	slots := s.fill("one", 20)
	s.do("COPY", "one:zset", "elsewhere", "DB", 7)
	slots.Add(slot.Of([]byte("elsewhere")))
	s.do("BGREWRITEAOF")
	s.await("aof_rewrite_in_progress", "0")
	s.do("SET", "later", 1)
	report := sound(t, s.files(), "")
	base := report.Files[0]
	if base.Dump != nil || base.MaxDB != 7 || base.Annotations == 0 || base.Names["FUNCTION"] != 1 || base.Slots.Minus(slots).Len() != 0 || base.Slots.Len() < 20 {
		t.Errorf("base %+v", base)
	}
	if report.Files[1].Commands != 2 { // SELECT and SET
		t.Errorf("%d commands in the increment", report.Files[1].Commands)
	}
}

// The one file of a server before Redis 7.0: a dump, then commands. Redis 7
// takes it over as a base.
func TestOldFile(t *testing.T) {
	s := startServer(t, t.TempDir())
	first := s.fill("one", 10)
	s.do("BGREWRITEAOF")
	s.await("aof_rewrite_in_progress", "0")
	second := s.fill("two", 10)
	report := sound(t, s.files(), "")
	dump, commands := s.files()[report.Files[0].Name], s.files()[report.Files[1].Name]
	old := folder{"appendonly.aof": slices.Concat(dump, commands)}

	alone := sound(t, old, "appendonly.aof")
	file := alone.Files[0]
	if alone.Manifest != nil || file.Dump == nil || file.DumpBytes != int64(len(dump)) || file.Dump.Keys < 10 || file.Slots != second || file.Commands != report.Files[1].Commands {
		t.Errorf("old file %+v", file)
	}
	if only := sound(t, folder{"appendonly.aof": dump}, "appendonly.aof").Files[0]; only.DumpBytes != int64(len(dump)) || only.Commands != 0 {
		t.Errorf("a dump alone: %+v", only)
	}
	dir := t.TempDir()
	old.write(t, dir)
	upgraded := startServer(t, dir)
	if n := upgraded.do("DBSIZE").(int64); n != s.do("DBSIZE").(int64) {
		t.Errorf("%d keys were loaded", n)
	}
	set := sound(t, upgraded.files(), "")
	if len(set.Files) != 2 || set.Files[0].Name != "appendonly.aof" || set.Files[0].Slots != second || set.Slots().Intersect(first).Len() > first.Len() {
		t.Errorf("files %v", set.Files)
	}
	// Damage behind the dump has its offset in the whole file.
	cut := old["appendonly.aof"][:len(old["appendonly.aof"])-5]
	if d := inspectFile(t, cut).Findings[0]; d.Code != aof.CodeTruncated || d.Offset < int64(len(dump)) || !d.Recoverable {
		t.Errorf("found %v", d)
	}
}

// transactionFiles are those of a server that ran a transaction between two
// other commands.
func transactionFiles(t *testing.T) folder {
	t.Helper()
	s := startServer(t, t.TempDir())
	s.do("SET", "before", strings.Repeat("x", 50))
	_, err := s.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		p.Set(context.Background(), "inside", "1", 0)
		p.Incr(context.Background(), "inside")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.do("SET", "after", "2")
	files := s.files()
	s.kill()
	return files
}

const firstIncr = "appendonly.aof.1.incr.aof"

// Where a set was cut, a server cuts it back to exactly what is reported, but
// for a command within a transaction.
func TestCutAsTheServerCuts(t *testing.T) {
	files := transactionFiles(t)
	whole := files[firstIncr]
	within := 0
	for cut := len(whole) - 1; cut > 0; cut -= 7 {
		files := maps.Clone(files)
		files[firstIncr] = whole[:cut]
		report := files.inspect(t, "")
		file := report.Files[1]
		loaded, err := files.loads(t)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := file.SafeEnd
		if err, ok := report.Err().(*aof.Damage); ok && err.Code == aof.CodeTruncated && file.WholeEnd > file.SafeEnd {
			want = file.WholeEnd
			within++
		}
		if got := int64(len(loaded[firstIncr])); got != want {
			t.Errorf("cut at %d: the server cuts it to %d, reported is %d", cut, got, want)
		}
		if _, err := files.loads(t, "--aof-load-truncated", "no"); (err == nil) != (file.Lost() == 0) {
			t.Errorf("cut at %d: lost are %d bytes, the strict server says %v", cut, file.Lost(), err)
		}
	}
	if within == 0 {
		t.Error("no cut was within a transaction")
	}
}

// Why SafeEnd: a server that starts with a file cut inside a transaction goes on
// writing in that transaction, and at its next start has lost what it wrote.
func TestWritesIntoAnOpenTransaction(t *testing.T) {
	for _, safe := range []bool{false, true} {
		files := transactionFiles(t)
		files[firstIncr] = files[firstIncr][:bytes.Index(files[firstIncr], []byte("incr"))]
		if file := files.inspect(t, "").Files[1]; safe {
			files[firstIncr] = files[firstIncr][:file.SafeEnd]
		}
		dir := t.TempDir()
		files.write(t, filepath.Join(dir, "appendonlydir"))
		first := startServer(t, dir)
		first.do("SET", "acknowledged", "yes")
		first.kill()
		second := startServer(t, dir)
		if kept := second.do("EXISTS", "acknowledged").(int64) == 1; kept != safe {
			t.Errorf("cut back to SafeEnd: %t; what was written afterwards is kept: %t", safe, kept)
		}
	}
}

// A live set is read while the server writes to it.
func TestLive(t *testing.T) {
	s := startServer(t, t.TempDir(), "--aof-timestamp-enabled", "yes")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			err = s.Set(ctx, fmt.Sprint("key:", i), strings.Repeat("v", i%500), 0).Err()
		}
		done <- err
	}()
	dir := filepath.Join(s.process.Dir(), "appendonlydir")
	for range 50 {
		report, err := inspectDir(t, dir)
		if err != nil || report.Err() != nil && !report.Loadable() {
			t.Fatal(err, report.Err())
		}
		for _, f := range report.Files {
			if f.Lost() < 0 {
				t.Errorf("%s: %d bytes are lost", f.Name, f.Lost())
			}
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
