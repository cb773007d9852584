package catalog_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

func list(t *testing.T, r *catalog.Repository, cluster string) []catalog.Entry {
	t.Helper()
	entries, err := r.List(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// found is the whole of a snapshot of the cluster prod.
func found(t *testing.T, r *catalog.Repository, id manifest.ID) *catalog.Snapshot {
	t.Helper()
	s, err := r.Find(t.Context(), "prod", string(id))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListIsEmptyAtFirst(t *testing.T) {
	if entries := list(t, newFixture(t).Repository, ""); len(entries) != 0 {
		t.Errorf("got %v", ids(entries))
	}
}

func TestList(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", middle, f.primary, f.mirror)
	putSnapshot(t, "prod", oldest, f.primary)
	putSnapshot(t, "prod", newest, f.mirror)
	putSnapshot(t, "cache", middle, f.primary, f.mirror)
	putSnapshot(t, "prod2", oldest, f.primary, f.mirror) // "prod" must not match it

	entries := list(t, f.Repository, "prod")
	want := []string{"prod " + string(newest), "prod " + string(middle), "prod " + string(oldest)}
	if !slices.Equal(ids(entries), want) {
		t.Fatalf("got %v, want %v", ids(entries), want)
	}
	for i, where := range []string{"-eu us", "eu us", "eu -us"} {
		e := entries[i]
		if e.Err != nil || presence(e.Summary.Presence) != where {
			t.Errorf("%s: %s, %v, want %s", e.ID, presence(e.Summary.Presence), e.Err, where)
		}
		if m := found(t, f.Repository, e.ID).Manifest; e.Summary.Keys != m.Keys() || e.Summary.Bytes != m.Bytes() || m.Bytes() == 0 || e.Verified != nil || e.Drilled != nil {
			t.Errorf("%s: %d keys, %d bytes, %v, %v", e.ID, e.Summary.Keys, e.Summary.Bytes, e.Verified, e.Drilled)
		}
	}
	want = []string{"prod " + string(newest), "cache " + string(middle), "prod " + string(middle), "prod " + string(oldest), "prod2 " + string(oldest)}
	if got := ids(list(t, f.Repository, "")); !slices.Equal(got, want) {
		t.Errorf("of all clusters: %v, want %v", got, want)
	}
	if got := list(t, f.Repository, "other"); len(got) != 0 {
		t.Errorf("of a cluster that is not there: %v", ids(got))
	}
}

// What has no manifest is not a snapshot, and what is no part of the layout is
// none of the catalog's business.
func TestObjectsWithoutManifestAreNotListed(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{
		catalog.Folder("prod", oldest) + "shard-0/dump.rdb",
		catalog.Folder("prod", oldest) + "shard-0/manifest.json",
		catalog.Folder("prod", oldest) + "manifest.json.part",
		"prod/snapshots/notes/manifest.json",
		"prod/snapshots/manifest.json",
		"prod/drills/" + string(oldest) + ".json",
		"prod/holds/" + string(oldest) + "/" + string(newest) + ".json",
		catalog.VerificationName("prod", oldest, newest),
		"lost+found/file",
	} {
		put(t, f.primary, name, "{}")
	}
	if entries := list(t, f.Repository, ""); len(entries) != 0 {
		t.Errorf("got %v", ids(entries))
	}
}

// A manifest that cannot be believed is a line of its own, and takes nothing
// from the others.
func TestListWithADamagedManifest(t *testing.T) {
	good, err := manifest.Encode(newManifest("prod", middle))
	if err != nil {
		t.Fatal(err)
	}
	other, err := manifest.Encode(newManifest("prod", oldest))
	if err != nil {
		t.Fatal(err)
	}
	anothers, err := manifest.Encode(newManifest("cache", middle))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ text, want string }{
		"empty":                      {"", "unexpected end of JSON input"},
		"cut":                        {string(good[:len(good)/2]), "unexpected end of JSON input"},
		"incoherent":                 {strings.Replace(string(good), `"0-16383"`, `"0-16382"`, -1), "slots 16383 are in no shard"},
		"of a later version":         {`{"format_version": 99}`, manifest.ErrVersion.Error()},
		"of another snapshot":        {string(other), "it is the manifest of " + string(oldest)},
		"of another cluster's":       {string(anothers), "of cluster cache"},
		"changed by one letter":      {strings.Replace(string(good), `"prod"`, `"pros"`, 1), "its checksum does not fit its text"},
		"of a snapshot that is text": {"once upon a time", "invalid character"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			putSnapshot(t, "prod", oldest, f.primary, f.mirror)
			putSnapshot(t, "prod", newest, f.primary, f.mirror)
			put(t, f.primary, catalog.ManifestName("prod", middle), c.text)
			entries := list(t, f.Repository, "prod")
			if len(entries) != 3 || entries[0].Summary == nil || entries[2].Summary == nil {
				t.Fatalf("the others are not listed: %v", ids(entries))
			}
			e := entries[1]
			if e.ID != middle || e.Summary != nil || e.Err == nil || !strings.Contains(e.Err.Error(), c.want) {
				t.Errorf("got %+v, want an error with %q", e, c.want)
			}
			if _, err := f.Find(t.Context(), "prod", string(middle)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Find gave %v, want an error with %q", err, c.want)
			}
		})
	}
}

// The mirror is there for this.
func TestADamagedManifestIsReadFromTheMirror(t *testing.T) {
	f := newFixture(t)
	put(t, f.primary, catalog.ManifestName("prod", oldest), "{")
	putSnapshot(t, "prod", oldest, f.mirror)
	entries := list(t, f.Repository, "prod")
	if len(entries) != 1 || entries[0].Err != nil || found(t, f.Repository, oldest).Manifest.ID != oldest {
		t.Fatalf("got %+v", entries)
	}
	if got := read(t, found(t, f.Repository, oldest), "shard-0/dump.rdb"); got != "the dump of "+string(oldest) {
		t.Errorf("its dump reads %q", got)
	}
}

func TestListWhenStoresAreDown(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary, f.mirror)
	f.primary.down = true
	entries := list(t, f.Repository, "prod")
	if len(entries) != 1 || entries[0].Err != nil || presence(entries[0].Summary.Presence) != "!eu us" {
		t.Fatalf("with the primary down: %+v", entries)
	}
	if !errors.Is(entries[0].Summary.Presence[0].Err, errDown) {
		t.Errorf("its presence says %v", entries[0].Summary.Presence[0].Err)
	}
	if got := read(t, found(t, f.Repository, oldest), "shard-0/dump.rdb"); got != "the dump of "+string(oldest) {
		t.Errorf("its dump reads %q", got)
	}
	f.mirror.down = true
	if entries, err := f.List(t.Context(), "prod"); !errors.Is(err, errDown) {
		t.Errorf("with both down: %v, %v", ids(entries), err)
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRecords(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary, f.mirror)
	putSnapshot(t, "prod", newest, f.primary, f.mirror)
	at := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)
	early, late := manifest.NewID(at), manifest.NewID(at.Add(time.Hour))
	offset := int64(0)
	// The later first: what counts is the id, not the order of writing.
	for _, id := range []manifest.ID{late, early} {
		verified := catalog.Verification{
			ID: id, Snapshot: oldest, Level: "parse", Started: id.Time(), Ended: id.Time(), Stores: []string{"eu"}, Sound: id == early,
			Findings: []catalog.Finding{{
				Finding: manifest.Finding{Code: "crc64", Severity: "error", Subject: "eu: shard-0/dump.rdb", Detail: "differs"}, Offset: &offset,
			}},
		}
		drilled := catalog.Drill{ID: id, Snapshot: oldest, Ended: id.Time(), Proved: id == late, RTO: catalog.Seconds(2500 * time.Millisecond)}
		err := errors.Join(
			f.PutRecord(t.Context(), catalog.VerificationName("prod", oldest, id), verified),
			f.PutRecord(t.Context(), catalog.DrillName("prod", oldest, id), drilled))
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		entries := list(t, f.Repository, "prod")
		if entries[0].Verified != nil || entries[0].Drilled != nil {
			t.Errorf("%s: the newest snapshot took another's records", when)
		}
		v, d := entries[1].Verified, entries[1].Drilled
		if v == nil || v.ID != late || v.Sound || v.Level != "parse" || len(v.Findings) != 1 || v.Findings[0].Offset == nil || v.Findings[0].Detail != "differs" {
			t.Errorf("%s: verified %+v, want that of %s", when, v, late)
		}
		if d == nil || d.ID != late || !d.Proved || time.Duration(d.RTO) != 2500*time.Millisecond {
			t.Errorf("%s: drilled %+v, want that of %s", when, d, late)
		}
	}
	check("both stores answer")
	f.primary.down = true
	check("the primary is down")
}

// Unreadable evidence proves nothing, and older evidence does not stand in for
// it: the newer could have said that the snapshot is damaged.
func TestARecordThatCannotBeRead(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary)
	if err := f.PutRecord(t.Context(), catalog.VerificationName("prod", oldest, middle), catalog.Verification{Sound: true}); err != nil {
		t.Fatal(err)
	}
	put(t, f.primary, catalog.VerificationName("prod", oldest, newest), "{")
	if e := list(t, f.Repository, "prod")[0]; e.Verified != nil || e.Err != nil || e.Summary == nil {
		t.Errorf("got %+v", e)
	}
	put(t, f.mirror, catalog.VerificationName("prod", oldest, newest), `{"id": "`+string(newest)+`"}`)
	if e := list(t, f.Repository, "prod")[0]; e.Verified == nil || e.Verified.ID != newest {
		t.Errorf("the mirror's record was not read: %+v", e)
	}
}

func TestFind(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary, f.mirror)
	putSnapshot(t, "prod", middle, f.primary)
	putSnapshot(t, "prod", newest, f.primary, f.mirror)
	putSnapshot(t, "cache", "20260115T020000Z-zzzzzz", f.primary)
	cases := map[string]struct {
		cluster, ref string
		want         manifest.ID
		says         string
	}{
		"an id":                            {"prod", string(oldest), oldest, ""},
		"an id, any cluster":               {"", string(middle), middle, ""},
		"a prefix only it has":             {"prod", "20260131T020000Z-aaaab", middle, ""},
		"a prefix down to the day":         {"prod", "20260201", newest, ""},
		"a prefix of two":                  {"prod", "20260131", "", "the beginning of 2 snapshot ids, among them " + string(middle) + " and " + string(oldest)},
		"a prefix of four, of all":         {"", "2026", "", "the beginning of 4 snapshot ids"},
		"the latest":                       {"prod", "latest", newest, ""},
		"the latest of another cluster":    {"cache", "latest", "20260115T020000Z-zzzzzz", ""},
		"the latest of several clusters":   {"", "latest", "", "several clusters"},
		"the latest where there is none":   {"empty", "latest", "", "no such snapshot"},
		"an id of another cluster":         {"cache", string(oldest), "", "no such snapshot: " + string(oldest)},
		"an id nobody has":                 {"prod", "20300101T000000Z-aaaaaa", "", "no such snapshot"},
		"a part that is not the beginning": {"prod", "aaaabb", "", "no such snapshot"},
		"nothing":                          {"prod", "", "", "no such snapshot"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := f.Find(t.Context(), c.cluster, c.ref)
			if c.says == "" {
				if err != nil || s.Manifest.ID != c.want {
					t.Fatalf("got %+v, %v, want %s", s, err, c.want)
				}
				return
			}
			if s != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want an error with %q", err, c.says)
			}
			missing := strings.Contains(c.says, catalog.ErrNoSnapshot.Error())
			if errors.Is(err, catalog.ErrNoSnapshot) != missing || missing && len(hint.Of(err)) == 0 {
				t.Errorf("%v: ErrNoSnapshot %v, hints %v", err, !missing, hint.Of(err))
			}
		})
	}
}

// With one cluster in the repository nobody has to name it.
func TestFindLatestOfTheOnlyCluster(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary)
	putSnapshot(t, "prod", newest, f.mirror)
	if s, err := f.Find(t.Context(), "", "latest"); err != nil || s.Manifest.ID != newest || presence(s.Presence) != "-eu us" {
		t.Errorf("got %+v, %v", s, err)
	}
}

// "No such snapshot" is not the whole truth when a store was not asked: that
// was all that was said with the primary down.
func TestFindWhenStoresAreDown(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary, f.mirror)
	putSnapshot(t, "prod", newest, f.primary)
	f.primary.down = true
	if s, err := f.Find(t.Context(), "prod", string(oldest)); err != nil || presence(s.Presence) != "!eu us" {
		t.Errorf("of what the mirror has: %+v, %v", s, err)
	}
	for _, ref := range []string{string(newest), "20260201"} {
		if _, err := f.Find(t.Context(), "prod", ref); !errors.Is(err, catalog.ErrNoSnapshot) || !errors.Is(err, errDown) {
			t.Errorf("of what only the primary has: %v, want ErrNoSnapshot and why the primary was not asked", err)
		}
	}
	f.mirror.down = true
	if _, err := f.Find(t.Context(), "prod", "latest"); !errors.Is(err, errDown) || errors.Is(err, catalog.ErrNoSnapshot) {
		t.Errorf("with both down: %v", err)
	}
}

func TestSnapshotOpen(t *testing.T) {
	f := newFixture(t)
	putSnapshot(t, "prod", oldest, f.primary, f.mirror)
	put(t, f.mirror, catalog.Folder("prod", oldest)+"only-here", "mirror")
	s, err := f.Find(t.Context(), "prod", "latest")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Object("shard-0/dump.rdb"), "prod/snapshots/"+string(oldest)+"/shard-0/dump.rdb"; got != want {
		t.Errorf("Object is %s, want %s", got, want)
	}
	if got := read(t, s, "only-here"); got != "mirror" {
		t.Errorf("what only the mirror has reads %q", got)
	}
	if _, err := s.In(f.stores()[0]).OpenStored(t.Context(), "only-here"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("In(primary) read from another store: %v", err)
	}
	if got := s.In(f.stores()[1]); read(t, got, "only-here") != "mirror" || presence(got.Presence) != "us" || len(got.Stores()) != 1 {
		t.Errorf("In(mirror): %s", presence(got.Presence))
	}
	if _, err := s.OpenStored(t.Context(), "nowhere"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what no store has: %v", err)
	}
	if _, err := s.OpenStored(t.Context(), "../../../slotark.json"); !errors.Is(err, storage.ErrName) {
		t.Errorf("a name that leads out of the folder: %v", err)
	}
}

// A snapshot is opened only in stores that have its manifest: elsewhere its
// objects may be half there.
func TestSnapshotOpenPassesOverAStoreWithoutTheManifest(t *testing.T) {
	f := newFixture(t)
	put(t, f.primary, catalog.Folder("prod", oldest)+"shard-0/dump.rdb", "left over")
	putSnapshot(t, "prod", oldest, f.mirror)
	s, err := f.Find(t.Context(), "prod", "latest")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "shard-0/dump.rdb"); got != "the dump of "+string(oldest) {
		t.Errorf("read %q", got)
	}
}
