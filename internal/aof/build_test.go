package aof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/fstest"

	"github.com/slotark/slotark/internal/aof"
)

// aofFile builds the bytes of a file.
type aofFile struct{ data []byte }

func (f *aofFile) command(args ...string) *aofFile {
	f.data = fmt.Appendf(f.data, "*%d\r\n", len(args))
	for _, arg := range args {
		f.data = fmt.Appendf(f.data, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return f
}

func (f *aofFile) line(text string) *aofFile {
	f.data = append(append(f.data, text...), "\r\n"...)
	return f
}

func (f *aofFile) raw(text string) *aofFile {
	f.data = append(f.data, text...)
	return f
}

func commandsOf(commands ...[]string) []byte {
	var f aofFile
	for _, c := range commands {
		f.command(c...)
	}
	return f.data
}

// noise is n bytes that no compressor makes smaller, the same every time.
func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// folder is the files of a set, by name.
type folder map[string][]byte

func (f folder) inspect(t testing.TB, name string) *aof.Report {
	t.Helper()
	report, err := f.tryInspect(name)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func (f folder) tryInspect(name string) (*aof.Report, error) {
	files := fstest.MapFS{}
	for name, data := range f {
		files[name] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return aof.Inspect(context.Background(), files, name, aof.InspectOptions{})
}

// inspectFile inspects one old file.
func inspectFile(t testing.TB, data []byte) *aof.Report {
	t.Helper()
	return folder{"appendonly.aof": data}.inspect(t, "appendonly.aof")
}

// inspectDir inspects the set in a folder of this machine, with its progress.
func inspectDir(t testing.TB, dir string) (*aof.Report, error) {
	t.Helper()
	told := map[string]int64{}
	report, err := aof.Inspect(t.Context(), os.DirFS(dir), "", aof.InspectOptions{OnProgress: func(file string, bytes int64) {
		if bytes < told[file] {
			t.Errorf("%s: progress goes back from %d to %d", file, told[file], bytes)
		}
		told[file] = bytes
	}})
	if err == nil {
		for _, f := range report.Files {
			if f.Bytes > 0 && told[f.Name] == 0 {
				t.Errorf("%s: no progress was told", f.Name)
			}
		}
	}
	return report, err
}
