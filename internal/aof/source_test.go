package aof_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/slot"
)

// watchedFS counts the bytes that are read of its files, which can be read only
// from the first byte to the last if streams is set.
type watchedFS struct {
	fstest.MapFS
	streams bool
	read    int
}

func (w *watchedFS) Open(name string) (fs.File, error) {
	f, err := w.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	if w.streams {
		return &streamFile{f, w}, nil
	}
	return &seekFile{&streamFile{f, w}}, nil
}

type streamFile struct {
	fs.File
	fs *watchedFS
}

func (f *streamFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.fs.read += n
	return n, err
}

type seekFile struct{ *streamFile }

func (f *seekFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.(interface {
		ReadAt([]byte, int64) (int, error)
	}).ReadAt(p, off)
	f.fs.read += n
	return n, err
}

// What a file is said to be does not depend on whether the inside of its large
// arguments was read, or could be passed over at all.
func TestPassedOver(t *testing.T) {
	var f aofFile
	f.command("SELECT", "0")
	dump := len(f.data)
	for _, size := range []int{100, 20_000, 600_000, 16 << 10, 1_300_000, 16<<10 + 1} {
		f.command("SET", "{a}", strings.Repeat("x", size)).command("RPUSH", strings.Repeat("k", 40_000), strings.Repeat("y", size), "z")
	}
	cases := map[string]struct {
		data []byte
		code string
	}{
		"whole":                    {f.data, ""},
		"cut in the last argument": {f.data[:len(f.data)-9000], aof.CodeTruncated},
		"cut before its line end":  {f.data[:len(f.data)-9], aof.CodeTruncated},
		"cut in its line end":      {f.data[:len(f.data)-8], aof.CodeTruncated},
		"length past the end":      {append(f.data[:len(f.data):len(f.data)], "*2\r\n$3\r\nGET\r\n$99999999\r\n"+strings.Repeat("x", 90_000)...), aof.CodeTruncated},
		"length too short":         {[]byte(strings.Replace(string(f.data), "$1300000\r\n", "$1200000\r\n", 1)), aof.CodeFormat},
		"length too long":          {[]byte(strings.Replace(string(f.data), "$20000\r\n", "$20003\r\n", 1)), aof.CodeFormat},
	}
	for name, c := range cases {
		var want *aof.Report
		for _, way := range []struct {
			name             string
			streams, readAll bool
		}{{"passed over", false, false}, {"all read", false, true}, {"a stream", true, false}} {
			files := &watchedFS{MapFS: fstest.MapFS{"appendonly.aof": {Data: c.data}}, streams: way.streams}
			got, err := aof.Inspect(t.Context(), files, "appendonly.aof", aof.InspectOptions{ReadAll: way.readAll})
			if err != nil {
				t.Fatalf("%s, %s: %v", name, way.name, err)
			}
			if want == nil {
				want = got
				if files.read > len(c.data)*9/10 {
					t.Errorf("%s: %d of %d bytes were read", name, files.read, len(c.data))
				}
			} else if files.read < int(got.Files[0].WholeEnd)-dump {
				t.Errorf("%s, %s: only %d bytes were read", name, way.name, files.read)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b slot.Set) bool { return a == b })); diff != "" {
				t.Errorf("%s, %s: %s", name, way.name, diff)
			}
			if c.code == "" && len(got.Findings) > 0 || c.code != "" && (len(got.Findings) != 1 || got.Findings[0].Code != c.code) {
				t.Errorf("%s, %s: found %v, want %q", name, way.name, got.Findings, c.code)
			}
		}
	}
}

// A dump is read the same from a stream, where what follows it is reached by
// reading it once more.
func TestStreamedDump(t *testing.T) {
	data := append(dumpOf(t), begin+set...)
	for _, streams := range []bool{false, true} {
		files := &watchedFS{MapFS: fstest.MapFS{"appendonly.aof": {Data: data}}, streams: streams}
		report, err := aof.Inspect(t.Context(), files, "appendonly.aof", aof.InspectOptions{})
		if err != nil || report.Err() != nil || report.Files[0].Commands != 2 || report.Files[0].WholeEnd != int64(len(data)) {
			t.Errorf("streams %t: %v, %+v", streams, err, report)
		}
	}
}
