package manifest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/manifest"
)

func TestIDsSortByTime(t *testing.T) {
	start := time.Date(2025, 12, 31, 23, 59, 58, 0, time.UTC)
	var ids []manifest.ID
	for _, step := range []time.Duration{0, time.Second, 2 * time.Second, time.Hour, 24 * time.Hour, 400 * 24 * time.Hour} {
		ids = append(ids, manifest.NewID(start.Add(step)))
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids made one after the other do not sort: %v", ids)
	}
}

func TestNewID(t *testing.T) {
	elsewhere := time.FixedZone("elsewhere", 5*3600)
	at := time.Date(2026, 1, 31, 7, 0, 0, 999999999, elsewhere)
	seen := map[manifest.ID]bool{}
	for range 1000 {
		id := manifest.NewID(at)
		if seen[id] {
			t.Fatalf("%s came twice in a thousand", id)
		}
		seen[id] = true
		parsed, err := manifest.ParseID(string(id))
		if err != nil || parsed != id {
			t.Fatalf("ParseID(%s) = %s, %v", id, parsed, err)
		}
		if want := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC); !id.Time().Equal(want) {
			t.Fatalf("%s is of %s, want %s", id, id.Time(), want)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	cases := map[string]string{
		"nothing":           "",
		"latest":            "latest",
		"a prefix":          "20260131T020000Z",
		"no random part":    "20260131T020000Z-",
		"short":             "20260131T020000Z-x7k2p",
		"long":              "20260131T020000Z-x7k2p9a",
		"upper case":        "20260131T020000Z-X7K2P9",
		"a misread letter":  "20260131T020000Z-x7k2pl",
		"a misread digit":   "20260131T020000Z-x7k2p0",
		"thirteenth month":  "20261331T020000Z-x7k2p9",
		"30 February":       "20260230T020000Z-x7k2p9",
		"hour 25":           "20260131T250000Z-x7k2p9",
		"no zone":           "20260131T020000-x7k2p9",
		"a line end after":  "20260131T020000Z-x7k2p9\n",
		"a space before":    " 20260131T020000Z-x7k2p9",
		"a path":            "../20260131T020000Z-x7k2p9",
		"other digits":      "２０２６0131T020000Z-x7k2p9",
		"a manifest's name": "20260131T020000Z-x7k2p9/manifest.json",
	}
	for name, text := range cases {
		if id, err := manifest.ParseID(text); err == nil || id != "" {
			t.Errorf("%s: ParseID(%q) = %q, %v", name, text, id, err)
		}
	}
}

func TestTimeOfNoID(t *testing.T) {
	for _, id := range []manifest.ID{"", "latest", "20261331T020000Z-x7k2p9"} {
		if !id.Time().IsZero() {
			t.Errorf("%q has the time %s", id, id.Time())
		}
	}
}
