package restore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

func TestFlushes(t *testing.T) {
	f := noFlushes()
	if f.gone(0, spot{0, 0}) {
		t.Error("without a flush something is gone")
	}
	f.all, f.db[3] = spot{1, 100}, spot{2, 50}
	for _, c := range []struct {
		db   int
		at   spot
		gone bool
	}{
		{0, spot{0, 1 << 40}, true}, {0, spot{1, 99}, true}, {0, spot{1, 100}, false}, {0, spot{2, 0}, false},
		{3, spot{0, 0}, true}, {3, spot{2, 49}, true}, {3, spot{2, 50}, false}, {3, spot{3, 0}, false},
	} {
		if got := f.gone(c.db, c.at); got != c.gone {
			t.Errorf("database %d, %v: %t", c.db, c.at, got)
		}
	}
}

func TestLibraries(t *testing.T) {
	code := func(name, body string) []byte { return []byte("#!lua name=" + name + "\n" + body) }
	for text, want := range map[string]string{
		"#!lua name=stock\nx": "stock", "#!lua   NAME=a_1  \n": "a_1", `#!lua "name=quoted"`: "quoted", "#!lua": "#!lua", "": "",
	} {
		if got := libraryName([]byte(text)); got != want {
			t.Errorf("%q is called %q, want %q", text, got, want)
		}
	}
	var l libraries
	apply := func(args ...string) error {
		var all [][]byte
		for _, a := range append([]string{"FUNCTION"}, args...) {
			all = append(all, []byte(a))
		}
		return l.apply(all)
	}
	want := func(names string) {
		t.Helper()
		var got []string
		for _, code := range l.code {
			got = append(got, libraryName(code))
		}
		if strings.Join(got, " ") != names {
			t.Errorf("libraries %s, want %s", got, names)
		}
	}
	l.load(code("base", "1"))
	for _, step := range []struct {
		args []string
		then string
	}{
		{[]string{"LOAD", string(code("a", "1"))}, "base a"},
		{[]string{"load", "replace", string(code("base", "2"))}, "a base"},
		{[]string{"DELETE", "A"}, "a base"},
		{[]string{"Delete", "a"}, "base"},
		{[]string{"FLUSH", "ASYNC"}, ""},
	} {
		if err := apply(step.args...); err != nil {
			t.Errorf("%v: %v", step.args, err)
		}
		want(step.then)
	}
	for _, args := range [][]string{{}, {"LOAD"}, {"DELETE"}, {"STATS"}, {"RESTORE", "x"}, {"RESTORE", "damaged in its sum"}} {
		if err := apply(args...); err == nil {
			t.Errorf("FUNCTION %v was taken", args)
		}
	}
}

// Libraries that differ under one name are told; the same one comes once.
func TestLibrariesOf(t *testing.T) {
	r := laidOut(t, "0-99 100-199 200-16383", "0-199 200-16383")
	code := func(name, body string) []byte { return []byte("#!lua name=" + name + "\n" + body) }
	r.code = [][][]byte{{code("a", "1"), code("b", "1")}, {code("b", "2"), code("a", "1"), code("c", "1")}, {code("b", "3")}}
	if got := fmt.Sprintf("%q", r.librariesOf(0)); got != `["#!lua name=a\n1" "#!lua name=b\n1" "#!lua name=c\n1"]` {
		t.Error(got)
	}
	if got := r.librariesOf(1); len(got) != 1 || len(r.outcome.Findings) != 1 || r.outcome.Findings[0].Code != "functions-disagree" || !strings.Contains(r.outcome.Findings[0].Detail, `"b"`) {
		t.Errorf("%q, findings %v", got, r.outcome.Findings)
	}
}

func TestTrimsOthers(t *testing.T) {
	s := &setReader{shard: manifest.Shard{Slots: slot.SetOf(slot.Range{First: 100, Last: 199})}}
	for text, want := range map[string]bool{
		"TRIMSLOTS RANGES 1 0 99": true, "trimslots ranges 2 0 99 200 300": true, "TRIMSLOTS RANGES 1 0 100": false,
		"TRIMSLOTS RANGES 2 0 99 150 300": false, "TRIMSLOTS RANGES 1 0 x": false, "TRIMSLOTS RANGES 1 0": false, "TRIMSLOTS": false, "TRIMSLOTS OTHER 1 0 99": false,
	} {
		r := &aof.Record{}
		for _, word := range strings.Fields(text) {
			r.Args = append(r.Args, []byte(word))
		}
		if r.Argc = int64(len(r.Args)); s.trimsOthers(r) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}
}
