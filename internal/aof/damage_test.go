package aof_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/rdb"
)

// begin is 23 bytes long, set 27, multi 15.
var (
	begin   = string(commandsOf([]string{"SELECT", "0"}))
	set     = string(commandsOf([]string{"SET", "k", "v"}))
	multi   = string(commandsOf([]string{"MULTI"}))
	execute = string(commandsOf([]string{"EXEC"}))
)

// Each damage of a file is caused once and found once, at its offset, and held
// against redis-check-aof.
func TestDamage(t *testing.T) {
	cases := []struct {
		name    string
		data    string
		code    string // "": none
		offset  int64
		detail  string
		warning bool
		cut     bool   // recoverable
		check   string // why redis-check-aof sees it otherwise
	}{
		{name: "whole", data: begin + set},
		{name: "empty", data: ""},
		{name: "annotations", data: "#TS:1700000000\r\n" + begin + "# a word\r\n" + set + "#TS:1700000001\r\n"},
		{name: "transaction", data: begin + multi + set + execute},
		{name: "key called file", data: string(commandsOf([]string{"GET", "file"})), check: "takes it for a manifest: a line begins with file"},
		{name: "names in small letters", data: "*2\r\n$6\r\nselect\r\n$1\r\n1\r\n" + strings.ToLower(multi+set+execute)},
		{name: "other text", data: "hello", code: aof.CodeFormat, detail: `"hello" begins no command`},
		{name: "NUL bytes behind", data: begin + set + "\x00\x00\x00", code: aof.CodeFormat, offset: 50, detail: "NUL"},
		{name: "dump in the middle", data: begin + "REDIS0010", code: aof.CodeFormat, offset: 23, detail: "dump"},
		{name: "no number of arguments", data: begin + "*x\r\n", code: aof.CodeFormat, offset: 23},
		{name: "no digits", data: begin + "*\r\n" + set, code: aof.CodeFormat, offset: 23, check: "takes no digits for 0"},
		{name: "no arguments", data: begin + "*0\r\n" + set, code: aof.CodeLength, offset: 23, check: "reads a command of nothing, servers refuse it"},
		{name: "sign", data: begin + "*-1\r\n" + set, code: aof.CodeFormat, offset: 23, check: "reads a command of nothing, servers refuse it"},
		{name: "plus", data: begin + "*+1\r\n$4\r\nPING\r\n", code: aof.CodeFormat, offset: 23, check: "takes a sign"},
		{name: "blank", data: begin + "* 1\r\n$4\r\nPING\r\n", code: aof.CodeFormat, offset: 23, check: "takes a blank"},
		{name: "zeros in front", data: "*01\r\n$0004\r\nPING\r\n"},
		{name: "too many arguments", data: begin + "*2147483648\r\n" + set, code: aof.CodeLength, offset: 23},
		{name: "more digits than a number has", data: begin + "*99999999999999999999\r\n" + set, code: aof.CodeFormat, offset: 23},
		{name: "length of another sort", data: "*1\r\n:4\r\nPING\r\n", code: aof.CodeFormat, offset: 4},
		{name: "negative length", data: "*1\r\n$-1\r\n", code: aof.CodeFormat, offset: 4},
		{name: "longest length", data: "*1\r\n$9223372036854775807\r\n", code: aof.CodeLength, offset: 4},
		{name: "length past the end", data: begin + "*2\r\n$3\r\nGET\r\n$100\r\nk\r\n" + set, code: aof.CodeTruncated, offset: 23, detail: `argument 2 of 2, of 100 bytes, of the command "GET"`, cut: true},
		{name: "length too short", data: begin + "*2\r\n$3\r\nGET\r\n$1\r\nkey\r\n", code: aof.CodeFormat, offset: 41},
		{name: "line end of another system", data: "*1\n$4\nPING\n", code: aof.CodeFormat},
		{name: "line end in part", data: "*1\r\n$4\r\nPING\r*", code: aof.CodeFormat, offset: 12},
		{name: "cut in a number", data: begin + "*1", code: aof.CodeTruncated, offset: 23, cut: true},
		{name: "cut in a name", data: begin + "*1\r\n$4\r\nPI", code: aof.CodeTruncated, offset: 23, cut: true},
		{name: "cut before a line end", data: begin + "*1\r\n$4\r\nPING\r", code: aof.CodeTruncated, offset: 23, cut: true},
		{name: "cut in an annotation", data: begin + "#TS:17000", code: aof.CodeTruncated, offset: 23, cut: true,
			check: "passes over it, as a server does, which then goes on writing in that line"},
		{name: "cut in a transaction", data: begin + multi + set, code: aof.CodeUnfinished, offset: 23, cut: true, detail: "42 bytes"},
		{name: "cut in a command of a transaction", data: begin + multi + set[:20], code: aof.CodeTruncated, offset: 38, cut: true},
		{name: "transaction within", data: begin + multi + set + multi + execute, code: aof.CodeTransaction, offset: 65},
		{name: "end of no transaction", data: begin + execute, code: aof.CodeTransaction, offset: 23},
		{name: "longest annotation", data: "#" + strings.Repeat("x", 1020) + "\r\n" + begin},
		{name: "annotation too long", data: begin + "#" + strings.Repeat("x", 1021) + "\r\n" + set, code: aof.CodeFormat, offset: 23},
		{name: "database in words", data: "*2\r\n$6\r\nSELECT\r\n$3\r\none\r\n", code: aof.CodeDB, check: "does not look at it"},
		{name: "database too high", data: "*2\r\n$6\r\nSELECT\r\n$10\r\n2147483648\r\n", code: aof.CodeDB, check: "does not look at it"},
		{name: "two databases", data: "*3\r\n$6\r\nSELECT\r\n$1\r\n1\r\n$1\r\n1\r\n", code: aof.CodeDB, check: "does not look at it"},
		{name: "annotation without a time", data: "#TS:soon\r\n" + begin, code: aof.CodeTimestamp, warning: true},
		{name: "time without digits", data: begin + "#TS:-5\r\n", code: aof.CodeTimestamp, offset: 23, warning: true},
		{name: "time going back", data: "#TS:20\r\n" + begin + "#TS:19\r\n", code: aof.CodeTimestamp, offset: 31, warning: true},
		{name: "unknown command", data: begin + "*2\r\n$4\r\nCOOK\r\n$1\r\nk\r\n", code: aof.CodeUnknown, offset: 23, detail: `"COOK"`, warning: true},
		{name: "half a dump", data: "REDIS0010\xff", code: aof.CodeDump, offset: 10, detail: "truncated"},
		{name: "magic alone", data: "REDIS", code: aof.CodeDump, offset: 5},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			report := inspectFile(t, []byte(c.data))
			if c.code == "" && len(report.Findings) > 0 || c.code != "" && len(report.Findings) != 1 {
				t.Fatalf("findings %v, want %q", report.Findings, c.code)
			}
			sound := c.code == "" || c.warning
			if (report.Err() == nil) != sound || report.Loadable() != (sound || c.cut) {
				t.Errorf("error %v, loadable %t", report.Err(), report.Loadable())
			}
			if c.code != "" {
				d := report.Findings[0]
				if d.Code != c.code || d.Offset != c.offset || !strings.Contains(d.Detail, c.detail) || d.File != "appendonly.aof" {
					t.Errorf("found %v, want %s at %d: %q", d, c.code, c.offset, c.detail)
				}
			}
			if ok, out := (folder{"appendonly.aof": []byte(c.data)}).check(t, "appendonly.aof"); ok != sound == (c.check == "") {
				t.Errorf("redis-check-aof says %t; explained by %q\n%s", ok, c.check, out)
			}
		})
	}
}

// Each damage of a folder.
func TestSetDamage(t *testing.T) {
	const both = lineBase + lineIncr
	whole, cut := []byte(begin+set), []byte(begin+set[:9])
	cases := []struct {
		name     string
		manifest string
		files    folder
		code     string
		file     string
		loadable bool
		check    string
	}{
		{name: "whole", manifest: both, files: folder{"base.aof": whole, "incr.aof": whole}, loadable: true},
		{name: "empty increment", manifest: both, files: folder{"base.aof": whole, "incr.aof": nil}, loadable: true},
		{name: "missing base", manifest: both, files: folder{"incr.aof": whole}, code: aof.CodeMissing, file: "base.aof"},
		{name: "missing increment", manifest: both, files: folder{"base.aof": whole}, code: aof.CodeMissing, file: "incr.aof"},
		{name: "missing history", manifest: both + "file old.aof seq 9 type h\n", files: folder{"base.aof": whole, "incr.aof": whole}, loadable: true},
		{name: "last cut", manifest: both, files: folder{"base.aof": whole, "incr.aof": cut}, code: aof.CodeTruncated, file: "incr.aof", loadable: true},
		{name: "not the last cut", manifest: both, files: folder{"base.aof": cut, "incr.aof": whole}, code: aof.CodeTruncated, file: "base.aof"},
		{name: "cut before an empty one", manifest: both, files: folder{"base.aof": cut, "incr.aof": nil}, code: aof.CodeTruncated, file: "base.aof"},
		{name: "not the last unfinished", manifest: both, files: folder{"base.aof": []byte(multi), "incr.aof": whole}, code: aof.CodeUnfinished, file: "base.aof"},
		{name: "damaged dump, last", manifest: lineBase, files: folder{"base.aof": []byte("REDIS0010\xff")}, code: aof.CodeDump, file: "base.aof"},
		{name: "empty base of a dump", manifest: "file base.rdb seq 1 type b\n" + lineIncr, files: folder{"base.rdb": nil, "incr.aof": whole}, code: aof.CodeEmpty, file: "base.rdb",
			check: "passes over it, as a server does, which then lacks all that the base held"},
		{name: "empty base of commands", manifest: both, files: folder{"base.aof": nil, "incr.aof": whole}, loadable: true},
		{name: "unnamed", manifest: both, files: folder{"base.aof": whole, "incr.aof": whole, "temp-x": nil}, code: aof.CodeUnnamed, file: "temp-x", loadable: true},
		{name: "dump in an increment", manifest: lineIncr, files: folder{"incr.aof": dumpOf(t)}, code: aof.CodeFormat, file: "incr.aof"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.files[manifestName] = []byte(c.manifest)
			report := c.files.inspect(t, "")
			if c.code == "" && len(report.Findings) > 0 || c.code != "" && (len(report.Findings) != 1 || report.Findings[0].Code != c.code || report.Findings[0].File != c.file) {
				t.Errorf("findings %v, want %q of %s", report.Findings, c.code, c.file)
			}
			if report.Loadable() != c.loadable {
				t.Errorf("loadable %t", report.Loadable())
			}
			if ok, out := c.files.check(t, manifestName); ok != (report.Err() == nil) == (c.check == "") {
				t.Errorf("redis-check-aof says %t; explained by %q\n%s", ok, c.check, out)
			}
			// Of a dump in an increment and of an empty base the server thinks better than we.
			ours := c.loadable || c.code == aof.CodeEmpty || c.code == aof.CodeFormat
			if _, err := c.files.loads(t); (err == nil) != ours {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

// dumpOf is the dump of an empty server, as a base holds it.
func dumpOf(t *testing.T) []byte {
	t.Helper()
	return startServer(t, t.TempDir()).files()["appendonly.aof.1.base.rdb"]
}

func TestDumpDamageIsKept(t *testing.T) {
	data := dumpOf(t)
	data[20] ^= 1
	var inner *rdb.Damage
	if err := inspectFile(t, data).Err(); !errors.As(err, &inner) {
		t.Errorf("%v carries no damage of a dump", err)
	}
}

// A folder that cannot be read is an error, not a finding.
func TestInspectFails(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"empty folder":   {},
		"no manifest":    {"temp-appendonly.aof.manifest": {Data: []byte(lineBase)}},
		"two manifests":  {"a.manifest": {Data: []byte(lineBase)}, "b.manifest": {Data: []byte(lineBase)}},
		"named manifest": {"other": {Data: []byte(begin)}},
	} {
		asked := ""
		if name == "named manifest" {
			asked = manifestName
		}
		_, err := aof.Inspect(t.Context(), files, asked, aof.InspectOptions{})
		if err == nil || asked == "" && !errors.Is(err, aof.ErrNoManifest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	files := fstest.MapFS{"appendonly.aof": {Data: []byte(begin)}}
	if _, err := aof.Inspect(ctx, files, "appendonly.aof", aof.InspectOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	// What is no file would be waited for for ever.
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "base.aof"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := aof.Inspect(t.Context(), os.DirFS(dir), "base.aof", aof.InspectOptions{}); err == nil {
		t.Error("a pipe was read")
	}
	folder{manifestName: []byte(lineBase)}.write(t, dir)
	report, err := aof.Inspect(t.Context(), os.DirFS(dir), "", aof.InspectOptions{})
	if err != nil || report.Err() == nil || report.Findings[0].Code != aof.CodeMissing {
		t.Errorf("a pipe in place of the base: %v, %v", err, report.Findings)
	}
}

func TestReaderSource(t *testing.T) {
	broken := errors.New("broken")
	for name, src := range map[string]io.Reader{
		"at the start":     iotest.ErrReader(broken),
		"in the middle":    io.MultiReader(strings.NewReader(begin+set[:13]), iotest.ErrReader(broken)),
		"between commands": io.MultiReader(strings.NewReader(begin+set), iotest.ErrReader(broken)),
	} {
		r := aof.NewReader(src, aof.Options{})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("%s: then %v", name, again)
		}
	}
}

// A length that lies costs no memory.
func TestMemoryIsBounded(t *testing.T) {
	var f aofFile
	f.command("SET", "large", strings.Repeat("v", 32<<20))
	f.raw("*2000000000\r\n$4\r\nMSET\r\n$8000000000000000000\r\nx")
	data := f.data
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := aof.NewReader(bytes.NewReader(data), aof.Options{KeepArgs: 1 << 30})
	rec, err := r.Next()
	if err != nil || len(rec.Args) != 3 || len(rec.Args[2]) != 64<<10 || rec.Length != int64(bytes.LastIndexByte(data, '*')) {
		t.Fatalf("got %v, %v", rec, err)
	}
	if _, err := r.Next(); err == nil {
		t.Error("a length that lies was believed")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}
