package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// What Capture gets, wrapped by DumpPayload, is what the server itself answers
// to DUMP, and another server takes it by RESTORE.
func TestCaptureRestores(t *testing.T) {
	source, target := startServer(t), startServer(t, "--list-compress-depth", "0")
	source.fill("")
	var value bytes.Buffer
	r := rdb.NewReader(bytes.NewReader(source.save()), rdb.Options{Capture: &value})
	keys := 0
	for {
		value.Reset()
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != rdb.KindKey {
			if value.Len() > 0 {
				t.Errorf("record %d captured %d bytes", rec.Kind, value.Len())
			}
			continue
		}
		if int64(value.Len()) != rec.ValueLen {
			t.Errorf("%s: captured %d bytes of %d", rec.Key, value.Len(), rec.ValueLen)
		}
		name := string(rec.Key)
		payload := rdb.DumpPayload(nil, rec.Type, value.Bytes(), r.Header().Version)
		if want := source.do("DUMP", name).(string); want != string(payload) {
			t.Errorf("%s: the payload is not what DUMP answers", name)
		}
		ttl := int64(0)
		if rec.HasExpiry {
			ttl = rec.ExpireAt
		}
		target.do("RESTORE", name, ttl, payload, "ABSTTL")
		keys++
	}
	if keys != 28 || target.do("DBSIZE").(int64) != 28 {
		t.Errorf("%d keys restored, the server has %d", keys, target.do("DBSIZE"))
	}
	if a, b := source.do("DEBUG", "DIGEST"), target.do("DEBUG", "DIGEST"); a != b {
		t.Errorf("the servers hold different data: %v and %v", a, b)
	}
}

// A value longer than the buffer is captured whole, and a failing capture is
// an error of its own.
func TestCaptureLargeValue(t *testing.T) {
	long := string(noise(3 << 20))
	data := newDump(10).str("a", long).str("b", "short").done()
	var value bytes.Buffer
	r := rdb.NewReader(bytes.NewReader(data), rdb.Options{Capture: &value})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := value.Bytes(); string(got[5:]) != long {
		t.Errorf("captured %d bytes", len(got))
	}
	broken := errors.New("disk full")
	r = rdb.NewReader(bytes.NewReader(data), rdb.Options{Capture: failingWriter{broken}})
	if _, err := r.Next(); !errors.Is(err, broken) || code(err) != "" {
		t.Errorf("a failing capture gives %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
