package rdb_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/rdb"
)

// shown is a key's value as its view gives it: a line for each element, sorted
// where order means nothing.
type shown struct {
	family rdb.Family
	typ    byte
	digest rdb.Digest
	lines  []string
}

// line writes an element in one form, whatever its kind.
func line(e *rdb.Element) string {
	switch e.Kind {
	case rdb.ElementString, rdb.ElementList, rdb.ElementMember, rdb.ElementModuleString:
		return fmt.Sprintf("%q", e.Text)
	case rdb.ElementScored:
		return fmt.Sprintf("%q score %v", e.Text, e.Float)
	case rdb.ElementField:
		return fmt.Sprintf("%q = %q until %d", e.Text, e.Value, e.Time)
	case rdb.ElementEntry:
		return fmt.Sprintf("%s %q", e.ID, e.Pairs)
	case rdb.ElementStreamState:
		return fmt.Sprintf("last %s deleted %s added %d has %d", e.ID, e.Deleted, e.Added, e.Count)
	case rdb.ElementGroup:
		return fmt.Sprintf("group %q at %s", e.Group, e.ID)
	case rdb.ElementPending:
		return fmt.Sprintf("group %q waits for %s since %d times %d", e.Group, e.ID, e.Time, e.Count)
	case rdb.ElementConsumer:
		return fmt.Sprintf("group %q consumer %q", e.Group, e.Consumer)
	case rdb.ElementHeld:
		return fmt.Sprintf("group %q consumer %q holds %s", e.Group, e.Consumer, e.ID)
	case rdb.ElementReleased:
		return fmt.Sprintf("group %q released %s", e.Group, e.ID)
	case rdb.ElementCursor:
		return fmt.Sprintf("next %d", e.Index)
	case rdb.ElementIndexed:
		return fmt.Sprintf("%d: %q", e.Index, e.Text)
	case rdb.ElementFloat:
		return fmt.Sprintf("%d: float %v", e.Index, e.Float)
	case rdb.ElementModule:
		return fmt.Sprintf("module %s version %d", e.Text, e.Index)
	case rdb.ElementModuleInt:
		return fmt.Sprintf("int %d", int64(e.Index))
	case rdb.ElementModuleUint:
		return fmt.Sprintf("uint %d", e.Index)
	case rdb.ElementModuleFloat, rdb.ElementModuleDouble:
		return fmt.Sprintf("float %v", e.Float)
	}
	return fmt.Sprintf("unknown kind %d", e.Kind)
}

// joiner puts the pieces of an element together again.
type joiner struct {
	text, value []byte
	pieces      int
	largest     int
	show        func(*rdb.Element)
}

func (j *joiner) add(e *rdb.Element) error {
	j.text, j.value = append(j.text, e.Text...), append(j.value, e.Value...)
	j.largest = max(j.largest, len(e.Text)+len(e.Value))
	j.pieces++
	if e.More {
		return nil
	}
	whole := *e
	whole.Text, whole.Value = j.text, j.value
	j.show(&whole)
	j.text, j.value = nil, nil
	return nil
}

// views returns the value of every key, by database and name.
func views(t testing.TB, data []byte) map[string]shown { return viewsFrom(t, bytes.NewReader(data)) }

func viewsFrom(t testing.TB, src io.Reader) map[string]shown {
	t.Helper()
	found := map[string]shown{}
	var lines []string
	r := rdb.NewReader(src, rdb.Options{View: func(*rdb.Record) func(*rdb.Element) error {
		lines = nil
		return (&joiner{show: func(e *rdb.Element) { lines = append(lines, line(e)) }}).add
	}})
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != rdb.KindKey {
			continue
		}
		switch rec.Family {
		case rdb.Set, rdb.Zset, rdb.Hash:
			slices.Sort(lines)
		}
		found[fmt.Sprintf("%d %s", rec.DB, rec.Key)] = shown{rec.Family, rec.Type, rec.Digest, lines}
	}
}

// wantView checks the lines of one key's view.
func wantView(t *testing.T, found map[string]shown, key string, want ...string) {
	t.Helper()
	if got := found[key].lines; !slices.Equal(got, want) {
		t.Errorf("%s is shown as\n%s\nwant\n%s", key, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// everyType is a dump by hand of each type and each encoding, but for what is
// written alike under several numbers.
func everyType() []byte {
	const at = 4102444800000
	lp := listpackOf
	id := strings.Repeat("\x00", 7) + "\x09" + strings.Repeat("\x00", 7) + "\x01"
	b := newDump(15).raw(242, 7, 2).text("a", "b").selectDB(0)
	b.key(0, "string").text("").key(0, "int").raw(0xc0, 0xfb)
	b.key(1, "list").num(3).text("a", "").raw(0xc1, 0x10, 0x27)
	b.key(14, "quicklist").num(2).text(ziplistOf("x", "-5"), ziplistOf("tail"))
	b.key(18, "nodes").num(3).num(1).text("plain").num(2).text(lp("a", "7")).num(1).text("")
	b.key(10, "list-ziplist").text(ziplistOf("x", "70000")).key(13, "hash-ziplist").text(ziplistOf("f", "v")).key(12, "zset-ziplist").text(ziplistOf("m", "-7"))
	b.key(11, "intset").text("\x02\x00\x00\x00\x02\x00\x00\x00\xfe\xff\x01\x00")
	b.key(3, "scores").num(3).text("a").raw(3, '1', '.', '5').text("b").raw(254).text("c").raw(255)
	b.key(17, "zset").text(lp("m", "-0.5", "", "3"))
	b.key(9, "zipmap").text("\x01\x01f\x01\x00v\xff")
	b.key(24, "expiring").u64(at).num(2).num(0).text("f", "v").num(6).text("g", "")
	b.key(25, "expiring-lp").u64(at).text(lp("g", "w", fmt.Sprint(at), "f", "v", "0"))
	b.key(30, "template").text(lp("7", "one", "2")).key(32, "template-array").num(7).text("x", "y")
	b.key(27, "stream").num(1).text(id, lp("2", "1", "1", "f", "0", "2", "0", "0", "v", "4", "3", "0", "1", "gone", "4", "0", "1", "0", "1", "k", "w", "6"))
	b.num(2).num(10).num(1).num(9).num(1).num(9).num(2).num(3)
	b.num(1).text("g").num(9).num(1).num(1).num(2).raw([]byte(id)...).u64(77).num(2).raw([]byte(id[:15] + "\x05")...).u64(78).num(1)
	b.num(2).text("c").u64(88).u64(99).num(1).raw([]byte(id)...).text("idle").u64(1).u64(2).num(0)
	b.num(1).raw([]byte(id[:15] + "\x05")...).num(100).num(100).num(0).num(0).num(0)
	b.key(28, "array").num(4).num(1).num(77).num(0).num(0).text("s").num(1).num(1).u64(1<<64 - 5).num(1 << 40).num(2).double(1.5).num(1<<40 + 1).num(3).text("")
	b.key(7, "module").num(moduleID("testtype-", 3)).num(1).num(1<<64-1).num(2).num(3).num(3).raw(0, 0, 0xc0, 0x3f).num(4).double(2).num(5).text("s").num(0)
	return b.selectDB(3).str("string", "of another database").done()
}

// Every type is shown as it was written by hand; those that servers write,
// TestViewAsAnotherReader holds against another reader.
func TestView(t *testing.T) {
	found := views(t, everyType())

	wantView(t, found, "0 string", `""`)
	wantView(t, found, "0 int", `"-5"`)
	wantView(t, found, "0 list", `"a"`, `""`, `"10000"`)
	wantView(t, found, "0 quicklist", `"x"`, `"-5"`, `"tail"`)
	wantView(t, found, "0 nodes", `"plain"`, `"a"`, `"7"`, `""`)
	wantView(t, found, "0 list-ziplist", `"x"`, `"70000"`)
	wantView(t, found, "0 hash-ziplist", `"f" = "v" until 0`)
	wantView(t, found, "0 zset-ziplist", `"m" score -7`)
	wantView(t, found, "0 intset", `"-2"`, `"1"`)
	wantView(t, found, "0 scores", `"a" score 1.5`, `"b" score +Inf`, `"c" score -Inf`)
	wantView(t, found, "0 zset", `"" score 3`, `"m" score -0.5`)
	wantView(t, found, "0 zipmap", `"f" = "v" until 0`)
	wantView(t, found, "0 expiring", `"f" = "v" until 0`, `"g" = "" until 4102444800005`)
	wantView(t, found, "0 expiring-lp", `"f" = "v" until 0`, `"g" = "w" until 4102444800000`)
	wantView(t, found, "0 template", `"a" = "one" until 0`, `"b" = "2" until 0`)
	wantView(t, found, "0 template-array", `"a" = "x" until 0`, `"b" = "y" until 0`)
	wantView(t, found, "0 stream", `9-1 ["f" "v"]`, `10-1 ["k" "w"]`, `last 10-1 deleted 9-2 added 3 has 2`,
		`group "g" at 9-1`, `group "g" waits for 9-1 since 77 times 2`, `group "g" waits for 9-5 since 78 times 1`,
		`group "g" consumer "c"`, `group "g" consumer "c" holds 9-1`, `group "g" consumer "idle"`, `group "g" released 9-5`)
	wantView(t, found, "0 array", `next 77`, `0: "s"`, `1: "-5"`, `1099511627776: float 1.5`, `1099511627777: ""`)
	wantView(t, found, "0 module", `module testtype- version 3`, `int -1`, `uint 3`, `float 1.5`, `float 2`, `"s"`)
	wantView(t, found, "3 string", `"of another database"`)
	if len(found) != 20 {
		t.Errorf("%d keys", len(found))
	}
}

// A key that is viewed has the digest it has without, and a key that is not
// asked for is passed over.
func TestViewLeavesTheRestAlone(t *testing.T) {
	data := fixture(t)
	want := digests(t, data)
	found := views(t, data)
	if len(found) != len(want) {
		t.Errorf("%d keys are shown of %d", len(found), len(want))
	}
	for key, v := range found {
		if v.digest != want[key] {
			t.Errorf("%s has another digest when it is viewed", key)
		}
	}
	var asked, elements int
	r := rdb.NewReader(bytes.NewReader(data), rdb.Options{View: func(rec *rdb.Record) func(*rdb.Element) error {
		if asked++; string(rec.Key) != "set:text" {
			return nil
		}
		return func(*rdb.Element) error { elements++; return nil }
	}})
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == rdb.KindKey && (rec.Digest != rdb.Digest{}) != (string(rec.Key) == "set:text") {
			t.Errorf("%s has the digest %s", rec.Key, rec.Digest)
		}
	}
	if asked != len(want) || elements != 3 {
		t.Errorf("%d keys asked for, %d elements shown", asked, elements)
	}
}

// Long texts come in pieces of bounded size that give the same when joined,
// compressed or not, however the source cuts them.
func TestViewPieces(t *testing.T) {
	s := startServer(t)
	long := strings.Repeat("slotark keeps backups. ", 30_000) + string(noise(50_000)) + strings.Repeat("end", 40_000)
	edge := strings.Repeat("e", rdb.PieceBytes-8)
	s.do("SET", "string", long)
	s.do("SET", "edge", edge)
	s.do("RPUSH", "list", "a", long, "", edge, "b")
	s.do("SADD", "set", long, edge, "x")
	s.do("ZADD", "zset", 1.5, long, -2, edge)
	s.do("HSET", "hash", long, "short", "short", long, long+"2", long, "", "", edge, edge)
	s.do("XADD", "stream", "1-1", "f", long, long, "v")
	s.do("XADD", "stream", "1-2", "f", "w")
	s.do("XGROUP", "CREATE", "stream", long, "0")
	s.do("XREADGROUP", "GROUP", long, long, "STREAMS", "stream", ">")
	s.do("XCLAIM", "stream", long, long, 0, "1-1", "1-2", "TIME", 1700000000000, "RETRYCOUNT", 3, "JUSTID")
	want := map[string][]string{
		"0 string": {fmt.Sprintf("%q", long)},
		"0 edge":   {fmt.Sprintf("%q", edge)},
		"0 list":   {`"a"`, fmt.Sprintf("%q", long), `""`, fmt.Sprintf("%q", edge), `"b"`},
		"0 set":    {fmt.Sprintf("%q", edge), fmt.Sprintf("%q", long), `"x"`},
		"0 zset":   {fmt.Sprintf("%q score -2", edge), fmt.Sprintf("%q score 1.5", long)},
		"0 hash": {`"" = "" until 0`, fmt.Sprintf("%q = %q until 0", edge, edge), fmt.Sprintf("%q = %q until 0", "short", long),
			fmt.Sprintf("%q = %q until 0", long, "short"), fmt.Sprintf("%q = %q until 0", long+"2", long)},
		"0 stream": {fmt.Sprintf("1-1 %q", []string{"f", long, long, "v"}), `1-2 ["f" "w"]`, "last 1-2 deleted 0-0 added 2 has 2",
			fmt.Sprintf("group %q at 1-2", long), fmt.Sprintf("group %q waits for 1-1 since 1700000000000 times 3", long),
			fmt.Sprintf("group %q waits for 1-2 since 1700000000000 times 3", long), fmt.Sprintf("group %q consumer %q", long, long),
			fmt.Sprintf("group %q consumer %q holds 1-1", long, long), fmt.Sprintf("group %q consumer %q holds 1-2", long, long)},
	}
	compressed := s.save()
	s.do("CONFIG", "SET", "rdbcompression", "no")
	for name, src := range map[string]io.Reader{
		"compressed": bytes.NewReader(compressed), "plain": bytes.NewReader(s.save()),
		"by halves": iotest.HalfReader(bytes.NewReader(compressed)),
	} {
		t.Run(name, func(t *testing.T) {
			found := viewsFrom(t, src)
			for key, lines := range want {
				slices.Sort(lines)
				got := slices.Sorted(slices.Values(found[key].lines))
				if !slices.Equal(got, lines) {
					t.Errorf("%s is shown as something else, in %d lines", key, len(got))
				}
			}
		})
	}
	largest, pieces := 0, 0
	r := rdb.NewReader(bytes.NewReader(compressed), rdb.Options{View: func(rec *rdb.Record) func(*rdb.Element) error {
		if rec.Family == rdb.List {
			return nil // this server packs even these into one node, which is unpacked at once
		}
		return func(e *rdb.Element) error {
			largest, pieces = max(largest, len(e.Text)+len(e.Value)), pieces+1
			return nil
		}
	}})
	for _, err := r.Next(); err != io.EOF; _, err = r.Next() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if largest > 8*rdb.PieceBytes || pieces < 50 {
		t.Errorf("%d pieces, the largest of %d bytes", pieces, largest)
	}
}

// What the function returns ends the reading, and damage in a viewed value is
// damage.
func TestViewErrors(t *testing.T) {
	full := fmt.Errorf("disk full")
	calls := 0
	r := rdb.NewReader(bytes.NewReader(newDump(9).key(1, "l").num(3).text("a", "b", "c").done()), rdb.Options{
		View: func(*rdb.Record) func(*rdb.Element) error { return func(*rdb.Element) error { calls++; return full } }})
	if _, err := r.Next(); err != full || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	r = rdb.NewReader(bytes.NewReader(newDump(10).key(16, "h").text(listpackOf("f")).done()), rdb.Options{
		View: func(*rdb.Record) func(*rdb.Element) error { return func(*rdb.Element) error { return nil } }})
	if _, err := r.Next(); code(err) != rdb.CodeValue {
		t.Errorf("a field without a value: %v", err)
	}
}

// Whatever the input, a view shows what digests see: it ends where they end,
// with the same digest.
func FuzzView(f *testing.F) {
	f.Add(smallFixture(f))
	f.Add(newTypes().unsealed())
	f.Add(valkeyTypes().unsealed())
	f.Add(oldTypes().unsealed())
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(o rdb.Options) (sum rdb.Digest, err error) {
			r := rdb.NewReader(bytes.NewReader(data), o)
			for {
				rec, err := r.Next()
				if err != nil {
					return sum, err
				}
				sum = sum.Add(rec.Digest)
			}
		}
		want, wantErr := read(rdb.Options{Digest: true})
		got, err := read(rdb.Options{View: func(*rdb.Record) func(*rdb.Element) error {
			return func(e *rdb.Element) error {
				if strings.HasPrefix(line(e), "unknown kind") {
					t.Error(line(e))
				}
				return nil
			}
		}})
		if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("viewed: %s, %v; digested: %s, %v", got, err, want, wantErr)
		}
	})
}
