package aof_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/aof"
)

// benchFiles are files of typical shapes, of some 100 MB each.
func benchFiles() []benchFile {
	page := string(noise(64 << 10))
	var mixed, small, pages, large aofFile
	for _, f := range []*aofFile{&mixed, &small, &pages, &large} {
		f.command("SELECT", "0")
	}
	for i := range 200_000 {
		if i%1000 == 0 {
			mixed.line(fmt.Sprintf("#TS:%d", 1_700_000_000+i/1000))
		}
		mixed.command("SET", fmt.Sprintf("session:%08d", i), page[:24+i%64], "PXAT", "4102444800000")
		mixed.command("INCRBY", fmt.Sprintf("counter:%d", i%5000), "3")
		mixed.command("HSET", fmt.Sprintf("{user:%d}:profile", i%9000), "name", "somebody", "seen", "1700000000")
		if i%4 == 0 {
			mixed.command("SET", fmt.Sprintf("page:%d", i), page[:900])
		}
		if i%20 == 0 {
			mixed.command("MULTI").command("LPUSH", "queue", page[:100])
			mixed.command("DEL", fmt.Sprintf("counter:%d", i%5000), "other").command("EXEC")
		}
	}
	for i := range 1_500_000 {
		small.command("SET", fmt.Sprintf("key:%012d", i), "xxx")
	}
	for i := range 100_000 {
		pages.command("SET", fmt.Sprintf("page:%d", i), page[:1024])
	}
	for i := range 1_600 {
		large.command("SET", fmt.Sprintf("blob:%d", i), page)
	}
	return []benchFile{{"mixed", mixed.data}, {"small", small.data}, {"1KiB", pages.data}, {"64KiB", large.data}}
}

type benchFile struct {
	name string
	data []byte
}

// Against redis-check-aof, side by side in one run: each of them reads the same
// set, which is in the page cache, from its first byte to its last. (Of one old
// file redis-check-aof would read everything twice, to tell what it is.)
func BenchmarkInspect(b *testing.B) {
	for _, f := range benchFiles() {
		b.Run(f.name, func(b *testing.B) {
			dir := b.TempDir()
			folder{manifestName: []byte(lineIncr), "incr.aof": f.data}.write(b, dir)
			size := int64(len(f.data))
			// The best of three, by the clock and in processor time.
			theirs, theirsCPU := time.Hour, time.Hour
			for range 3 {
				begun := time.Now()
				command := exec.Command("redis-check-aof", filepath.Join(dir, manifestName))
				if out, err := command.CombinedOutput(); err != nil {
					b.Fatalf("redis-check-aof (make deps installs it): %v\n%s", err, out)
				}
				theirs = min(theirs, time.Since(begun))
				theirsCPU = min(theirsCPU, command.ProcessState.UserTime()+command.ProcessState.SystemTime())
			}
			b.SetBytes(size)
			b.ReportAllocs()
			ours, oursCPU := time.Hour, time.Hour
			for b.Loop() {
				begun, begunCPU := time.Now(), processorTime(b)
				report, err := aof.Inspect(b.Context(), os.DirFS(dir), manifestName, aof.InspectOptions{})
				if err != nil || report.Err() != nil {
					b.Fatal(err, report.Err())
				}
				ours, oursCPU = min(ours, time.Since(begun)), min(oursCPU, processorTime(b)-begunCPU)
			}
			b.ReportMetric(float64(size)/1e6/theirs.Seconds(), "MB/s-redis-check-aof")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-redis-check-aof")
			b.ReportMetric(theirsCPU.Seconds()/oursCPU.Seconds(), "times-in-processor-time")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkReader(b *testing.B) {
	data := benchFiles()[0].data
	for _, keep := range []int{0, 3} {
		b.Run(fmt.Sprintf("keep=%d", keep), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r := aof.NewReader(bytes.NewReader(data), aof.Options{KeepArgs: keep})
				for {
					if _, err := r.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
