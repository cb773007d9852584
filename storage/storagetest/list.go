package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/slotark/slotark/storage"
)

func checkDelete(t *testing.T, s storage.Store) {
	Put(t, s, "folder/a", []byte("x"))
	Put(t, s, "folder/b", Bytes(9*mib, 1))
	for _, name := range []string{"folder/a", "folder/b"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		wantMissing(t, s, name)
	}
	wantNames(t, s, "")
	// That the names are free again is not asked: a bucket with versions may
	// keep them taken.
}

// checkListOrder has names whose order changes when a store sorts folder by
// folder: "-" and "." come before "/", digits and letters after it.
func checkListOrder(t *testing.T, s storage.Store) {
	want := []string{"a-b", "a.b", "a/-", "a/b-/x", "a/b/x", "a/b/y", "a/b0", "a/é", "a0", "aB", "ab", "z/z", "é"}
	for _, i := range []int{5, 2, 9, 0, 12, 7, 1, 11, 3, 6, 10, 4, 8} {
		Put(t, s, want[i], []byte(want[i]))
	}
	wantNames(t, s, "", want...)
	for object, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		stat, err := s.Stat(t.Context(), object.Name)
		// A listing may give times with other digits than a Stat.
		if err != nil || stat.Bytes != object.Bytes || object.Modified.IsZero() || stat.Modified.Sub(object.Modified).Abs().Seconds() > 1 {
			t.Errorf("List gave %+v, Stat %+v %v", object, stat, err)
		}
	}
}

func checkListPrefix(t *testing.T, s storage.Store) {
	for _, name := range []string{"prod/a", "prod/b/c", "prod/b/d", "prod-eu/a", "product", "x"} {
		Put(t, s, name, nil)
	}
	wantNames(t, s, "prod", "prod-eu/a", "prod/a", "prod/b/c", "prod/b/d", "product")
	wantNames(t, s, "prod/", "prod/a", "prod/b/c", "prod/b/d")
	wantNames(t, s, "prod/b", "prod/b/c", "prod/b/d")
	wantNames(t, s, "prod/b/", "prod/b/c", "prod/b/d")
	wantNames(t, s, "prod/b/c", "prod/b/c")
	for _, none := range []string{"y", "prod/b/c/", "prod/x/y", "/", "../", "x/", "prod//", "a/../x"} {
		wantNames(t, s, none)
	}
}

// checkListMany passes the 1000 names that S3 gives at once.
func checkListMany(t *testing.T, s storage.Store) {
	const count = 1050
	var want []string
	for i := range count {
		want = append(want, fmt.Sprintf("many/%02d/%04d", i%7, i))
	}
	names := make(chan string)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for name := range names {
				if _, err := s.Put(t.Context(), name, bytes.NewReader([]byte("x"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, name := range want {
		names <- name
	}
	close(names)
	wait.Wait()
	slices.Sort(want)
	wantNames(t, s, "many/", want...)
}

func checkListLeft(t *testing.T, s storage.Store) {
	for _, name := range []string{"a", "b/c", "b/d", "e"} {
		Put(t, s, name, nil)
	}
	seen := 0
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 2 {
			break
		}
	}
	// And one that is cancelled on the way says so, not that it is complete.
	ctx, cancel := cancellable(t)
	var last error
	for _, err := range s.List(ctx, "") {
		last = err
		cancel()
	}
	if last != nil && !errors.Is(last, ctx.Err()) {
		t.Errorf("a cancelled list: %v", last)
	}
}
