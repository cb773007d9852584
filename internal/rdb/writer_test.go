package rdb_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// rewrite makes a new dump of a dump's keys and libraries.
func rewrite(t *testing.T, dump []byte) []byte {
	t.Helper()
	var value, out bytes.Buffer
	r := rdb.NewReader(bytes.NewReader(dump), rdb.Options{Capture: &value})
	var w *rdb.Writer
	for {
		value.Reset()
		rec, err := r.Next()
		if w == nil {
			w = rdb.NewWriter(&out, r.Header())
			w.Aux("redis-bits", "64")
		}
		switch {
		case err == io.EOF:
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		case err != nil:
			t.Fatal(err)
		case rec.Kind == rdb.KindFunction:
			w.Function(rec.Value)
		case rec.Kind == rdb.KindResizeDB:
			w.Counts(rec.DB, rec.Keys, rec.Expiring)
		case rec.Kind == rdb.KindKey:
			w.Key(rec)
			if _, err := w.Write(value.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Every key of every fixture comes out of a new dump as it went in: the new one is
// whole, by every check, and has the same keys, digests and libraries.
func TestWriterKeepsFixtures(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.rdb")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	inspect := func(t *testing.T, dump []byte) *rdb.Report {
		report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump), rdb.InspectOptions{Size: int64(len(dump)), Deep: true, Digest: true, Duplicates: true})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".rdb"), func(t *testing.T) {
			dump, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			was, is := inspect(t, dump), inspect(t, rewrite(t, dump))
			if is.Digest != was.Digest || is.Keys != was.Keys || is.Expiring != was.Expiring || is.Version != was.Version || is.MaxDB != was.MaxDB || len(is.Functions) != len(was.Functions) {
				t.Errorf("%d keys, %d expiring, version %d, databases to %d, digest %s, %d functions; want %d, %d, %d, %d, %s, %d",
					is.Keys, is.Expiring, is.Version, is.MaxDB, is.Digest, len(is.Functions),
					was.Keys, was.Expiring, was.Version, was.MaxDB, was.Digest, len(was.Functions))
			}
		})
	}
}

// A new dump of lengths of all widths, with idle times and use counters, is one that
// a server loads.
func TestWriterLoads(t *testing.T) {
	source := startServer(t, "--maxmemory-policy", "allkeys-lfu", "--rdbcompression", "no")
	source.fill("")
	for _, size := range []int{63, 64, 16383, 16384} {
		source.do("SET", strings.Repeat("k", size), strings.Repeat("v", size))
		source.do("PEXPIRE", strings.Repeat("k", size), "100000000")
	}
	dump := rewrite(t, source.save())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), dump, 0o600); err != nil {
		t.Fatal(err)
	}
	target := startServerIn(t, dir)
	if a, b := source.do("DEBUG", "DIGEST"), target.do("DEBUG", "DIGEST"); a != b {
		t.Errorf("the servers hold different data: %v and %v", a, b)
	}
}

// What a new dump is written to may fail.
func TestWriterFails(t *testing.T) {
	w := rdb.NewWriter(failingWriter{io.ErrClosedPipe}, rdb.Header{Engine: "redis", Version: 10})
	if err := w.Close(); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
}
