package aof_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/aof"
)

const (
	lineBase = "file base.aof seq 1 type b\n"
	lineIncr = "file incr.aof seq 1 type i\n"
)

// manifestCases are held against redis-server and redis-check-aof, too.
var manifestCases = []struct {
	name string
	text string
	code string // of the damage; "": none
	line int
	// Why the server, or redis-check-aof, sees it otherwise; "": it does not.
	server, check string
}{
	{name: "base and increment", text: lineBase + lineIncr},
	{name: "base alone", text: lineBase},
	{name: "increment alone", text: lineIncr},
	{name: "base after increment", text: lineIncr + lineBase},
	{name: "history", text: lineBase + "file gone.aof seq 1 type h\nfile gone.aof seq 1 type h\n" + lineIncr},
	{name: "comments", text: "# one\n" + lineBase + "#two\n" + lineIncr + "# three, no line end"},
	{name: "replication offsets", text: lineBase + "file incr.aof seq 1 type i startoffset 1234 endoffset 5678\n"},
	{name: "pairs from the future", text: "file base.aof seq 1 type b colour blue \"a b\" 'c d'\n"},
	{name: "any order", text: "file base.aof type b seq 1\nseq 1 type i file incr.aof\n"},
	{name: "capitals", text: "FILE base.aof SEQ 1 TYPE b\n", check: "knows a manifest by a line that begins with file in small letters"},
	{name: "long type", text: "file base.aof seq 1 type base\n"},
	{name: "number with a tail", text: "file base.aof seq 1x type b\n"},
	{name: "number with a sign", text: "file base.aof seq +1 type b\n"},
	{name: "negative base", text: "file base.aof seq -1 type b\n"},
	{name: "number of many digits", text: "file incr.aof seq 99999999999999999999999 type i\n"},
	{name: "line ends of another system", text: "file base.aof seq 1 type b\r\n"},
	{name: "blanks around", text: "file  base.aof\tseq 1\vtype b  \n", code: aof.CodeManifest, line: 1},
	{name: "blanks of all sorts", text: "file  base.aof\tseq 1 \v type b  \n"},
	{name: "double quotes", text: `file "base\x2eaof" seq "1" type "\b" type b` + "\n"},
	{name: "single quotes", text: `file 'base.aof' seq '1' type 'b'` + "\n"},
	{name: "quotes within a word", text: `file ba"se."aof seq 1 type b` + "\n", code: aof.CodeManifest, line: 1},
	{name: "quote ends a word", text: `file base"."'' seq 1 type b` + "\n", code: aof.CodeManifest, line: 1},
	{name: "word before a quote", text: `file base".aof" seq 1 type b` + "\n"},
	{name: "NUL ends a name", text: `file "base.aof\x00.old" seq 1 type b` + "\n"},
	{name: "pair said twice", text: "file gone.aof seq 9 type i file base.aof seq 1 type b\n"},
	{name: "longest line", text: lineOf(1024) + "\n"},
	{name: "long comment of two pieces", text: "#" + strings.Repeat("c", 1023) + "# more\n" + lineBase},

	{name: "empty", text: "", code: aof.CodeManifestEmpty, line: 1, check: "takes it for an empty file of commands"},
	{name: "blank line", text: lineBase + "\n" + lineIncr, code: aof.CodeManifestLine, line: 2},
	{name: "line of blanks", text: lineBase + " \t\r\n", code: aof.CodeManifestLine, line: 2},
	{name: "line too long", text: lineBase + lineOf(1025) + "\n", code: aof.CodeManifestLine, line: 2},
	{name: "long comment with a tail", text: lineBase + "#" + strings.Repeat("c", 1023) + "more\n", code: aof.CodeManifest, line: 2},
	{name: "long comment, more comment", text: "#" + strings.Repeat("c", 2000) + "\n" + lineBase, code: aof.CodeManifest, line: 1},
	{name: "no line end", text: lineBase + strings.TrimSpace(lineIncr), code: aof.CodeManifestLine, line: 2},
	{name: "NUL in a line", text: "file base\x00.aof seq 1 type b\n", code: aof.CodeManifestLine, line: 1},
	{name: "too few pairs", text: "file base.aof seq 1\n", code: aof.CodeManifest, line: 1},
	{name: "odd words", text: "file base.aof seq 1 type b more\n", code: aof.CodeManifest, line: 1},
	{name: "open quotes", text: "file \"base.aof seq 1 type b\n", code: aof.CodeManifest, line: 1},
	{name: "no file", text: "name base.aof seq 1 type b\n" + lineIncr, code: aof.CodeManifest, line: 1},
	{name: "no number", text: "file base.aof nr 1 type b\n", code: aof.CodeManifest, line: 1},
	{name: "number 0", text: "file base.aof seq 0 type b\n", code: aof.CodeManifest, line: 1},
	{name: "number in words", text: "file base.aof seq one type b\n", code: aof.CodeManifest, line: 1},
	{name: "no type", text: "file base.aof seq 1 kind b\n", code: aof.CodeManifest, line: 1},
	{name: "empty type", text: "file base.aof seq 1 type \"\"\n", code: aof.CodeManifest, line: 1},
	{name: "unknown type", text: lineBase + "file incr.aof seq 1 type x\n", code: aof.CodeManifestType, line: 2},
	{name: "type in capitals", text: "file base.aof seq 1 type B\n", code: aof.CodeManifestType, line: 1},
	{name: "path", text: "file ../base.aof seq 1 type b\n", code: aof.CodeManifestName, line: 1},
	{name: "backslash", text: `file a\base.aof seq 1 type b` + "\n", code: aof.CodeManifestName, line: 1},
	{name: "folder above", text: "file .. seq 1 type b\n", code: aof.CodeManifestName, line: 1},
	{name: "empty name", text: "file \"\" seq 1 type b\n", code: aof.CodeManifestName, line: 1},
	{name: "second base", text: lineBase + lineIncr + "file other.aof seq 2 type b\n", code: aof.CodeManifestBase, line: 3},
	{name: "increments in reverse", text: "file other.aof seq 2 type i\n" + lineIncr, code: aof.CodeManifestOrder, line: 2},
	{name: "increments of one number", text: lineIncr + "file other.aof seq 1 type i\n", code: aof.CodeManifestOrder, line: 2},
	{name: "negative increment", text: "file incr.aof seq -1 type i\n", code: aof.CodeManifestOrder, line: 1},
	{name: "nothing but comments", text: "# nothing\n", code: aof.CodeManifestEmpty,
		server: "starts with no data, as if there had never been any", check: "takes it for a file of commands"},
	{name: "nothing but history", text: "file base.aof seq 1 type h\n", code: aof.CodeManifestEmpty,
		server: "starts with no data, as if there had never been any", check: "has nothing to check"},
	{name: "file loaded twice", text: lineBase + lineIncr + "file incr.aof seq 2 type i\n", code: aof.CodeManifestTwice, line: 3,
		server: "runs its commands twice", check: "reads it twice"},
	{name: "missing file", text: lineBase + "file gone.aof seq 1 type i\n", code: aof.CodeMissing},
}

// lineOf is a base's line of n bytes, its line end included.
func lineOf(n int) string {
	line := strings.TrimSpace(lineBase) + " pad "
	return line + strings.Repeat("x", n-len(line)-1)
}

func manifestFolder(text string) folder {
	set := commandsOf([]string{"SELECT", "0"}, []string{"SET", "k", "v"})
	return folder{manifestName: []byte(text), "base.aof": set, "incr.aof": set, "other.aof": set}
}

func TestManifest(t *testing.T) {
	for _, c := range manifestCases {
		t.Run(c.name, func(t *testing.T) {
			files := manifestFolder(c.text)
			err := files.inspect(t, "").Err()
			var d *aof.Damage
			if errors.As(err, &d) != (c.code != "") || d != nil && (d.Code != c.code || d.Line != c.line) {
				t.Fatalf("found %v, want %s at line %d", err, c.code, c.line)
			}
			if d != nil && d.File == "" {
				t.Errorf("%v names no file", d)
			}
			// The server is the judge of what is fatal.
			delete(files, "other.aof")
			if strings.Contains(c.text, "other.aof") {
				files["other.aof"] = files["incr.aof"]
			}
			if _, err := files.loads(t); (err == nil) != (d == nil) == (c.server == "") {
				t.Errorf("the server says %v; explained by %q", err, c.server)
			}
			if ok, out := files.check(t, manifestName); ok != (d == nil) == (c.check == "") {
				t.Errorf("redis-check-aof says %t; explained by %q\n%s", ok, c.check, out)
			}
		})
	}
}

func TestManifestEntries(t *testing.T) {
	text := "# made by hand\nfile \"a b\\\\\".1.base.rdb seq 1 type b\n"
	if _, err := aof.ParseManifest(strings.NewReader(text)); err == nil {
		t.Error("text behind closing quotes was read")
	}
	text = "# made by hand\n" +
		"file \"a b\\\".1.base.rdb\" seq 1 type b\n" +
		"file a.1.incr.aof seq 1 type h startoffset 17 endoffset 99\n" +
		"file 'it\\'s' seq 2 type i startoffset 99\n"
	got, err := aof.ParseManifest(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	want := []aof.Entry{
		{Name: `a b".1.base.rdb`, Seq: 1, Type: aof.Base, StartOffset: -1, EndOffset: -1, Line: 2},
		{Name: "a.1.incr.aof", Seq: 1, Type: aof.History, StartOffset: 17, EndOffset: 99, Line: 3},
		{Name: "it's", Seq: 2, Type: aof.Incr, StartOffset: 99, EndOffset: -1, Line: 4},
	}
	if diff := cmp.Diff(want, got.Entries); diff != "" {
		t.Error(diff)
	}
	if loaded := got.Loaded(); len(loaded) != 2 || loaded[0].Type != aof.Base || loaded[1].Name != "it's" {
		t.Errorf("loaded are %v", loaded)
	}
}

// What is written is read back, whatever the name holds.
func TestManifestWritten(t *testing.T) {
	names := []string{"plain", "with blank", "\"", "'", "\x01\xff\n\r\t\a\b", "#", "\u00e9", "a'b", "x "}
	var text []byte
	var want []aof.Entry
	for i, name := range names {
		e := aof.Entry{Name: name, Seq: int64(i + 1), Type: aof.Incr, StartOffset: int64(i) - 1, EndOffset: aof.NoOffset, Line: i + 1}
		want = append(want, e)
		text, _ = e.AppendText(text)
	}
	got, err := aof.ParseManifest(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got.Entries); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(string(text), "file plain seq 1 type i\n") || !strings.Contains(string(text), `"\x01\xff\n\r\t\a\b"`) {
		t.Errorf("written is %s", text)
	}
}

func TestManifestSource(t *testing.T) {
	broken := errors.New("broken")
	if _, err := aof.ParseManifest(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	_, err := aof.ParseManifest(strings.NewReader(strings.Repeat("# and so on\n", 100_000)))
	if d := (*aof.Damage)(nil); !errors.As(err, &d) || d.Code != aof.CodeManifestSize {
		t.Errorf("got %v", err)
	}
}
