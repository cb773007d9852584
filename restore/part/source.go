package part

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/verify"
)

const (
	defaultMemory = 64 << 20
	// itemBytes is what an item counts for beside its bytes.
	itemBytes = 256
	// progressKeys is after how many keys it is said how far it is.
	progressKeys = 1 << 13
)

// item is one key. Its slices are its own where it is kept.
type item struct {
	rdb.Record
	value  []byte // as it stands in the dump
	header rdb.Header
	bytes  int64 // of its record
}

// source is what is taken out of a snapshot.
type source struct {
	*Options
	slots  slot.Set // that may hold it
	proved map[int]storage.Named
	kept   []item
	weight int64 // of what is kept
	all    bool  // everything is kept
	result Result
}

// begin keeps prunes away from the snapshot, until what it returns is called, and
// proves what is to be taken out of it.
func begin(ctx context.Context, o *Options) (s *source, release func(), err error) {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	s = &source{Options: o, slots: o.within(), proved: map[int]storage.Named{}, all: true}
	if release, err = s.claim(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.prove(ctx); err != nil {
		release()
		return nil, nil, err
	}
	return s, release, nil
}

// claim says that the snapshot is being read, so that no prune deletes it, until
// what it returns is called.
func (s *source) claim(ctx context.Context) (release func(), err error) {
	claim, err := s.Snapshot.Claim(ctx, catalog.Work{})
	if err != nil {
		return nil, err
	}
	warn := func(detail string) {
		s.result.Findings = append(s.result.Findings, manifest.Finding{Code: "claim", Severity: "warning", Subject: "snapshot " + string(s.Snapshot.Manifest.ID), Detail: detail})
	}
	if claim.Warning != "" {
		warn(claim.Warning)
	}
	return func() {
		if err := claim.Release(ctx); err != nil {
			warn("a prune will keep it for another day, because no store took the mark that this has ended")
		}
	}, nil
}

// prove reads every dump that may hold such keys to its end, from the first store
// whose copy is whole, and counts the keys.
func (s *source) prove(ctx context.Context) error {
	for i, shard := range s.Snapshot.Manifest.Shards {
		if shard.Slots.Intersect(s.slots).Len() == 0 {
			continue
		}
		if err := s.proveShard(ctx, i, shard); err != nil {
			return fmt.Errorf("read shard %s: %w", shard.Slots, err)
		}
	}
	if s.result.Selected == 0 {
		return hint.Add(fmt.Errorf("no key of snapshot %s is one of those that were asked for", s.Snapshot.Manifest.ID),
			"Patterns are those of KEYS: quote them for the shell. slotark show ID --key KEY shows one key.")
	}
	return nil
}

func (s *source) proveShard(ctx context.Context, index int, shard manifest.Shard) error {
	var failures []error
	before, kept, weight := s.result, len(s.kept), s.weight
	forget := func() { // what a damaged copy gave
		s.result, s.weight = before, weight
		if s.all { // else it filled the memory: all is read again
			s.kept = s.kept[:kept]
		}
	}
	for _, store := range s.Snapshot.Stores() {
		err := s.readIndexed(ctx, shard, store, s.keep)
		if err != nil && ctx.Err() == nil { // read as a whole it is either proved, or says what is wrong
			forget()
			err = s.read(ctx, shard, store, s.keep)
		}
		if err == nil {
			for _, failure := range failures {
				s.result.Findings = append(s.result.Findings, manifest.Finding{Code: "store-failed", Severity: "error", Subject: "shard " + shard.Slots.String(), Detail: failure.Error()})
			}
			s.proved[index] = store
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		failures = append(failures, fmt.Errorf("store %s: %w", store.Name, err))
		forget()
	}
	return errors.Join(failures...)
}

// keep counts a key, and keeps it while there is room.
func (s *source) keep(it *item) error {
	s.result.Selected++
	s.result.Bytes += it.bytes
	if s.weight += int64(len(it.Key)) + int64(len(it.value)) + itemBytes; s.weight > s.Memory {
		s.all, s.kept = false, nil
	}
	if s.all {
		own := *it
		own.Key, own.value = bytes.Clone(it.Key), bytes.Clone(it.value)
		s.kept = append(s.kept, own)
	}
	return nil
}

// each gives every key, and at the end nil.
func (s *source) each(ctx context.Context, do func(*item) error) error {
	if s.all {
		for i := range s.kept {
			if err := do(&s.kept[i]); err != nil {
				return err
			}
		}
		return do(nil)
	}
	for i, shard := range s.Snapshot.Manifest.Shards {
		if store, ok := s.proved[i]; ok {
			if err := s.read(ctx, shard, store, do); err != nil {
				return fmt.Errorf("shard %s from store %s: %w", shard.Slots, store.Name, err)
			}
		}
	}
	return do(nil)
}

// restart forgets what a pass has found, for the next.
func (s *source) restart() {
	s.result.Equal, s.result.Missing, s.result.Differ, s.result.Expired = 0, Keys{}, Keys{}, 0
}

// read reads one dump from one store to its end.
func (s *source) read(ctx context.Context, shard manifest.Shard, store storage.Named, do func(*item) error) (err error) {
	body, err := s.Snapshot.In(store).Open(ctx, shard.Dump.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	task := progress.Event{Task: "shard " + shard.Slots.String(), Phase: "read", Detail: store.Name, Total: shard.Dump.Content().Bytes}
	var value bytes.Buffer
	wanted := false
	reader := rdb.NewReader(body, rdb.Options{Size: task.Total, Capture: &value, Wanted: func(r *rdb.Record) bool {
		wanted = s.wants(r, &s.slots)
		return wanted
	}})
	for {
		value.Reset()
		wanted = false
		r, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			if task.Keys != shard.Dump.Keys {
				return fmt.Errorf("the dump holds %s, the manifest says %s: %w", human.Plural(task.Keys, "key"), human.Count(shard.Dump.Keys), verify.ErrDamaged)
			}
			task.Done, task.Ended = task.Total, true
			s.Progress.Emit(task)
			return nil
		case err != nil:
			return err
		case r.Kind != rdb.KindKey:
			continue
		}
		if task.Keys++; task.Keys%progressKeys == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			task.Done = reader.Offset()
			s.Progress.Emit(task)
		}
		if !wanted {
			continue
		}
		if err := portable(r); err != nil {
			return err
		}
		it := item{*r, value.Bytes(), reader.Header(), reader.Offset() - r.Offset}
		if err := do(&it); err != nil {
			return err
		}
	}
}

// portable refuses a key whose value is not all there is of it.
func portable(r *rdb.Record) error {
	if r.Portable() {
		return nil
	}
	return hint.Add(fmt.Errorf("key %s refers to what stands elsewhere in its dump, a hash template or a module's metadata", quoted(r.Key)),
		"Such a key cannot be taken by itself: restore the whole snapshot, and copy it from there.")
}

// ParseTypes reads names of types.
func ParseTypes(names []string) ([]rdb.Family, error) {
	known := []rdb.Family{rdb.String, rdb.List, rdb.Set, rdb.Zset, rdb.Hash, rdb.Stream, rdb.Module, rdb.Array}
	var types []rdb.Family
	for _, name := range names {
		at := slices.IndexFunc(known, func(f rdb.Family) bool { return f.String() == name })
		if at < 0 {
			return nil, fmt.Errorf("%q is no type of a key: want string, list, set, zset, hash, stream, module or array", name)
		}
		types = append(types, known[at])
	}
	return types, nil
}
