package snapshot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
)

// benchDumps is where the benchmark of internal/rdb, which `make bench` runs
// before this one, keeps its dump.
const (
	benchDumps  = "../.tools/bench/mixed-*.rdb"
	benchRounds = 3
)

// cost is what one way to do something took.
type cost struct {
	wall, cpu time.Duration
}

// best keeps the least of each: what the machine's other work added is left out.
func (c *cost) best(other cost) {
	c.wall, c.cpu = min(c.wall, other.wall), min(c.cpu, other.cpu)
}

// BenchmarkSeal seals a dump and puts it into two folders at once, beside what
// `zstd -1` costs to one file; and reads it back, unseals and checks it, beside
// `zstd -d` into `sha256sum`. Turn by turn, the best of three rounds.
func BenchmarkSeal(b *testing.B) {
	found, err := filepath.Glob(benchDumps)
	if err != nil || len(found) == 0 {
		b.Fatalf("no %s: run BenchmarkCheckRDB of internal/rdb first, as make bench does", benchDumps)
	}
	dump := found[0]
	info, err := os.Stat(dump)
	if err != nil {
		b.Fatal(err)
	}
	zstd := exec.Command("zstd", "-1", "-q", "-f", "-o", filepath.Join(b.TempDir(), "one.zst"), dump)
	unzstd := exec.Command("sh", "-c", "zstd -d -c -q "+zstd.Args[5]+" | sha256sum")
	program, encrypted, compressed, reference, opened := worst(), worst(), worst(), worst(), worst()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for range benchRounds {
			program.best(external(b, *zstd))
			compressed.best(sealInto(b, dump, nil, nil))
			encrypted.best(sealInto(b, dump, key, &opened))
			reference.best(external(b, *unzstd))
		}
	}
	size := float64(info.Size()) / 1e6
	row := func(what string, c, of cost, asked string) {
		fmt.Fprintf(os.Stdout, "%-52s %6.2f s %5.0f MB/s  %6.2f s of processors  %.2f and %.2f times%s\n", what, c.wall.Seconds(), size/c.wall.Seconds(),
			c.cpu.Seconds(), c.wall.Seconds()/of.wall.Seconds(), c.cpu.Seconds()/of.cpu.Seconds(), asked)
	}
	fmt.Fprintf(os.Stdout, "\na dump of %.0f MB; ratios are of elapsed and of processor time\n", size)
	row("zstd -1 to one file", program, program, "")
	row("compress, put into two folders, sync", compressed, program, ", asked: at most 1.20")
	row("compress, encrypt, put into two folders, sync", encrypted, program, ", asked: at most 1.20")
	row("zstd -d | sha256sum", reference, reference, "")
	row("open, decrypt, decompress, check both SHA-256", opened, reference, ", asked: at least 400 MB/s")
}

func worst() cost { return cost{math.MaxInt64, math.MaxInt64} }

// external runs a copy of a command.
func external(b *testing.B, c exec.Cmd) cost {
	b.Helper()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	started := clock.Now()
	if output, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", c.Args, err, output)
	}
	return cost{clock.Since(started), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// sealInto seals a dump into two stores, and where opened is asked for reads it
// back.
func sealInto(b *testing.B, dump string, key *age.X25519Identity, opened *cost) cost {
	b.Helper()
	o := seal.Options{Compression: seal.Zstd}
	if key != nil {
		r, err := seal.ParseRecipient(key.Recipient().String())
		if err != nil {
			b.Fatal(err)
		}
		o.Recipients = []seal.Recipient{r}
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
		file, err = putSealed(b.Context(), writer, catalog.Folder("bench", id), dumpObject(slot.Full()), sealer, source)
	})
	for _, outcome := range writer.Outcomes() {
		err = errors.Join(err, outcome.Err)
	}
	if err != nil {
		b.Fatal(err)
	}
	if opened != nil {
		opened.best(openSealed(b, key, &catalog.Snapshot{
			Manifest: &manifest.Manifest{Cluster: "bench", ID: id, Seal: manifest.SealOf(sealer.Lock())},
		}, stores[0], file))
	}
	return took
}

// openSealed reads a sealed object to its checked end.
func openSealed(b *testing.B, key *age.X25519Identity, s *catalog.Snapshot, store storage.Named, file manifest.File) cost {
	b.Helper()
	path := filepath.Join(b.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	keys, err := seal.ReadIdentities(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Unlock(keys); err != nil {
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
