package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// bring closes the gaps of one snapshot, in all stores that have one. A mark
// as that of a restore keeps prunes away meanwhile: a copy that was begun
// before a prune and ended after it would be a snapshot without its objects.
func (s *syncing) bring(ctx context.Context, gaps []Gap) []Copy {
	copies := make([]Copy, len(gaps))
	for i, g := range gaps {
		copies[i].Gap = g
	}
	fail := func(err error) []Copy {
		for i := range copies {
			copies[i].Failed = err
		}
		return copies
	}
	snapshot, text, err := s.original(ctx, &copies[0])
	if err != nil {
		return fail(err)
	}
	claim, err := snapshot.Claim(ctx, Work{})
	switch {
	case err != nil:
		return fail(err)
	case claim.Warning != "":
		return fail(errors.Join(errors.New(claim.Warning), claim.Release(ctx)))
	}
	var wait sync.WaitGroup
	for i := range copies {
		wait.Go(func() { (&copying{s, snapshot, text, &copies[i], sync.Mutex{}}).run(ctx) })
	}
	wait.Wait()
	if err := claim.Release(ctx); err != nil {
		copies[0].find("mark-left", "warning", string(gaps[0].ID), "no store took the mark that it is not read any more: a prune keeps it for another day: %s", err)
	}
	return copies
}

// original reads a snapshot's manifest from every store that copies may be
// taken from, and says of the copy which cannot be read. Two that differ are
// believed neither.
func (s *syncing) original(ctx context.Context, c *Copy) (*Snapshot, []byte, error) {
	g := c.Gap
	in := s.survey.having[folderKey{g.Cluster, g.ID}]
	snapshot := &Snapshot{stores: s.r.stores}
	var text []byte
	var first string
	var failures []error
	for i, store := range s.r.stores {
		snapshot.Presence = append(snapshot.Presence, Presence{Store: store.Name, Present: in[i] && s.source(i), Err: s.survey.Stores[i].Err})
		if !in[i] || !s.source(i) {
			continue
		}
		m, read, err := readManifest(ctx, store, g.Cluster, g.ID)
		switch {
		case err != nil:
			failures = append(failures, err)
			snapshot.Presence[i].Present = false
			code := "source-unreadable"
			if errors.Is(err, errManifest) {
				code = "source-damaged"
			}
			c.find(code, "error", store.Name+": "+ManifestObject, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		case snapshot.Manifest == nil:
			snapshot.Manifest, text, first = m, read, store.Name
		case !bytes.Equal(text, read):
			return nil, nil, fmt.Errorf("%w: the manifests of %s and %s differ: say which is right, by --from", ErrDamaged, first, store.Name)
		}
	}
	if snapshot.Manifest == nil {
		failures = append(failures, errors.New("no store that may be read gives its manifest"))
		return nil, nil, errors.Join(failures...)
	}
	return snapshot, text, nil
}

// copying is one snapshot on its way to one store.
type copying struct {
	*syncing
	snapshot *Snapshot
	manifest []byte
	copy     *Copy
	mutex    sync.Mutex // guards copy
}

// find adds a finding to the copy. It is called by one goroutine at a time.
func (c *Copy) find(code, severity, subject, format string, args ...any) {
	c.Findings = append(c.Findings, manifest.Finding{Code: code, Severity: severity, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

// targetError marks what the store that is brought up has said.
type targetError struct{ error }

func (e targetError) Unwrap() error { return e.error }

// run copies what is missing, and the manifest when all the rest is there.
func (c *copying) run(ctx context.Context) {
	target := c.copy.target
	c.syncing.mu.Lock()
	err := c.out[target]
	c.syncing.mu.Unlock()
	if err != nil {
		c.copy.Failed = fmt.Errorf("not reached: %s has failed before", c.copy.Store)
		return
	}
	if err = c.objects(ctx); err == nil && c.copy.Gap.Manifest {
		err = c.putManifest(ctx)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if errors.As(err, new(targetError)) {
		c.syncing.mu.Lock()
		c.out[target] = err
		c.syncing.mu.Unlock()
	}
	c.copy.Whole, c.copy.Failed = err == nil, err
}

// objects brings every object that the manifest names, in its order, several
// at once. It goes on past one that cannot be brought: the next sync has less
// to do then.
func (c *copying) objects(ctx context.Context) error {
	var group errgroup.Group
	files := c.snapshot.Manifest.Files()
	errs := make([]error, len(files))
	for i, file := range files {
		if err := c.streams.Acquire(ctx, 1); err != nil {
			break
		}
		group.Go(func() error {
			defer c.streams.Release(1)
			errs[i] = c.object(ctx, file)
			return nil
		})
	}
	group.Wait() // each keeps its own error
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// object brings one object.
func (c *copying) object(ctx context.Context, file manifest.File) error {
	target := c.r.stores[c.copy.target]
	name := c.snapshot.Object(file.Object)
	there, err := target.Stat(ctx, name)
	switch {
	case err == nil:
		return c.judge(ctx, file, there)
	case !errors.Is(err, storage.ErrNotFound):
		return targetError{err}
	}
	for i, store := range c.r.stores {
		if i == c.copy.target || !c.snapshot.Presence[i].Present {
			continue
		}
		err, again := c.from(ctx, store, file)
		if !again {
			return err
		}
		// Another store's copy may be better. That this one is bad is said.
		code := "source-unreadable"
		if errors.Is(err, ErrDamaged) {
			code = "source-damaged"
		}
		c.wrong(code, store, file, err)
	}
	return fmt.Errorf("%s: no store that may be read has a copy that is as the manifest says", file.Object)
}

// from copies one object from one store. again is true where that was the
// source's fault.
func (c *copying) from(ctx context.Context, store storage.Named, file manifest.File) (err error, again bool) {
	target, name := c.r.stores[c.copy.target], c.snapshot.Object(file.Object)
	opened, err := openStored(ctx, store, name)
	if err != nil {
		return err, ctx.Err() == nil
	}
	body := c.watch(newStoredCheck(opened, file), file, "copy")
	stored, err := target.Put(ctx, name, body)
	err = errors.Join(err, body.Close())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx), false
	case body.err != nil:
		return body.err, true
	case errors.Is(err, storage.ErrExists): // another sync was faster
		return c.judge(ctx, file, stored), false
	case err != nil:
		return targetError{err}, false
	case stored.Bytes != file.Bytes:
		return targetError{shortened(name, target, stored, file.Bytes)}, false
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.copy.Copied++
	c.copy.Bytes += stored.Bytes
	return nil, false
}

// judge reads back an object that is there already. Where the snapshot has its
// manifest there, the object came before it and is left to verify.
func (c *copying) judge(ctx context.Context, file manifest.File, there storage.Object) error {
	target := c.r.stores[c.copy.target]
	if !c.copy.Gap.Manifest && there.Bytes == file.Bytes {
		return nil
	}
	opened, err := openStored(ctx, target, c.snapshot.Object(file.Object))
	if err != nil {
		return targetError{err}
	}
	body := c.watch(newStoredCheck(opened, file), file, "check")
	_, err = io.Copy(io.Discard, body)
	err = errors.Join(err, body.Close())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrDamaged):
		c.wrong("object-differs", target, file, err)
		return fmt.Errorf("%s is there with other bytes, and no name is used twice: delete it by hand, then sync again", file.Object)
	case err != nil:
		return targetError{err}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.copy.Checked++
	return nil
}

func (c *copying) wrong(code string, store storage.Named, file manifest.File, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.copy.find(code, "error", store.Name+": "+file.Object, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// putManifest makes the snapshot exist in the store.
func (c *copying) putManifest(ctx context.Context) error {
	target := c.r.stores[c.copy.target]
	m := c.snapshot.Manifest
	err := putText(ctx, target, ManifestName(m.Cluster, m.ID), c.manifest)
	if err == nil {
		return nil
	}
	if errors.Is(err, storage.ErrExists) { // another sync was faster
		_, text, err := readManifest(ctx, target, m.Cluster, m.ID)
		if err == nil && bytes.Equal(text, c.manifest) {
			return nil
		}
		return targetError{errors.Join(errors.New("another manifest came there meanwhile"), err)}
	}
	return targetError{err}
}

// putText stores a text and looks that the store has all of it. A store has
// looked itself, but what is copied is held to be whole from then on.
func putText(ctx context.Context, store storage.Store, name string, text []byte) error {
	stored, err := store.Put(ctx, name, bytes.NewReader(text))
	if err == nil && stored.Bytes != int64(len(text)) {
		err = shortened(name, store, stored, int64(len(text)))
	}
	return err
}

func shortened(name string, store storage.Store, stored storage.Object, bytes int64) error {
	return fmt.Errorf("put %s to %s: %d bytes were stored of %d", name, store, stored.Bytes, bytes)
}

// openStored opens an object as the store has it.
func openStored(ctx context.Context, store storage.Named, name string) (io.ReadCloser, error) {
	return store.Open(ctx, name)
}

// watched says how far the reading of an object is, and remembers whose fault
// it was that it ended.
type watched struct {
	io.ReadCloser
	show      progress.Func
	task      progress.Event
	announced int64
	err       error
}

// announceEvery is after how many bytes a copy says how far it is.
const announceEvery = 4 << 20

func (c *copying) watch(body io.ReadCloser, file manifest.File, phase string) *watched {
	return &watched{ReadCloser: body, show: c.Progress, task: progress.Event{
		Task: c.copy.Store + " " + string(c.copy.ID) + " " + file.Object, Phase: phase, Total: file.Bytes}}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.task.Done += int64(n)
	w.task.Ended = err != nil
	if err != nil && err != io.EOF {
		w.err = err
	}
	if w.task.Ended || w.task.Done >= w.announced+announceEvery {
		w.announced = w.task.Done
		w.show.Emit(w.task)
	}
	return n, err
}
