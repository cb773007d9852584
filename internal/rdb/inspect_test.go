package rdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

func inspect(data []byte, o rdb.InspectOptions) (*rdb.Report, error) {
	return rdb.Inspect(context.Background(), bytes.NewReader(data), o)
}

func TestInspectStandalone(t *testing.T) {
	data := fixture(t)
	before := time.Now().Add(-10 * time.Minute)
	for _, size := range []int64{0, int64(len(data))} {
		report, err := inspect(data, rdb.InspectOptions{Size: size})
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if report.Engine != "redis" || report.Version != 10 || report.Aux["redis-ver"] == "" {
			t.Errorf("header %v, aux %v", report.Header, report.Aux)
		}
		if report.Keys != 28 || report.Expiring != 3 || report.MaxDB != 3 {
			t.Errorf("%d keys, %d expiring, highest database %d", report.Keys, report.Expiring, report.MaxDB)
		}
		want := map[string]uint64{"string": 13, "list": 2, "set": 5, "zset": 3, "hash": 3, "stream": 2}
		if !maps.Equal(report.Types, want) {
			t.Errorf("types %v, want %v", report.Types, want)
		}
		if len(report.Functions) != 1 || len(report.Modules) != 0 {
			t.Errorf("functions %v, modules %v", report.Functions, report.Modules)
		}
		if report.Bytes != int64(len(data)) || report.ChecksumDisabled || report.CRC64 == 0 {
			t.Errorf("%d of %d bytes, checksum %x, disabled %t", report.Bytes, len(data), report.CRC64, report.ChecksumDisabled)
		}
		if report.Created.Before(before) || report.Created.After(time.Now().Add(time.Minute)) || report.UsedMemory < 1<<19 {
			t.Errorf("created %s with %d bytes in use", report.Created, report.UsedMemory)
		}
		if c := report.Slots[slot.Of([]byte("h:small"))]; c.Keys != 1 || c.Expiring != 1 {
			t.Errorf("slot of h:small has %+v", c)
		}
	}
}

func TestInspectClusterNode(t *testing.T) {
	s := startServer(t, "--cluster-enabled", "yes")
	s.do("CLUSTER", "ADDSLOTSRANGE", 0, slot.Count-1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.Tick(20 * time.Millisecond); !strings.Contains(s.do("CLUSTER", "INFO").(string), "cluster_state:ok"); {
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatal("the cluster of one does not come up")
		}
	}
	var owned slot.Set
	keys := 0
	for i := range 200 {
		name := fmt.Sprintf("key:%d", i)
		s.do("SET", name, i)
		owned.Add(slot.Of([]byte(name)))
		keys++
	}
	s.fill("{tag}")
	owned.Add(slot.Of([]byte("tag")))
	data := s.save()

	report, err := inspect(data, rdb.InspectOptions{Owned: &owned})
	if err != nil {
		t.Fatal(err)
	}
	for n, count := range report.Slots {
		if want := s.do("CLUSTER", "COUNTKEYSINSLOT", n).(int64); int64(count.Keys) != want {
			t.Errorf("slot %d has %d keys in the dump, %d in the server", n, count.Keys, want)
		}
	}
	// A shard that does not own one of these slots cannot have written the dump.
	without := owned.Minus(slot.SetOf(slot.Range{First: slot.Of([]byte("key:7")), Last: slot.Of([]byte("key:7"))}))
	_, err = inspect(data, rdb.InspectOptions{Owned: &without})
	if code(err) != rdb.CodeSlotOwner || !strings.Contains(err.Error(), `"key:7"`) {
		t.Errorf("a key of a foreign slot gives %v", err)
	}
}

func TestInspectWithoutChecksum(t *testing.T) {
	s := startServer(t, "--rdbchecksum", "no")
	s.do("SET", "a", 1)
	report, err := inspect(s.save(), rdb.InspectOptions{})
	if err != nil || !report.ChecksumDisabled || report.Keys != 1 || report.CRC64 == 0 {
		t.Errorf("%v, disabled %t, %d keys, checksum %x", err, report.ChecksumDisabled, report.Keys, report.CRC64)
	}
}

func TestInspectEmptyServer(t *testing.T) {
	report, err := inspect(startServer(t).save(), rdb.InspectOptions{})
	if err != nil || report.Keys != 0 || len(report.Types) != 0 || report.MaxDB != 0 {
		t.Errorf("%v, %+v", err, report.Types)
	}
}

// The same records come whatever pieces the source gives.
func TestReaderPieces(t *testing.T) {
	data := fixture(t)
	want := records(t, bytes.NewReader(data), int64(len(data)))
	sources := map[string]io.Reader{
		"one byte":     iotest.OneByteReader(bytes.NewReader(data)),
		"half":         iotest.HalfReader(bytes.NewReader(data)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(data)),
	}
	for name, src := range sources {
		if got := records(t, src, 0); got != want {
			t.Errorf("%s: other records", name)
		}
	}
}

func records(t *testing.T, src io.Reader, size int64) string {
	t.Helper()
	var text strings.Builder
	r := rdb.NewReader(src, rdb.Options{Size: size})
	for {
		rec, err := r.Next()
		if err == io.EOF {
			fmt.Fprintf(&text, "%x %d", r.CRC64(), r.Offset())
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%+v\n", *rec)
	}
}

func TestReaderRecords(t *testing.T) {
	r := rdb.NewReader(bytes.NewReader(smallFixture(t)), rdb.Options{})
	seen := map[string]rdb.Record{}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch rec.Kind {
		case rdb.KindKey:
			seen[string(rec.Key)] = *rec
		case rdb.KindFunction:
			if string(rec.Value) != library {
				t.Errorf("library %q", rec.Value)
			}
			seen["function"] = *rec
		case rdb.KindResizeDB:
			if rec.Keys != 5 || rec.Expiring != 1 {
				t.Errorf("announced %d keys, %d expiring", rec.Keys, rec.Expiring)
			}
		}
	}
	if len(seen) != 6 {
		t.Fatalf("%d records", len(seen))
	}
	if a := seen["a"]; !a.HasExpiry || a.ExpireAt != 4102444800123 || !a.HasFreq || a.Family != rdb.String || a.Slot != slot.Of([]byte("a")) {
		t.Errorf("a is %+v", a)
	}
	if z := seen["z"]; z.Family != rdb.Zset || z.HasExpiry {
		t.Errorf("z is %+v", z)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// A failing source is not damage: the dump may be fine.
func TestSourceErrors(t *testing.T) {
	data := smallFixture(t)
	broken := errors.New("cable cut")
	for n := range len(data) {
		src := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		_, err := rdb.Inspect(t.Context(), src, rdb.InspectOptions{Size: int64(len(data))})
		if !errors.Is(err, broken) || code(err) != "" {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	stuck := io.MultiReader(bytes.NewReader(data[:20]), stuckReader{})
	if _, err := rdb.Inspect(t.Context(), stuck, rdb.InspectOptions{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a stuck source gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rdb.Inspect(ctx, bytes.NewReader(data), rdb.InspectOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled inspection gives %v", err)
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

func TestInspectProgress(t *testing.T) {
	data := newDump(10).str("a", strings.Repeat("x", 9<<20)).str("b", "y").done()
	var calls []int64
	var keys uint64
	_, err := inspect(data, rdb.InspectOptions{OnProgress: func(bytes int64, n uint64) {
		calls = append(calls, bytes)
		keys = n
	}})
	// Every four megabytes, and at the end.
	if err != nil || len(calls) != 3 || !slices.IsSorted(calls) || calls[2] != int64(len(data)) || keys != 2 {
		t.Errorf("%v, calls at %v, %d keys of %d bytes", err, calls, keys, len(data))
	}
}

// code is the code of the damage in err, or "".
func code(err error) string {
	var d *rdb.Damage
	if errors.As(err, &d) {
		return d.Code
	}
	return ""
}
