package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

func checkDelete(r *run) {
	r.put("folder/a", []byte("x"))
	r.put("folder/b", Bytes(9*mib, 1))
	for _, name := range []string{"folder/a", "folder/b"} {
		if err := r.s.Delete(r.ctx, name); err != nil {
			r.fault(err)
			return
		}
		r.wantMissing(name)
	}
	r.wantNames("")
	// That the names are free again is not asked: a bucket with versions may
	// keep them taken.
}

// checkListOrder has names whose order changes when a store sorts folder by
// folder: "-" and "." come before "/", digits and letters after it.
func checkListOrder(r *run) {
	want := []string{"a-b", "a.b", "a/-", "a/b-/x", "a/b/x", "a/b/y", "a/b0", "a/é", "a0", "aB", "ab", "z/z", "é"}
	for _, i := range []int{5, 2, 9, 0, 12, 7, 1, 11, 3, 6, 10, 4, 8} {
		r.put(want[i], []byte(want[i]))
	}
	r.wantNames("", want...)
	for object, err := range r.s.List(r.ctx, "") {
		if err != nil {
			r.fault(err)
			return
		}
		stat, err := r.s.Stat(r.ctx, object.Name)
		// A listing may give times with other digits than a Stat.
		if err != nil || stat.Bytes != object.Bytes || object.Modified.IsZero() || stat.Modified.Sub(object.Modified).Abs().Seconds() > 1 {
			r.faultf("List gave %+v, Stat %+v %v", object, stat, err)
		}
	}
}

func checkListPrefix(r *run) {
	for _, name := range []string{"prod/a", "prod/b/c", "prod/b/d", "prod-eu/a", "product", "x"} {
		r.put(name, nil)
	}
	r.wantNames("prod", "prod-eu/a", "prod/a", "prod/b/c", "prod/b/d", "product")
	r.wantNames("prod/", "prod/a", "prod/b/c", "prod/b/d")
	r.wantNames("prod/b", "prod/b/c", "prod/b/d")
	r.wantNames("prod/b/", "prod/b/c", "prod/b/d")
	r.wantNames("prod/b/c", "prod/b/c")
	for _, none := range []string{"y", "prod/b/c/", "prod/x/y", "/", "../", "x/", "prod//", "a/../x"} {
		r.wantNames(none)
	}
}

// checkListMany passes the 1000 names that S3 gives at once.
func checkListMany(r *run) {
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
				if _, err := r.s.Put(r.ctx, name, bytes.NewReader([]byte("x"))); err != nil {
					r.fault(err)
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
	r.wantNames("many/", want...)
}

func checkListLeft(r *run) {
	for _, name := range []string{"a", "b/c", "b/d", "e"} {
		r.put(name, nil)
	}
	seen := 0
	for _, err := range r.s.List(r.ctx, "") {
		if err != nil {
			r.fault(err)
			return
		}
		if seen++; seen == 2 {
			break
		}
	}
	// And one that is cancelled on the way says so, not that it is complete.
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var last error
	for _, err := range r.s.List(ctx, "") {
		last = err
		cancel()
	}
	if last != nil && !errors.Is(last, ctx.Err()) {
		r.faultf("a cancelled list: %v", last)
	}
}
