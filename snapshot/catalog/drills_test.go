package catalog

import (
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/manifest"
)

func TestLeastProved(t *testing.T) {
	drilled := func(days int) *Drill { return &Drill{Ended: time.Date(2026, 1, days, 4, 0, 0, 0, time.UTC)} }
	entry := func(id manifest.ID, d *Drill) Entry { return Entry{ID: id, Summary: &Summary{}, Drilled: d} }
	for name, c := range map[string]struct {
		entries []Entry
		want    manifest.ID
	}{
		"none":                     {nil, ""},
		"none that can be read":    {[]Entry{{ID: "c"}}, ""},
		"the newest never drilled": {[]Entry{entry("d", drilled(9)), entry("c", nil), entry("b", nil), entry("a", drilled(1))}, "c"},
		"the longest ago":          {[]Entry{entry("c", drilled(9)), entry("b", drilled(2)), entry("a", drilled(3))}, "b"},
		"not what nobody can read": {[]Entry{{ID: "z"}, entry("b", drilled(2))}, "b"},
	} {
		got := manifest.ID("")
		if e := LeastProved(c.entries); e != nil {
			got = e.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
