package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
)

// rights are what credentials allow, found out by trying.
type rights struct {
	put, get, list, remove bool

	refusal error // the first that was not about rights
	why     error // why nothing may be removed
}

// probe tries each verb once on a small object.
func (e *examination) probe(ctx context.Context) {
	name := e.o.Folder + "/rights"
	allowed := func(err error) bool {
		if err != nil && !errors.Is(err, storage.ErrDenied) && !errors.Is(err, storage.ErrLocked) && e.may.refusal == nil {
			e.may.refusal = err
		}
		return err == nil
	}
	_, err := e.s.Put(ctx, name, strings.NewReader("x"))
	e.may.put = allowed(err)
	e.may.list = true
	for _, err := range e.s.List(ctx, e.o.Folder+"/") {
		e.may.list = allowed(err)
	}
	if !e.may.put {
		// Whether objects can be read is told by what is there already, or by
		// the answer for what is not.
		_, err = e.s.Stat(ctx, name)
		e.may.get = errors.Is(err, storage.ErrNotFound)
		return
	}
	body, err := e.s.Open(ctx, name)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		err = errors.Join(err, body.Close())
	}
	e.may.get = allowed(err)
	e.may.why = e.s.Delete(ctx, name)
	e.may.remove = allowed(e.may.why)
}

// role says which of the roles of docs/storage.md the credentials fit.
func (e *examination) role() Finding {
	f := Finding{Check: "rights", Result: OK}
	var have, lack []string
	for _, r := range []struct {
		name string
		may  bool
	}{{"put", e.may.put}, {"get", e.may.get}, {"list", e.may.list}, {"delete", e.may.remove}} {
		if r.may {
			have = append(have, r.name)
		} else {
			lack = append(lack, r.name)
		}
	}
	f.Detail = "may " + human.List(have)
	if len(lack) > 0 {
		f.Detail += ", may not " + human.List(lack)
	}
	if len(have) == 0 {
		f.Detail = "may do nothing"
	}
	reading := e.may.get && e.may.list
	switch {
	case e.may.refusal != nil:
		f.Result, f.Detail = Fail, firstOf(e.may.refusal)
	case reading && e.may.put && e.may.remove:
		f.Result, f.Detail = Warn, f.Detail+": fits every role, prune too"
		f.Advice = "Give the host that takes snapshots credentials that may not delete: their thief could delete all backups."
	case reading && e.may.put && errors.Is(e.may.why, storage.ErrLocked):
		f.Result, f.Detail = Warn, fmt.Sprintf("%s, because the bucket locks what is put: %s", f.Detail, e.may.why)
		f.Advice = "Remove the bucket's default retention: lock=... in the store's URL locks snapshots, and nothing else."
	case reading && e.may.put:
		f.Detail += ": fits the role take"
	case reading:
		f.Result, f.Detail = Warn, f.Detail+": fits the role read"
		f.Advice = "To check more, use credentials that may write."
	default:
		f.Result = Fail
		f.Advice = "No role fits: give the rights of the table in docs/storage.md, s3:ListBucket on the bucket itself."
	}
	return f
}
