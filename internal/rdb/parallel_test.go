package rdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// chunkings are what a worker gets at a time: every record alone and most values
// as streams, a few records, the usual.
var chunkings = []struct{ bytes, records int }{{1, 1}, {100, 3}, {256 << 10, 1 << 10}}

// sameInParallel holds the workers' judgement of a dump against that of one
// goroutine, down to the offset and the counts at which the damage was found.
func sameInParallel(t testing.TB, data []byte, o rdb.InspectOptions, name string) {
	t.Helper()
	o.Workers = 1
	want, wantErr := inspect(data, o)
	o.Workers = 3
	for _, c := range chunkings {
		got, err := rdb.InspectInChunks(context.Background(), bytes.NewReader(data), o, c.bytes, c.records)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !sameReport(got, want) {
			t.Fatalf("%s, chunks of %d bytes and %d records: %v, want %v\n%s", name, c.bytes, c.records, err, wantErr, cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })))
		}
	}
}

// sameReport compares two reports. The tables that have a line for each slot are
// compared as such: by reflection that takes longer than all the reading.
func sameReport(a, b *rdb.Report) bool {
	if a.Slots != b.Slots || !sameTable(a.SlotDigests, b.SlotDigests) || !sameTable(a.SlotRanges, b.SlotRanges) {
		return false
	}
	left, right := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for i := range left.NumField() {
		switch left.Type().Field(i).Name {
		case "Slots", "SlotDigests", "SlotRanges":
			continue
		}
		if !reflect.DeepEqual(left.Field(i).Interface(), right.Field(i).Interface()) {
			return false
		}
	}
	return true
}

func sameTable[T comparable](a, b []T) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func TestParallelOnFixtures(t *testing.T) {
	for _, file := range dumpFiles(t) {
		for _, o := range []rdb.InspectOptions{
			{Digest: true, Duplicates: true}, {Deep: true}, {Digest: true, Size: int64(len(file.data))},
		} {
			sameInParallel(t, file.data, o, file.path)
		}
	}
	for name, data := range map[string][]byte{"new": newTypes().done(), "old": oldTypes().done(), "Valkey": valkeyTypes().done()} {
		sameInParallel(t, data, rdb.InspectOptions{Digest: true, Duplicates: true}, name)
	}
}

// Whatever is wrong with a dump, workers find the same first damage.
func TestParallelOnMutations(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	files := dumpFiles(t)
	half := slot.SetOf(slot.Range{First: 0, Last: 15000})
	for i := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, i))
		file := files[rng.IntN(len(files))]
		data := mutate(rng, file.data)
		o := rdb.InspectOptions{Digest: i%2 == 0, Deep: true, Duplicates: i%3 == 0}
		if i%5 == 0 {
			o.Owned = &half
		}
		if i%4 == 0 {
			data = data[:rng.IntN(len(data))]
		}
		if i%7 < 4 {
			o.Size = int64(len(data))
		}
		sameInParallel(t, data, o, fmt.Sprintf("mutation %d of %s", i, filepath.Base(file.path)))
	}
}

// Every flipped bit and every prefix of small dumps with every type.
func TestParallelOnSmallDamage(t *testing.T) {
	for name, data := range map[string][]byte{"new": newTypes().unsealed(), "old": oldTypes().unsealed(), "Valkey": valkeyTypes().unsealed()} {
		for at := range data {
			if at%5 != 0 && testing.Short() {
				continue
			}
			sameInParallel(t, data[:at], rdb.InspectOptions{Digest: true, Size: int64(len(data) * (at % 2))}, fmt.Sprintf("%s, %d bytes of it", name, at))
			data[at] ^= 1 << (at % 8)
			sameInParallel(t, data, rdb.InspectOptions{Digest: true}, fmt.Sprintf("%s, byte %d changed", name, at))
			data[at] ^= 1 << (at % 8)
		}
	}
}

// manyKeys is a dump of some megabytes in which values of all lengths follow
// one another, the middle one of them damaged if asked for.
func manyKeys(damaged bool) []byte {
	b := newDump(15).raw(242, 7, 2).text("a", "b").selectDB(0)
	body := string(noise(400_000))
	for i := range 3000 {
		switch {
		case i == 1500 && damaged:
			b.key(16, "damaged").text(listpackOf("f", "v", "f", "w"))
		case i%500 == 7:
			b.str(fmt.Sprintf("long:%d", i), body)
		case i%500 == 8:
			b.raw(245).text(body) // a function
		case i%500 == 9:
			b.raw(242).num(uint64(i)).num(1).text("later")
		case i%3 == 0:
			b.key(30, fmt.Sprintf("template:%d", i)).text(listpackOf("7", "one", "2"))
		default:
			b.key(16, fmt.Sprintf("hash:%d", i)).text(listpackOf("f", strings.Repeat("v", i), "g", "w"))
		}
	}
	return b.done()
}

func TestParallelOnLongValues(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		data := manyKeys(damaged)
		for _, size := range []int64{0, int64(len(data))} {
			sameInParallel(t, data, rdb.InspectOptions{Digest: true, Duplicates: true, Size: size}, fmt.Sprint("damaged ", damaged))
		}
	}
}

// A damage within a long value ends the reading there: what follows it is not
// waited for.
func TestParallelStopsAtDamage(t *testing.T) {
	b := newDump(10).key(2, "set").num(1 << 20)
	for range 1 << 20 {
		b.text("twice")
	}
	data := b.data
	src := &countingReader{src: io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errors.New("read to the end")))}
	_, err := rdb.Inspect(t.Context(), src, rdb.InspectOptions{Deep: true, Workers: 2})
	if code(err) != rdb.CodeDuplicate || src.n > len(data)/2 {
		t.Errorf("%v after %d of %d bytes", err, src.n, len(data))
	}
}

type countingReader struct {
	src io.Reader
	n   int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += n
	return n, err
}

// However an inspection ends, its goroutines have ended before it returns.
func TestParallelLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	sound, damaged := manyKeys(false), manyKeys(true)
	for name, src := range map[string]io.Reader{
		"sound":      bytes.NewReader(sound),
		"damaged":    bytes.NewReader(damaged),
		"cut":        bytes.NewReader(sound[:len(sound)/2]),
		"broken":     io.MultiReader(bytes.NewReader(sound[:len(sound)/2]), iotest.ErrReader(errors.New("cable cut"))),
		"not a dump": strings.NewReader("nothing of the kind"),
	} {
		_, err := rdb.Inspect(t.Context(), src, rdb.InspectOptions{Digest: true, Workers: 4})
		if (err == nil) != (name == "sound") {
			t.Errorf("%s: %v", name, err)
		}
		if now := goroutines(t, before); now > before {
			t.Errorf("%s: %d goroutines, %d before", name, now, before)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := rdb.Inspect(ctx, &cancelling{bytes.NewReader(sound), len(sound) / 2, cancel}, rdb.InspectOptions{Digest: true, Workers: 4})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the middle: %v", err)
	}
	if now := goroutines(t, before); now > before {
		t.Errorf("cancelled: %d goroutines, %d before", now, before)
	}
}

// goroutines counts them; one that has said that it is done may be a moment in
// going.
func goroutines(t *testing.T, want int) int {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for runtime.NumGoroutine() > want && ctx.Err() == nil {
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}

// cancelling cancels after some bytes.
type cancelling struct {
	src    io.Reader
	left   int
	cancel context.CancelFunc
}

func (c *cancelling) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if c.left -= n; c.left <= 0 {
		c.cancel()
	}
	return n, err
}

// A worker that panics makes Inspect panic: a fault is not taken for a sound
// dump, nor waited for without end.
func TestParallelPanics(t *testing.T) {
	for name, data := range map[string][]byte{
		"in a chunk":  newDump(15).key(32, "a").num(7).text("value").done(),
		"in a stream": newDump(15).key(32, "a").num(7).text(string(noise(5 << 20))).done(),
	} {
		why := func() (why any) {
			defer func() { why = recover() }()
			return fmt.Sprint("no panic: ", rdb.InspectWithFault(bytes.NewReader(data)))
		}()
		if text := fmt.Sprint(why); !strings.Contains(text, "a worker panicked") || !strings.Contains(text, "nil pointer") {
			t.Errorf("%s: %v", name, why)
		}
	}
}

// Memory does not follow the length of a value, nor the number of keys.
func TestParallelMemory(t *testing.T) {
	measure := func(data []byte) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := rdb.Inspect(t.Context(), bytes.NewReader(data), rdb.InspectOptions{Digest: true, Workers: 2, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	small := newDump(10).selectDB(0)
	for i := range 400_000 {
		small.str(fmt.Sprintf("session:%08d", i), "some value of it")
	}
	for name, data := range map[string][]byte{"one long value": newDump(10).str("a", string(noise(32<<20))).done(), "many keys": small.done()} {
		if memory := measure(data); memory > 16<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, memory, len(data))
		}
	}
}
