package aof_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/slotark/slotark/internal/aof"
)

// Whatever a manifest holds, it is read or it is damage with a line, and what
// was read can be written and read again.
func FuzzParseManifest(f *testing.F) {
	for _, c := range manifestCases {
		f.Add([]byte(c.text))
	}
	for _, set := range fixtures(f) {
		if text := set.folder[manifestName]; text != nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := aof.ParseManifest(bytes.NewReader(data))
		if d := (*aof.Damage)(nil); err != nil && (!errors.As(err, &d) || d.Line < 1 || d.Offset > int64(len(data))) {
			t.Fatalf("%v", err)
		}
		if len(got.Entries) == 0 {
			return
		}
		var text []byte
		for _, e := range got.Entries {
			text, _ = e.AppendText(text)
		}
		again, err := aof.ParseManifest(bytes.NewReader(text))
		if err != nil && len(text) < 1000 {
			t.Fatalf("%q was written as %q: %v", data, text, err)
		}
		for i := range again.Entries {
			want := got.Entries[i]
			want.Line = again.Entries[i].Line
			if want.StartOffset == aof.NoOffset { // the end is not written without the start
				want.EndOffset = aof.NoOffset
			}
			if again.Entries[i] != want {
				t.Fatalf("%+v came back as %+v", want, again.Entries[i])
			}
		}
	})
}

// Whatever a file holds, it is whole or it is damage, the same however its bytes
// arrive; and what is said to be safe is whole.
func FuzzReader(f *testing.F) {
	f.Add([]byte(begin+multi+set+execute), uint8(2))
	f.Add([]byte("#TS:1700000000\r\n"+begin+"*3\r\n$4\r\nMSET\r\n$1\r\nk\r\n$0\r\n\r\n"), uint8(0))
	f.Add([]byte(begin+multi+set[:20]), uint8(3))
	f.Add([]byte("*4\r\n$11\r\nZUNIONSTORE\r\n$1\r\nd\r\n$1\r\n1\r\n$1\r\na\r\n"), uint8(1))
	f.Add([]byte("*2147483647\r\n$3\r\nDEL\r\n$9223372036854775805\r\n"), uint8(9))
	f.Add([]byte("REDIS0010\xff\x00\x00\x00\x00\x00\x00\x00\x00"+begin), uint8(1))
	for _, set := range fixtures(f) {
		f.Add(set.folder[set.last(f)], uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, keep uint8) {
		records, r, err := readAll(bytes.NewReader(data), int(keep))
		d := (*aof.Damage)(nil)
		if err != io.EOF && !errors.As(err, &d) {
			t.Fatal(err)
		}
		if d != nil && (d.Offset < 0 || d.Offset > int64(len(data))) || (err == io.EOF) != (r.SafeEnd() == int64(len(data))) {
			t.Fatalf("%v; safe to %d of %d", err, r.SafeEnd(), len(data))
		}
		at := int64(0)
		for _, rec := range records {
			if rec.At != at || rec.Length <= 0 {
				t.Fatalf("record at %d of %d bytes, want it at %d", rec.At, rec.Length, at)
			}
			at += rec.Length
		}
		if at != r.WholeEnd() || r.SafeEnd() > at {
			t.Fatalf("records end at %d, said is %d and %d", at, r.WholeEnd(), r.SafeEnd())
		}
		slow, _, errSlow := readAll(iotest.HalfReader(bytes.NewReader(data)), int(keep))
		if len(slow) != len(records) || errSlow.Error() != err.Error() {
			t.Fatalf("%d records and %v, then %d and %v", len(records), err, len(slow), errSlow)
		}
		if _, _, err := readAll(bytes.NewReader(data[:r.SafeEnd()]), 0); err != io.EOF {
			t.Fatalf("what was safe is not: %v", err)
		}
		// Near the end commands are read another way than before it.
		if longer, _, errLonger := readAll(bytes.NewReader(append(bytes.Clone(data[:at]), "# far from the end of the file\r\n"...)), int(keep)); err == io.EOF &&
			(errLonger != io.EOF || !cmp.Equal(records, longer[:len(longer)-1], cmpopts.EquateEmpty())) {
			t.Fatalf("%v, then %v and %v", records, longer, errLonger)
		}
		// The same as an old file, which may begin with a dump.
		report, err := folder{"appendonly.aof": data, manifestName: []byte("file appendonly.aof seq 1 type b\n")}.tryInspect(manifestName)
		if err != nil || len(report.Files) != 1 || report.Files[0].Lost() < 0 {
			t.Fatalf("%v, %+v", err, report)
		}
		if file := report.Files[0]; (report.Err() == nil) != (file.Lost() == 0) {
			t.Fatalf("%d bytes lost, %v", file.Lost(), report.Err())
		}
	})
}

// Whatever the files of a set hold, it is judged, the same whether all of it is
// read, and memory depends on its size only.
func FuzzInspect(f *testing.F) {
	for _, set := range fixtures(f) {
		if set.name != oldName {
			report := set.inspect(f, set.name)
			f.Add(set.folder[manifestName], set.folder[report.Files[0].Name], set.folder[set.last(f)])
		}
	}
	f.Add([]byte(lineBase+lineIncr), []byte("REDIS0011\xff"), []byte("*2147483647\r\n$3\r\nDEL\r\n$9223372036854775805\r\n"))
	f.Fuzz(func(t *testing.T, manifest, base, incr []byte) {
		files := fstest.MapFS{manifestName: {Data: manifest}}
		for _, name := range []string{"base.aof", "appendonly.aof.1.base.rdb", "appendonly.aof.2.base.rdb", "appendonly.aof.2.base.aof"} {
			files[name] = &fstest.MapFile{Data: base}
		}
		for _, name := range []string{"incr.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.2.incr.aof"} {
			files[name] = &fstest.MapFile{Data: incr}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		report, err := aof.Inspect(t.Context(), files, manifestName, aof.InspectOptions{})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		// Each line of a manifest may name a file that is there.
		loaded := uint64(len(report.Files) + 1)
		if used := after.TotalAlloc - before.TotalAlloc; used > loaded*(4<<20+16*uint64(len(base)+len(incr)))+64*uint64(len(manifest)) {
			t.Fatalf("%d bytes were allocated for %d files", used, len(report.Files))
		}
		for _, d := range report.Findings {
			if d.File == "" || d.Offset < 0 || d.Code == "" || d.Detail == "" {
				t.Fatalf("%+v says too little", d)
			}
		}
		for _, file := range report.Files {
			if file.SafeEnd > file.WholeEnd || file.Lost() < 0 || file.DumpBytes > file.Bytes {
				t.Fatalf("%+v", file)
			}
		}
		all, err := aof.Inspect(t.Context(), files, manifestName, aof.InspectOptions{ReadAll: true})
		if err != nil || len(all.Findings) != len(report.Findings) || all.Loadable() != report.Loadable() || all.Slots() != report.Slots() {
			t.Fatalf("read whole: %v, %v; else %v", err, all.Findings, report.Findings)
		}
	})
}
