package aof_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/slotark/slotark/internal/aof"
)

// benchFiles are files of typical shapes.
func benchFiles() []benchFile {
	page := string(noise(64 << 10))
	var mixed, small aofFile
	for _, f := range []*aofFile{&mixed, &small} {
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
	files := []benchFile{{"mixed", mixed.data, 1}, {"3 bytes", small.data, 1}}
	for _, shape := range []struct{ kibibytes, times int }{{1, 2}, {4, 4}, {16, 8}, {64, 16}, {1024, 16}} {
		var f aofFile
		f.command("SELECT", "0")
		value := strings.Repeat(page, (shape.kibibytes+63)/64)[:shape.kibibytes<<10]
		for i := range 100_000 / shape.kibibytes {
			f.command("SET", fmt.Sprintf("page:%d", i), value)
		}
		files = append(files, benchFile{fmt.Sprint(shape.kibibytes, " KiB"), f.data, shape.times})
	}
	return files
}

// benchFile is one file that a set has several times, by several names. There
// are more of those that take little time for a megabyte, so that it is not the
// start of a program that is measured.
type benchFile struct {
	name  string // how large its values are
	data  []byte
	times int
}

// write makes the set.
func (f benchFile) write(b *testing.B, dir string) {
	manifest := ""
	for i := range f.times {
		manifest += fmt.Sprintf("file incr.%d seq %d type i\n", i+1, i+1)
		if i > 0 {
			if err := os.Link(filepath.Join(dir, "incr.1"), filepath.Join(dir, fmt.Sprint("incr.", i+1))); err != nil {
				b.Fatal(err)
			}
			continue
		}
		folder{"incr.1": f.data}.write(b, dir)
	}
	folder{manifestName: []byte(manifest)}.write(b, dir)
}

const (
	benchRounds = 3
	timesAsked  = 5 // as fast as redis-check-aof
)

// contender is one way to check a set.
type contender struct {
	name string
	run  func(b *testing.B, dir string) (cpu time.Duration)
}

func inspecting(o aof.InspectOptions) func(*testing.B, string) time.Duration {
	return func(b *testing.B, dir string) time.Duration {
		begun := processorTime(b)
		report, err := aof.Inspect(b.Context(), os.DirFS(dir), manifestName, o)
		if err != nil || report.Err() != nil {
			b.Fatal(err, report.Err())
		}
		return processorTime(b) - begun
	}
}

func running(program string, args ...string) func(*testing.B, string) time.Duration {
	return func(b *testing.B, dir string) time.Duration {
		command := exec.Command(program, append(args, filepath.Join(dir, manifestName))...)
		if out, err := command.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", program, err, out)
		}
		return command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	}
}

// BenchmarkCheckAOF checks sets of several shapes in several ways, turn by turn
// in one run, and prints the best times beside those of redis-check-aof. Each
// reads the same set, which is in the page cache, from its first command to
// its last. (Of one old file redis-check-aof would read everything twice, to
// tell what it is.)
func BenchmarkCheckAOF(b *testing.B) {
	program := filepath.Join(b.TempDir(), "slotark")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "../../cmd/slotark").CombinedOutput(); err != nil {
		b.Fatalf("build slotark: %v\n%s", err, out)
	}
	contenders := []contender{
		{"redis-check-aof", running("redis-check-aof")},
		{"slotark verify", running(program, "verify")},
		{"aof.Inspect", inspecting(aof.InspectOptions{})},
		{"aof.Inspect, ReadAll", inspecting(aof.InspectOptions{ReadAll: true})},
	}
	var text strings.Builder
	for b.Loop() {
		text.Reset()
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(w, "values\tMB\t")
		for _, c := range contenders {
			fmt.Fprint(w, c.name, "\t")
		}
		fmt.Fprintln(w)
		for _, f := range benchFiles() {
			contest(b, w, f, contenders)
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("MB/s, times as fast as %s by the clock / in processor time; asked are %d; best of %d\n%s",
		contenders[0].name, timesAsked, benchRounds, text.String())
}

// contest lets all check one set, in turn, so that whatever else the machine
// does meets all of them. The first is what the others are held against.
func contest(b *testing.B, w io.Writer, f benchFile, contenders []contender) {
	dir := b.TempDir()
	f.write(b, dir)
	best, cpu := make([]time.Duration, len(contenders)), make([]time.Duration, len(contenders))
	for i := range best {
		best[i], cpu[i] = math.MaxInt64, math.MaxInt64
	}
	for range benchRounds {
		for i, c := range contenders {
			begun := time.Now()
			used := c.run(b, dir)
			best[i], cpu[i] = min(best[i], time.Since(begun)), min(cpu[i], used)
		}
	}
	size := float64(len(f.data)*f.times) / 1e6
	fmt.Fprintf(w, "%s\t%.0f\t%.0f\t", f.name, size, size/best[0].Seconds())
	for i, c := range contenders[1:] {
		ratio := best[0].Seconds() / best[i+1].Seconds()
		fmt.Fprintf(w, "%.0f  %.1fx / %.1fx\t", size/best[i+1].Seconds(), ratio, cpu[0].Seconds()/cpu[i+1].Seconds())
		b.ReportMetric(ratio, strings.ReplaceAll(f.name+" "+c.name, " ", "-")+"-x")
	}
	fmt.Fprintln(w)
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
