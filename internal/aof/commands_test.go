package aof_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/slot"
)

// record is what a test compares of a record.
type record struct {
	Kind        aof.Kind
	At, Length  int64
	Name        string
	Args        []string
	Argc        int64
	DB, Slot    int
	Transaction bool
	Time        int64
}

func readAll(src io.Reader, keep int) (records []record, r *aof.Reader, err error) {
	r = aof.NewReader(src, aof.Options{KeepArgs: keep})
	for {
		rec, err := r.Next()
		if err != nil {
			return records, r, err
		}
		got := record{rec.Kind, rec.Offset, rec.Length, string(rec.Name), nil, rec.Argc, rec.DB, rec.Slot, rec.InTransaction, rec.UnixTime}
		for _, arg := range rec.Args {
			got.Args = append(got.Args, string(arg))
		}
		records = append(records, got)
	}
}

func TestRecords(t *testing.T) {
	var f aofFile
	f.line("#TS:1700000000")
	f.command("SELECT", "3").command("set", "{a}k", "v", "PXAT", "1").command("MULTI").command("DEL", "x", "y").command("EXEC")
	f.line("#note").command("COOK", "k").command("FLUSHALL")
	want := []record{
		{Kind: aof.KindTimestamp, At: 0, Length: 16, Slot: -1, Time: 1700000000},
		{Kind: aof.KindCommand, At: 16, Length: 23, Name: "SELECT", Args: []string{"SELECT", "3"}, Argc: 2, DB: 3, Slot: -1},
		{Kind: aof.KindCommand, At: 39, Length: 47, Name: "set", Args: []string{"set", "{a}k"}, Argc: 5, DB: 3, Slot: slot.Of([]byte("a"))},
		{Kind: aof.KindCommand, At: 86, Length: 15, Name: "MULTI", Args: []string{"MULTI"}, Argc: 1, DB: 3, Slot: -1, Transaction: true},
		{Kind: aof.KindCommand, At: 101, Length: 27, Name: "DEL", Args: []string{"DEL", "x"}, Argc: 3, DB: 3, Slot: slot.Of([]byte("x")), Transaction: true},
		{Kind: aof.KindCommand, At: 128, Length: 14, Name: "EXEC", Args: []string{"EXEC"}, Argc: 1, DB: 3, Slot: -1, Transaction: true},
		{Kind: aof.KindAnnotation, At: 142, Length: 7, DB: 3, Slot: -1},
		{Kind: aof.KindCommand, At: 149, Length: 21, Name: "COOK", Args: []string{"COOK", "k"}, Argc: 2, DB: 3, Slot: -1},
		{Kind: aof.KindCommand, At: 170, Length: 18, Name: "FLUSHALL", Args: []string{"FLUSHALL"}, Argc: 1, DB: 3, Slot: -1},
	}
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(f.data), "bytewise": iotest.OneByteReader(bytes.NewReader(f.data)), "end at once": iotest.DataErrReader(bytes.NewReader(f.data)),
	} {
		got, r, err := readAll(src, 2)
		if err != io.EOF {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var slots slot.Set
		for _, key := range []string{"a", "x", "y"} {
			slots.Add(slot.Of([]byte(key)))
		}
		if r.Slots() != slots || r.Unplaced() != 1 || r.WholeEnd() != int64(len(f.data)) || r.SafeEnd() != r.WholeEnd() {
			t.Errorf("%s: slots %s, %d unplaced, ends %d %d", name, r.Slots(), r.Unplaced(), r.WholeEnd(), r.SafeEnd())
		}
	}
}

// Which arguments are keys.
func TestKeys(t *testing.T) {
	for text, keys := range map[string]string{
		"SET a b c": "a", "MSET a 1 b 2 c 3": "a b c", "UNLINK a b": "a b", "RENAME a b": "a b", "BITOP AND d a b": "d a b",
		"ZUNIONSTORE d 2 a b WEIGHTS 1 2": "d a b", "LMPOP 2 a b LEFT": "a b", "EVAL code 1 a x": "a", "EVAL code 0": "",
		"MSETEX 2 a 1 b 2 EX 9": "a b", "XGROUP CREATE a g $": "a", "BLPOP a b 0": "a b", "FUNCTION LOAD x": "", "DEL": "", "SET": "",
		"LMPOP": "", "blmpop 0 1 a LEFT": "a", "PUBLISH a b": "", "EVAL code 1": "",
	} {
		_, r, err := readAll(bytes.NewReader(commandsOf(strings.Fields(text))), 0)
		if err != io.EOF {
			t.Fatal(text, err)
		}
		var want slot.Set
		for _, key := range strings.Fields(keys) {
			want.Add(slot.Of([]byte(key)))
		}
		if r.Slots() != want || r.Unplaced() != 0 && text != "EVAL code 1" {
			t.Errorf("%s: slots %s, want %s, %d unplaced", text, r.Slots(), want, r.Unplaced())
		}
	}
	for _, text := range []string{"LMPOP x a LEFT", "LMPOP -1 a LEFT", "LMPOP 9 a LEFT", "LMPOP 99999999999999999999 a LEFT", "SET " + strings.Repeat("k", 512<<10+1) + " v", "NO k", strings.Repeat("N", 99)} {
		if _, r, err := readAll(bytes.NewReader(commandsOf(strings.Fields(text))), 0); err != io.EOF || r.Unplaced() != 1 || r.Slots().Len() != 0 {
			t.Errorf("%.20s: %d unplaced, %v", text, r.Unplaced(), err)
		}
	}
}

// The server itself says where the keys of its commands are.
func TestKeyPositions(t *testing.T) {
	s := startServer(t, t.TempDir())
	checked := 0
	var check func(reply []any)
	check = func(reply []any) {
		name, flags := strings.ToUpper(reply[0].(string)), reply[2].([]any)
		for _, sub := range reply[9].([]any) {
			check(sub.([]any))
		}
		// COMMAND gives the numbered keys of these as it can.
		if !slices.Contains(flags, any("write")) || slices.Contains(flags, any("movablekeys")) {
			return
		}
		checked++
		first, last, step := int(reply[3].(int64)), int(reply[4].(int64)), int(reply[5].(int64))
		// As many arguments as any of them needs; what is no key has slot -1.
		args := strings.Split(name, "|")
		for i := len(args); i < 7; i++ {
			args = append(args, fmt.Sprintf("arg%d", i))
		}
		if last < 0 {
			last += len(args)
		}
		var want slot.Set
		for i := first; first > 0 && i <= last; i += step {
			want.Add(slot.Of([]byte(args[i])))
		}
		if _, r, err := readAll(bytes.NewReader(commandsOf(args)), 0); err != io.EOF || r.Unplaced() > 0 || r.Slots() != want {
			t.Errorf("%s: slots %s, want %s, %d unplaced, %v", name, r.Slots(), want, r.Unplaced(), err)
		}
	}
	for _, reply := range s.do("COMMAND").([]any) {
		check(reply.([]any))
	}
	if checked < 90 {
		t.Errorf("only %d commands were checked", checked)
	}
}

// Commands and arguments of every length, so that each part of a command lies
// across the buffer's end once.
func TestBufferEnds(t *testing.T) {
	for shift := range 80 {
		var f aofFile
		f.command("SET", "first", strings.Repeat("x", 512<<10-80+shift))
		f.line("#TS:1700000000").command("HSET", "{h}ash", "field", strings.Repeat("y", shift))
		f.command("SET", "large", strings.Repeat("z", 1_200_000)).command("DEL", "last")
		got, r, err := readAll(bytes.NewReader(f.data), 1)
		if err != io.EOF || len(got) != 5 || r.Unplaced() != 0 || r.Offset() != int64(len(f.data)) {
			t.Fatalf("shift %d: %d records, %v", shift, len(got), err)
		}
		for i, key := range []string{"first", "", "h", "large", "last"} {
			if key != "" && got[i].Slot != slot.Of([]byte(key)) {
				t.Errorf("shift %d: slot %d for %s", shift, got[i].Slot, key)
			}
		}
	}
}

// Every strict prefix is cut, or ends where a record does.
func TestPrefixes(t *testing.T) {
	var f aofFile
	f.line("#TS:1700000000").command("SELECT", "0").command("SET", "k", strings.Repeat("v", 12))
	f.command("MULTI").command("INCR", "n").line("#TS:1700000001").command("DEL", "a", "b").command("EXEC").command("PING")
	whole, _, err := readAll(bytes.NewReader(f.data), 0)
	if err != io.EOF {
		t.Fatal(err)
	}
	ends, safe := map[int64]bool{0: true}, []int64{0} // where records end; where no transaction is open
	for _, rec := range whole {
		end := rec.At + rec.Length
		ends[end] = true
		if !rec.Transaction || rec.Name == "EXEC" {
			if rec.Time != 1700000001 {
				safe = append(safe, end)
			}
		}
	}
	for n := range int64(len(f.data)) {
		report := inspectFile(t, f.data[:n])
		file := report.Files[0]
		wantSafe, wantWhole := int64(0), int64(0)
		for _, end := range safe {
			if end <= n {
				wantSafe = end
			}
		}
		for end := range ends {
			if end <= n {
				wantWhole = max(wantWhole, end)
			}
		}
		if file.SafeEnd != wantSafe || file.WholeEnd != wantWhole || file.Lost() != n-wantSafe {
			t.Errorf("prefix of %d: ends %d and %d, want %d and %d", n, file.WholeEnd, file.SafeEnd, wantWhole, wantSafe)
		}
		if (report.Err() == nil) != (n == wantSafe) || !report.Loadable() {
			t.Errorf("prefix of %d: %v", n, report.Err())
		}
	}
}
