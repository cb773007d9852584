package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
)

// benchDumps is where the benchmark of internal/rdb, which `make bench` runs
// before this one, keeps its dump.
const (
	benchDumps  = "../.tools/bench/mixed-*.rdb"
	benchRounds = 5
)

// cost is what one way to do something took.
type cost struct {
	wall, cpu time.Duration
}

// contender is one way to do something, and what it cost in each round.
type contender struct {
	name   string
	do     func() cost
	rounds []cost
}

// best is the least of each: what the machine's other work added is left out.
func (c *contender) best() cost {
	least := c.rounds[0]
	for _, round := range c.rounds {
		least.wall, least.cpu = min(least.wall, round.wall), min(least.cpu, round.cpu)
	}
	return least
}

// median is that of the rounds' ratios to another contender, of elapsed time.
func (c *contender) median(of *contender) float64 {
	ratios := make([]float64, len(c.rounds))
	for i, round := range c.rounds {
		ratios[i] = round.wall.Seconds() / of.rounds[i].wall.Seconds()
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// row prints what a contender costs beside another one.
func (c *contender) row(megabytes float64, of *contender, asked string) {
	own, other := c.best(), of.best()
	fmt.Fprintf(os.Stdout, "%-46s %5.2f s %5.0f MB/s  %5.2f s of processors  %.2f (median %.2f), %.2f times%s\n", c.name, own.wall.Seconds(),
		megabytes/own.wall.Seconds(), own.cpu.Seconds(), own.wall.Seconds()/other.wall.Seconds(), c.median(of), own.cpu.Seconds()/other.cpu.Seconds(), asked)
}

// BenchmarkSeal seals a dump and puts it into two folders at once, beside what
// `zstd -1` costs to one file, which it does not bring to the disk; and reads it
// back, unseals and checks it, beside `zstd -d` into `sha256sum`. Turn by turn;
// of each the best round, and the median of the rounds' ratios.
func BenchmarkSeal(b *testing.B) {
	found, err := filepath.Glob(benchDumps)
	if err != nil || len(found) == 0 {
		b.Fatalf("no %s: run BenchmarkCheckRDB of internal/rdb first, as make bench does", benchDumps)
	}
	dump := found[0]
	key := sealtest.NewKey(b)
	one := filepath.Join(b.TempDir(), "one.zst")
	var compressedBytes, encryptedBytes int64
	var lastOpened cost
	program := &contender{name: "zstd -1 to one file", do: func() cost { return external(b, "zstd", "-1", "-q", "-f", "-o", one, dump) }}
	synced := &contender{name: "zstd -1 to one file, sync", do: func() cost {
		return external(b, "sh", "-c", `zstd -1 -q -f -o "$1" "$2" && sync "$1"`, "sh", one, dump)
	}}
	compressed := &contender{name: "compress, put into two folders, sync", do: func() cost {
		return sealInto(b, dump, nil, &compressedBytes, nil)
	}}
	encrypted := &contender{name: "compress, encrypt, put into two folders, sync", do: func() cost {
		return sealInto(b, dump, &key, &encryptedBytes, &lastOpened)
	}}
	opened := &contender{name: "open, decrypt, decompress, check both SHA-256", do: func() cost { return lastOpened }}
	reference := &contender{name: "zstd -d | sha256sum", do: func() cost {
		return external(b, "sh", "-c", `zstd -d -c -q "$1" | sha256sum`, "sh", one)
	}}
	for b.Loop() {
		for range benchRounds {
			for _, c := range []*contender{program, compressed, encrypted, opened, reference, synced} {
				c.rounds = append(c.rounds, c.do())
			}
		}
	}
	size := fileMegabytes(b, dump)
	fmt.Fprintf(os.Stdout, "\na dump of %.0f MB, %.1f by zstd -1, %.1f compressed, %.1f encrypted too; ratios are of elapsed and of processor time\n",
		size, fileMegabytes(b, one), float64(compressedBytes)/1e6, float64(encryptedBytes)/1e6)
	program.row(size, program, "")
	synced.row(size, program, "")
	compressed.row(size, program, ", asked: at most 1.20")
	encrypted.row(size, program, ", asked: at most 1.20")
	reference.row(size, reference, "")
	opened.row(size, reference, ", asked: at least 400 MB/s")
}

func fileMegabytes(b *testing.B, path string) float64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}

// external runs a command.
func external(b *testing.B, name string, args ...string) cost {
	b.Helper()
	cmd := exec.Command(name, args...)
	started := clock.Now()
	if output, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
	return cost{clock.Since(started), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// sealInto seals a dump into two stores, tells how large it has become, and
// where opened is asked for reads it back.
func sealInto(b *testing.B, dump string, key *sealtest.Key, stored *int64, opened *cost) cost {
	b.Helper()
	o := seal.Options{Compression: seal.Zstd}
	if key != nil {
		o.Recipients = []seal.Recipient{key.Recipient}
	}
	sealer, err := seal.New(o)
	if err != nil {
		b.Fatal(err)
	}
	root, err := os.MkdirTemp(b.TempDir(), "stores")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(root)
	stores := []storage.Named{{Name: "one", Store: fs.Open(root + "/one")}, {Name: "two", Store: fs.Open(root + "/two")}}
	repository, err := catalog.Create(b.Context(), stores, clock.Now())
	if err != nil {
		b.Fatal(err)
	}
	source, err := os.Open(dump)
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	id := manifest.NewID(clock.Now())
	writer, err := repository.Begin(catalog.Mirroring{})
	if err != nil {
		b.Fatal(err)
	}
	var file manifest.File
	took := measured(func() {
		file, err = putSealed(b.Context(), writer, catalog.Folder("bench", id), dumpObject(shardFolder(slot.Full())), sealer, source)
	})
	for _, outcome := range writer.Outcomes() {
		err = errors.Join(err, outcome.Err)
	}
	if err != nil {
		b.Fatal(err)
	}
	*stored = file.Bytes
	if opened != nil {
		*opened = openSealed(b, key, &catalog.Snapshot{
			Manifest: &manifest.Manifest{Cluster: "bench", ID: id, Seal: manifest.SealOf(sealer.Lock())},
		}, stores[0], file)
	}
	return took
}

// openSealed reads a sealed object to its checked end.
func openSealed(b *testing.B, key *sealtest.Key, s *catalog.Snapshot, store storage.Named, file manifest.File) cost {
	b.Helper()
	if err := s.Unlock(key.Identities); err != nil {
		b.Fatal(err)
	}
	return measured(func() {
		body, err := s.In(store).Open(b.Context(), file)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			err = errors.Join(err, body.Close())
		}
		if err != nil {
			b.Fatal(err)
		}
	})
}

// measured is what something costs this process.
func measured(do func()) cost {
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	started := clock.Now()
	do()
	wall := clock.Since(started)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := func(r syscall.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
	return cost{wall, used(after) - used(before)}
}
