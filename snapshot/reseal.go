package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/seal"
	"golang.org/x/sync/errgroup"
)

// ResealOptions says which snapshot to seal again, and to whom.
type ResealOptions struct {
	Snapshot *catalog.Snapshot // unlocked
	Stores   []storage.Named   // the primary first
	Sealer   *seal.Sealer      // to whom; compression stays what it is
	// Mirroring is what is asked of the mirrors, as when a snapshot is taken.
	Mirroring catalog.Mirroring
	Parallel  int    // shards at once; 0 is 1: opening and sealing one keeps two processors busy, and more take its memory again
	Build     string // "slotark 0.1.0", for the manifest
	Progress  progress.Func
}

// Resealed is what sealing again came to.
type Resealed struct {
	Manifest *manifest.Manifest
	Outcomes []mirror.Outcome // one for each store, the primary first
	Elapsed  time.Duration
}

// Reseal writes a snapshot that holds the dumps of another, encrypted to other
// recipients. The other is not touched. As with Take, an error means that there
// is no new snapshot.
//
//  1. Each object is opened, checked as it is stored, decrypted and encrypted
//     again in one pass; what it holds is decompressed beside and checked. The
//     stores see its end only when all of it was right.
//  2. What the stores then hold is read back and checked.
//  3. The manifest, last.
func Reseal(ctx context.Context, o ResealOptions) (_ *Resealed, err error) {
	started := clock.Now()
	if err := o.Snapshot.Unlocked(); err != nil {
		return nil, err
	}
	repository, err := catalog.Create(ctx, o.Stores, started)
	if err != nil {
		return nil, err
	}
	r := newResealing(o)
	if r.writer, err = repository.Begin(o.Mirroring); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = aborted(r.folder(), err, r.writer.Abort(ctx))
		}
	}()
	if err := r.eachShard(ctx, r.shard); err != nil {
		return nil, err
	}
	if settings := &r.manifest.Settings; *settings != (manifest.File{}) {
		if *settings, err = r.object(ctx, settingsObject, *settings); err != nil {
			return nil, err
		}
	}
	if err := r.readBack(ctx); err != nil {
		return nil, err
	}
	if err := commitManifest(ctx, r.writer, r.manifest); err != nil {
		return nil, err
	}
	return &Resealed{Manifest: r.manifest, Outcomes: r.writer.Outcomes(), Elapsed: clock.Since(started)}, nil
}

// resealing is one snapshot on its way to new recipients.
type resealing struct {
	ResealOptions
	manifest *manifest.Manifest // the new one; its shards' files are filled in
	writer   *catalog.Writer
}

func newResealing(o ResealOptions) *resealing {
	if o.Parallel == 0 {
		o.Parallel = 1
	}
	old := o.Snapshot.Manifest
	compression := old.Seal.Compression
	if compression == "" { // of version 1
		compression = seal.None
	}
	o.Sealer = o.Sealer.WithCompression(compression)
	m := *old
	m.Version, m.ID, m.ResealedFrom = manifest.Version, laterID(old.ID), old.ID
	m.CreatedBy, m.Seal = o.Build, manifest.SealOf(o.Sealer.Lock())
	m.Shards, m.Stores = append([]manifest.Shard(nil), old.Shards...), nil
	for _, s := range o.Stores {
		m.Stores = append(m.Stores, s.Name)
	}
	return &resealing{ResealOptions: o, manifest: &m}
}

// idTries bounds the search for a later id, which an id near the end of its
// second may not have.
const idTries = 1000

// laterID is an id of the same second that sorts after the other one, so that
// the latest snapshot is the one that the newest identity opens.
func laterID(old manifest.ID) manifest.ID {
	id := manifest.NewID(old.Time())
	for range idTries {
		if id > old {
			break
		}
		id = manifest.NewID(old.Time())
	}
	return id
}

func (r *resealing) folder() string { return catalog.Folder(r.manifest.Cluster, r.manifest.ID) }

func (r *resealing) eachShard(ctx context.Context, do func(context.Context, *manifest.Shard) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Parallel)
	for i := range r.manifest.Shards {
		shard := &r.manifest.Shards[i]
		group.Go(func() error {
			if err := do(ctx, shard); err != nil {
				return fmt.Errorf("shard %s: %w", shard.Slots, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// shard seals one shard's objects again.
func (r *resealing) shard(ctx context.Context, shard *manifest.Shard) (err error) {
	task := progress.Event{Task: "shard " + shard.Slots.String(), Phase: "reseal", Total: shard.Dump.Bytes}
	r.Progress.Emit(task)
	if shard.Dump.File, err = r.object(ctx, dumpObject(shardFolder(shard.Slots)), shard.Dump.File); err != nil {
		return err
	}
	if shard.SlotIndex, err = r.object(ctx, indexObject(shardFolder(shard.Slots)), shard.SlotIndex); err != nil {
		return err
	}
	if shard.AOF != nil {
		if shard.AOF, err = r.set(ctx, shard.Slots, *shard.AOF); err != nil {
			return err
		}
	}
	task.Done, task.Keys, task.Ended = task.Total, shard.Dump.Keys, true
	r.Progress.Emit(task)
	return nil
}

// set seals a set's objects again, its manifest last.
func (r *resealing) set(ctx context.Context, slots slot.Set, set manifest.AOF) (_ *manifest.AOF, err error) {
	set.Files = slices.Clone(set.Files)
	for i := range set.Files {
		f := &set.Files[i]
		if f.File, err = r.object(ctx, aofObject(shardFolder(slots), f.Name), f.File); err != nil {
			return nil, err
		}
	}
	if set.ManifestName != "" {
		if set.Manifest, err = r.object(ctx, aofObject(shardFolder(slots), set.ManifestName), set.Manifest); err != nil {
			return nil, err
		}
	}
	return &set, nil
}

// object seals one object again, from the first store whose copy is whole.
func (r *resealing) object(ctx context.Context, name string, old manifest.File) (manifest.File, error) {
	var failures []error
	for _, store := range r.Snapshot.Stores() {
		body, err := r.Snapshot.In(store).OpenPacked(ctx, old)
		if err == nil {
			var file manifest.File
			source := &watched{Reader: body}
			file, err = putSealed(ctx, r.writer, r.folder(), name, r.Sealer, source)
			err = errors.Join(err, body.Close())
			if err == nil {
				file.Plain = old.Content() // what the packed bytes hold was checked
				return file, nil
			}
			if source.failure == nil { // it is not the copy that is wrong
				return manifest.File{}, err
			}
		}
		failures = append(failures, fmt.Errorf("%s: %w", store.Name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return manifest.File{}, errors.Join(failures...)
}

// watched keeps the error by which a reader ended.
type watched struct {
	io.Reader
	failure error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failure = err
	}
	return n, err
}

// readBack reads what was stored from every store that is still in, and holds
// it against the sums of what was sent.
func (r *resealing) readBack(ctx context.Context) error {
	behind := map[string]bool{}
	for _, o := range r.writer.Outcomes() {
		behind[o.Name] = o.Err != nil
	}
	for _, store := range r.Stores {
		if behind[store.Name] {
			continue
		}
		err := r.eachShard(ctx, func(ctx context.Context, shard *manifest.Shard) error {
			for _, file := range shard.Files() {
				if err := checkStored(ctx, store, r.folder(), file); err != nil {
					return err
				}
			}
			return nil
		})
		if settings := r.manifest.Settings; err == nil && settings != (manifest.File{}) {
			err = checkStored(ctx, store, r.folder(), settings)
		}
		if err != nil {
			return fmt.Errorf("read back from %s: %w", store.Name, err)
		}
	}
	return nil
}

func checkStored(ctx context.Context, store storage.Store, folder string, file manifest.File) error {
	body, err := store.Open(ctx, folder+file.Object)
	if err != nil {
		return err
	}
	sum := seal.NewSummer()
	_, err = io.Copy(sum, body)
	got := sum.Sum()
	if err := errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("read %s: %w", file.Object, err)
	}
	if got != (seal.Sum{Bytes: file.Bytes, SHA256: file.SHA256}) {
		return fmt.Errorf("read %s: %w: %d bytes with SHA-256 %s, %d with %s were sent", file.Object, catalog.ErrDamaged, got.Bytes, got.SHA256, file.Bytes, file.SHA256)
	}
	return nil
}
