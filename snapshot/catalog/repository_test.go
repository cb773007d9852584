package catalog_test

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/mirror"
)

const (
	markerNow   = `{"format_version":1,"created":"2026-01-01T00:00:00Z"}`
	markerLater = `{"format_version":2,"created":"2026-01-01T00:00:00Z","sealed":true}`
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestOpen(t *testing.T) {
	cases := map[string]struct {
		primary, mirror string // the text of slotark.json; "" none
		down            string
		want            error // nil: it opens
		says            string
	}{
		"both have it":                       {markerNow, markerNow, "", nil, ""},
		"only the mirror has it":             {"", markerNow, "", nil, ""},
		"none has it":                        {"", "", "", catalog.ErrNoRepository, "file://"},
		"the primary is down":                {markerNow, markerNow, "eu", nil, ""},
		"the mirror is down":                 {markerNow, markerNow, "us", nil, ""},
		"the primary is down, no mirror yet": {markerNow, "", "eu", catalog.ErrNoRepository, errDown.Error()},
		"both are down":                      {markerNow, markerNow, "both", errDown, ""},
		"a later format version":             {markerLater, "", "", catalog.ErrFormat, "version 2 of file://"},
		"a later version, an old mirror":     {markerLater, markerNow, "", catalog.ErrFormat, "this build reads version 1"},
		"a marker without a version":         {`{}`, "", "", catalog.ErrFormat, "version 0"},
		"a damaged marker":                   {markerNow[:9], "", "", nil, "decode slotark.json"},
		"a damaged marker, a good mirror":    {markerNow[:9], markerNow, "", nil, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			primary, mirror := &switched{Store: fs.Open(t.TempDir())}, &switched{Store: fs.Open(t.TempDir())}
			for store, text := range map[*switched]string{primary: c.primary, mirror: c.mirror} {
				if text != "" {
					put(t, store, "slotark.json", text)
				}
			}
			primary.down, mirror.down = c.down == "eu" || c.down == "both", c.down == "us" || c.down == "both"
			r, err := catalog.Open(t.Context(), named(primary, mirror))
			if c.want == nil && c.says == "" {
				if err != nil || len(r.Stores()) != 2 || r.Stores()[0].Name != "eu" {
					t.Fatalf("got %+v, %v", r, err)
				}
				return
			}
			if r != nil || !errors.Is(err, c.want) && c.want != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
			if len(hint.Of(err)) == 0 && (errors.Is(err, catalog.ErrNoRepository) || errors.Is(err, catalog.ErrFormat)) {
				t.Errorf("%v says not what to do", err)
			}
		})
	}
}

// A folder that does not exist is no repository to a reader, and to a writer
// the place of one to be.
func TestAFolderThatDoesNotExist(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "yet")
	stores := named(fs.Open(filepath.Join(root, "eu")), fs.Open(filepath.Join(root, "us")))
	if _, err := catalog.Open(t.Context(), stores); !errors.Is(err, catalog.ErrNoRepository) || !errors.Is(err, storage.ErrNoStore) {
		t.Errorf("Open: %v, want ErrNoRepository and ErrNoStore", err)
	}
	if _, err := catalog.Create(t.Context(), stores, now); err != nil {
		t.Fatalf("Create: %v", err)
	}
	for _, store := range stores {
		if _, err := store.Stat(t.Context(), "slotark.json"); err != nil {
			t.Error(err)
		}
	}
}

func TestNoStoreAtAll(t *testing.T) {
	if _, err := catalog.Open(t.Context(), nil); err == nil {
		t.Error("Open of no store")
	}
	if _, err := catalog.Create(t.Context(), nil, now); err == nil {
		t.Error("Create in no store")
	}
}

func TestCreateWritesTheMarkerOnce(t *testing.T) {
	stores := named(fs.Open(t.TempDir()), fs.Open(t.TempDir()))
	for _, at := range []time.Time{now, now.Add(time.Hour)} {
		if _, err := catalog.Create(t.Context(), stores, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range stores {
		body, err := store.Open(t.Context(), "slotark.json")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(text) != markerNow+"\n" {
			t.Errorf("%s: %q, %v", store.Name, text, err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	cases := map[string]struct {
		prepare func(*testing.T, *switched)
		want    error
	}{
		"the primary is down":         {func(_ *testing.T, s *switched) { s.down = true }, errDown},
		"the primary takes no object": {func(_ *testing.T, s *switched) { s.full = true }, errDown},
		"a later format version":      {func(t *testing.T, s *switched) { put(t, s, "slotark.json", markerLater) }, catalog.ErrFormat},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			primary, mirror := &switched{Store: fs.Open(t.TempDir())}, fs.Open(t.TempDir())
			c.prepare(t, primary)
			if r, err := catalog.Create(t.Context(), named(primary, mirror), now); r != nil || !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// A mirror that is not ready gets nothing of a snapshot, and each snapshot
// says so: a mirror is never silently behind.
func TestAMirrorThatIsNotReady(t *testing.T) {
	cases := map[string]struct {
		prepare func(*testing.T, *switched)
		want    error
	}{
		"it is down":             {func(_ *testing.T, s *switched) { s.down = true }, errDown},
		"it takes no object":     {func(_ *testing.T, s *switched) { s.full = true }, errDown},
		"a later format version": {func(t *testing.T, s *switched) { put(t, s, "slotark.json", markerLater) }, catalog.ErrFormat},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			primary, mirror := fs.Open(t.TempDir()), &switched{Store: fs.Open(t.TempDir())}
			c.prepare(t, mirror)
			r, err := catalog.Create(t.Context(), named(primary, mirror), now)
			if err != nil {
				t.Fatal(err)
			}
			mirror.down, mirror.full = false, false // back again: but what it missed it misses
			w := begin(t, r)
			if _, err := w.Put(t.Context(), "prod/snapshots/x/object", strings.NewReader("bytes")); err != nil {
				t.Fatal(err)
			}
			outcomes := w.Outcomes()
			if len(outcomes) != 2 || outcomes[0].Name != "eu" || outcomes[0].Err != nil || outcomes[1].Name != "us" || !errors.Is(outcomes[1].Err, c.want) {
				t.Errorf("outcomes: %+v", outcomes)
			}
			if _, err := mirror.Stat(t.Context(), "prod/snapshots/x/object"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("the mirror got the object: %v", err)
			}
		})
	}
}

func TestWriterWritesToEveryStore(t *testing.T) {
	f := newFixture(t)
	w := begin(t, f.Repository)
	if _, err := w.Put(t.Context(), "prod/snapshots/x/object", strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	for _, outcome := range w.Outcomes() {
		if outcome.Err != nil {
			t.Errorf("%s: %v", outcome.Name, outcome.Err)
		}
	}
	for _, store := range f.stores() {
		if object, err := store.Stat(t.Context(), "prod/snapshots/x/object"); err != nil || object.Bytes != 5 {
			t.Errorf("%s: %+v, %v", store.Name, object, err)
		}
	}
}

func TestPutRecord(t *testing.T) {
	cases := map[string]struct {
		prepare func(*fixture)
		has     string // the stores that have it
		wants   error
	}{
		"both take it":       {func(*fixture) {}, "eu us", nil},
		"the mirror fails":   {func(f *fixture) { f.mirror.full = true }, "eu", errDown},
		"the primary fails":  {func(f *fixture) { f.primary.full = true }, "us", errDown},
		"it is there before": {func(f *fixture) { f.mirror.full = false }, "eu us", storage.ErrExists},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			object := catalog.DrillName("prod", oldest, newest)
			if c.wants == storage.ErrExists {
				put(t, f.primary, object, "{}")
			}
			c.prepare(f)
			err := f.PutRecord(t.Context(), object, catalog.Drill{ID: newest})
			if c.wants == nil && err != nil || !errors.Is(err, c.wants) {
				t.Errorf("got %v, want %v", err, c.wants)
			}
			var has []string
			for _, store := range f.stores() {
				if _, err := store.Stat(t.Context(), object); err == nil {
					has = append(has, store.Name)
				}
			}
			if strings.Join(has, " ") != c.has {
				t.Errorf("%s have it, want %s", has, c.has)
			}
		})
	}
}

func TestPutRecordOfWhatIsNoJSON(t *testing.T) {
	f := newFixture(t)
	if err := f.PutRecord(t.Context(), catalog.DrillName("prod", oldest, newest), func() {}); err == nil {
		t.Error("a func was written as JSON")
	}
}

// Where things are is a format: docs/storage.md promises it to people.
func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		catalog.Folder("prod", oldest):                   "prod/snapshots/20260131T020000Z-aaaaaa/",
		catalog.ManifestName("prod", oldest):             "prod/snapshots/20260131T020000Z-aaaaaa/manifest.json",
		catalog.VerificationName("prod", oldest, newest): "prod/verifications/20260131T020000Z-aaaaaa/20260201T020000Z-cccccc.json",
		catalog.DrillName("prod", oldest, newest):        "prod/drills/20260131T020000Z-aaaaaa/20260201T020000Z-cccccc.json",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := storage.CheckName(strings.TrimSuffix(got, "/")); err != nil {
			t.Error(err)
		}
	}
}

func begin(t *testing.T, r *catalog.Repository) *catalog.Writer {
	t.Helper()
	w, err := r.Begin(catalog.Mirroring{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Where more stores must have a snapshot than are ready, nothing is begun.
func TestBeginWithTooFewStores(t *testing.T) {
	f := newFixture(t)
	f.mirror.down = true
	r, err := catalog.Create(t.Context(), f.stores(), time.Unix(1767225600, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(catalog.Mirroring{Require: 2}); !errors.Is(err, mirror.ErrTooFew) || !errors.Is(err, errDown) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Begin(catalog.Mirroring{Require: 1}); err != nil {
		t.Errorf("with the primary alone: %v", err)
	}
}
