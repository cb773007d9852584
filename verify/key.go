package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

var (
	// ErrNoKey is returned for a key that a snapshot does not hold.
	ErrNoKey = errors.New("no such key")
	// errChanged is returned where a dump is another when it is read again.
	errChanged = errors.New("what was read the second time is not what was proved the first time")
)

// KeyOptions say which key of a snapshot is read, and who sees it.
type KeyOptions struct {
	Snapshot *catalog.Snapshot
	DB       int
	Key      []byte
	// Survey, where set, begins a first reading: its result is handed the
	// elements of the value while nothing of them is proved yet. It may be
	// called again, for the next store.
	Survey func() func(*rdb.Element) error
	// Show, never nil, is called once, after the dump is proved sound. Its result is handed
	// the same elements, in the same order.
	Show func(*Key) func(*rdb.Element) error
	// Warn, never nil, is told what is wrong and does not stand in the way.
	Warn     func(error)
	Progress progress.Func
}

// Key is a key of a snapshot, as a dump that was proved sound has it.
type Key struct {
	rdb.Record
	TypeName string // what the server's sources call its encoding
	Shard    slot.Set
	Store    string
}

// keyReading reads one key of one shard's dump.
type keyReading struct {
	KeyOptions
	slot  int
	shard manifest.Shard
	begun bool // something was shown
}

// ReadKey reads a key's value, of whatever size, in bounded memory.
func ReadKey(ctx context.Context, o KeyOptions) error {
	r := &keyReading{KeyOptions: o, slot: slot.Of(o.Key)}
	// The slot says which dump: of no other is anything read.
	if !r.chooseShard() {
		return fmt.Errorf("key %s belongs in slot %d, which no shard of snapshot %s has", quoteKey(o.Key), r.slot, o.Snapshot.Manifest.ID)
	}
	// Of a slot without keys not even that one.
	if keys, err := r.slotKeys(ctx); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		o.Warn(fmt.Errorf("the slot index of shard %s cannot be read, so its whole dump is: %w", r.shard.Slots, err))
	} else if keys == 0 {
		return r.missing("which holds no keys by its slot index, so the dump was not read")
	}
	var final error
	err := inAnyStore(ctx, o.Snapshot, func(copied *catalog.Snapshot) error {
		// The whole dump is proved before anything of it is shown.
		key, err := r.find(ctx, copied)
		if errors.Is(err, ErrNoKey) {
			final = err
			return nil
		}
		if err != nil {
			return err
		}
		// Then it is read again as far as the key's value.
		if err = r.show(ctx, copied, key); r.begun {
			final = err // what was shown cannot be taken back: no other store is asked
			return nil
		}
		return err
	})
	return errors.Join(err, final)
}

func (r *keyReading) chooseShard() bool {
	for _, shard := range r.Snapshot.Manifest.Shards {
		if shard.Slots.Contains(r.slot) {
			r.shard = shard
			return true
		}
	}
	return false
}

// slotKeys is how many keys the slot holds, by the shard's slot index.
func (r *keyReading) slotKeys(ctx context.Context) (keys uint32, err error) {
	err = inAnyStore(ctx, r.Snapshot, func(copied *catalog.Snapshot) error {
		body, err := copied.Open(ctx, r.shard.SlotIndex)
		if err != nil {
			return err
		}
		index, err := manifest.DecodeSlotIndex(body)
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
		keys = index.Slots[r.slot].Keys
		return nil
	})
	return keys, err
}

// missing is the error of a key that is not there, and why that is certain.
func (r *keyReading) missing(because string) error {
	return fmt.Errorf("key %s is not in database %d of snapshot %s: %w in slot %d of shard %s, %s",
		quoteKey(r.Key), r.DB, r.Snapshot.Manifest.ID, ErrNoKey, r.slot, r.shard.Slots, because)
}

// find reads the whole dump, as one store has it, and returns the key's record.
func (r *keyReading) find(ctx context.Context, copied *catalog.Snapshot) (found *Key, err error) {
	body, err := copied.Open(ctx, r.shard.Dump.File)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	survey := func(*rdb.Element) error { return nil }
	if r.Survey != nil {
		survey = r.Survey()
	}
	reader := rdb.NewReader(r.watch(ctx, body, "prove"), rdb.Options{
		Size: r.shard.Dump.Content().Bytes,
		View: func(rec *rdb.Record) func(*rdb.Element) error {
			if rec.DB == r.DB && bytes.Equal(rec.Key, r.Key) {
				return survey
			}
			return nil
		},
	})
	elsewhere := -1 // the last database that has a key of this name
	for {
		rec, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF) && found != nil:
			return found, nil
		case errors.Is(err, io.EOF) && elsewhere >= 0:
			return nil, hint.Add(r.missing("whose dump was read whole"), fmt.Sprintf("database %d has a key of this name: --db %d", elsewhere, elsewhere))
		case errors.Is(err, io.EOF):
			return nil, r.missing("whose dump was read whole")
		case err != nil:
			return nil, fmt.Errorf("read dump of shard %s: %w", r.shard.Slots, err)
		case rec.Kind != rdb.KindKey || !bytes.Equal(rec.Key, r.Key):
		case rec.DB != r.DB:
			elsewhere = rec.DB
		case found != nil:
			return nil, fmt.Errorf("read dump of shard %s: key %s is there twice, at bytes %d and %d", r.shard.Slots, quoteKey(r.Key), found.Offset, rec.Offset)
		default:
			found = &Key{*rec, reader.Header().TypeName(rec.Type), r.shard.Slots, copied.Stores()[0].Name}
			found.Record.Key, found.Name = r.Key, nil // the reader's memory
		}
	}
}

// show reads the dump up to the key and shows its value. A store gives an object
// from its beginning, so what precedes the key is passed over.
func (r *keyReading) show(ctx context.Context, copied *catalog.Snapshot, key *Key) (err error) {
	body, err := copied.Open(ctx, r.shard.Dump.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	reader := rdb.NewReader(r.watch(ctx, body, "show"), rdb.Options{
		Size: r.shard.Dump.Content().Bytes,
		View: func(rec *rdb.Record) func(*rdb.Element) error {
			// The rest of the record is in the digest.
			if rec.ValueOffset != key.ValueOffset || rec.Type != key.Type || !bytes.Equal(rec.Key, r.Key) {
				return nil
			}
			r.begun = true
			return r.Show(key)
		},
	})
	for !r.begun && reader.Offset() <= key.ValueOffset {
		rec, err := reader.Next()
		if err != nil {
			return fmt.Errorf("read dump of shard %s again: %w", r.shard.Slots, err)
		}
		if r.begun && rec.Digest == key.Digest && rec.ValueLen == key.ValueLen {
			return nil
		}
	}
	return fmt.Errorf("read dump of shard %s again: %w", r.shard.Slots, errChanged)
}

// watchStep is after how many bytes a reading says how far it is.
const watchStep = 4 << 20

// watched is a dump's source that ends with its context and says how far it is.
type watched struct {
	io.Reader
	ctx       context.Context
	show      progress.Func
	task      progress.Event
	announced int64
}

func (r *keyReading) watch(ctx context.Context, src io.Reader, phase string) io.Reader {
	return &watched{Reader: src, ctx: ctx, show: r.Progress, task: progress.Event{
		Task: "shard " + r.shard.Slots.String(), Phase: phase, Total: r.shard.Dump.Content().Bytes}}
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.Reader.Read(p)
	if w.task.Done += int64(n); w.task.Done >= w.announced+watchStep {
		w.announced = w.task.Done
		w.show.Emit(w.task)
	}
	return n, err
}
