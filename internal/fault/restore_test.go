package fault_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/fault"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/storagetest"
	"github.com/slotark/slotark/verify"
)

// seed restores the newest snapshot into a folder.
func seed(t *testing.T, stores []storage.Named, keys *seal.Identities, dir string) (*restore.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // the person's patience
	defer cancel()
	r, err := catalog.Open(ctx, stores)
	if err != nil {
		return nil, err
	}
	s, err := r.Find(ctx, "prod", catalog.Latest)
	if err != nil {
		return nil, err
	}
	if err := s.Unlock(keys); err != nil {
		return nil, err
	}
	return restore.Run(ctx, restore.Options{Snapshot: s, ToDir: dir, At: []string{"10.0.0.1:7001", "10.0.0.2:7001"}})
}

// dumps are the dumps below a folder that was seeded, by the nodes' folders.
func dumps(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(filepath.Dir(path))] = string(text)
	}
	return all
}

// TestRestore has each fault at each call of a restore to a folder, from a
// primary and a mirror: the folder has what was saved, or is not there, and the
// next restore to it is whole.
func TestRestore(t *testing.T) {
	c := newSource(t)
	for name, way := range sealings(t) {
		source := taken(t, c, way)
		for _, many := range []int{1, 2} {
			t.Run(name+" in "+[]string{"", "one store", "two stores"}[many], func(t *testing.T) {
				stores := memories(many)
				repositoryOf(t, stores)
				source.put(t, "20260201T020000Z-aaaaaa", stores...)
				whole := filepath.Join(t.TempDir(), "whole")
				if _, err := seed(t, stores, way.keys, whole); err != nil {
					t.Fatal(err)
				}
				want := dumps(t, whole)
				each(t, fault.Kinds(), func(t *testing.T, plan *fault.Plan) {
					dir := filepath.Join(t.TempDir(), "seeded")
					synctest.Test(t, func(t *testing.T) { restoreWith(t, stores, way.keys, plan, dir, want) })
				})
			})
		}
	}
}

func restoreWith(t *testing.T, stores []storage.Named, keys *seal.Identities, plan *fault.Plan, dir string, want map[string]string) {
	t.Helper()
	defer tell(t, plan)
	_, err := seed(t, plan.Stores(stores), keys, dir)
	if err != nil {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("a restore that failed left %v", dumps(t, dir))
		}
		if len(stores) > 1 && !slices.Contains([]fault.Kind{fault.Stale, fault.Hang}, plan.Kind) {
			t.Errorf("one store of two is broken: %v", err)
		}
		if _, err := seed(t, stores, keys, dir); err != nil {
			t.Errorf("the next restore: %v", err)
		}
	}
	if !maps.Equal(dumps(t, dir), want) {
		t.Errorf("what was restored is not what was saved")
	}
}

// TestRot flips a bit at 150 places of each
// object of a snapshot in the primary: verify at level checksum names the object
// and the store, without a key, and a restore takes the mirror's copy.
func TestRot(t *testing.T) {
	c := newSource(t)
	for name, way := range sealings(t) {
		t.Run(name, func(t *testing.T) {
			source := taken(t, c, way)
			id := manifest.ID("20260201T020000Z-aaaaaa")
			stores := memories(2)
			repositoryOf(t, stores)
			source.put(t, id, stores...)
			whole := filepath.Join(t.TempDir(), "whole")
			if _, err := seed(t, stores, way.keys, whole); err != nil {
				t.Fatal(err)
			}
			want := dumps(t, whole)
			for _, object := range slices.Sorted(maps.Keys(source)) {
				rotten(t, stores, object, catalog.Folder("prod", id)+object, func(at, size int) {
					if at%max(1, size/3) != 0 {
						return
					}
					dir := filepath.Join(t.TempDir(), "seeded")
					if _, err := seed(t, stores, way.keys, dir); err != nil || !maps.Equal(dumps(t, dir), want) {
						t.Errorf("%s, byte %d: the restore came to %v", object, at, err)
					}
				})
			}
		})
	}
}

// rotten flips a bit of some 150 bytes of an object in the first store, one at a time,
// and wants each found; then calls what is given.
func rotten(t *testing.T, stores []storage.Named, object, name string, then func(at, size int)) {
	t.Helper()
	memory := stores[0].Store.(*storagetest.Memory)
	size := len(storagetest.Read(t, memory, name))
	flips := 0
	for at := 0; at < size && !t.Failed(); at += max(1, size/150) {
		flip := func(text []byte) []byte { text[at] ^= 1 << (at % 8); return text }
		memory.Change(name, flip)
		r, err := catalog.Open(t.Context(), stores)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Find(t.Context(), "prod", catalog.Latest)
		if err != nil {
			t.Fatalf("%s, byte %d: %v", object, at, err)
		}
		report, err := verify.Run(t.Context(), verify.Options{Snapshot: s, Level: verify.Checksum})
		if err != nil {
			t.Fatal(err)
		}
		named := slices.ContainsFunc(report.Record.Findings, func(f catalog.Finding) bool { return f.Subject == "s0: "+object })
		if report.Record.Sound || len(report.Record.Findings) != 1 || !named {
			t.Errorf("%s, byte %d: found is %+v", object, at, report.Record.Findings)
		}
		then(at, size)
		memory.Change(name, flip)
		flips++
	}
	t.Logf("%s: %d flips", object, flips)
}

// TestRotOfRecords flips each byte of a repository's mark and of the evidence of
// a verification in the primary. These are not of the snapshot, and no sum
// covers them: a flip may go unnoticed, but never keeps a person from the
// snapshot.
func TestRotOfRecords(t *testing.T) {
	source := taken(t, newSource(t), sealings(t)["plain"])
	id := manifest.ID("20260201T020000Z-aaaaaa")
	stores := memories(2)
	repositoryOf(t, stores)
	source.put(t, id, stores...)
	r, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	evidence := catalog.VerificationName("prod", id, "20260202T020000Z-aaaaaa")
	if err := r.PutRecord(t.Context(), evidence, catalog.Verification{ID: "20260202T020000Z-aaaaaa", Snapshot: id, Level: "deep", Sound: true}); err != nil {
		t.Fatal(err)
	}
	memory := stores[0].Store.(*storagetest.Memory)
	for _, name := range []string{"slotark.json", evidence} {
		text := storagetest.Read(t, memory, name)
		for at := range text {
			flip := func(text []byte) []byte { text[at] ^= 1 << (at % 8); return text }
			memory.Change(name, flip)
			r, err := catalog.Open(t.Context(), stores)
			if err != nil && strings.Contains(err.Error(), "format version") {
				memory.Change(name, flip) // a digit: the mark of a repository of another format
				continue
			}
			if err != nil {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
			if s, err := r.Find(t.Context(), "prod", catalog.Latest); err != nil || s.Manifest.ID != id {
				t.Errorf("%s, byte %d: %v", name, at, err)
			}
			if entries, err := r.List(t.Context(), "prod"); err != nil || len(entries) != 1 || entries[0].Summary == nil {
				t.Errorf("%s, byte %d: the list has %d entries, %v", name, at, len(entries), err)
			}
			memory.Change(name, flip)
		}
		if !bytes.Equal(text, storagetest.Read(t, memory, name)) {
			t.Fatal("the test has not mended what it broke")
		}
	}
}
