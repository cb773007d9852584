package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// Level is how much a verification proves. Each includes those before it.
type Level string

// The levels, from the cheapest to the one that proves most.
const (
	Exists   Level = "exists"   // every object is there, with its size
	Checksum Level = "checksum" // every object's stored bytes give the SHA-256 of the manifest; needs no identity
	Parse    Level = "parse"    // every object opens, every dump is sound: structure, CRC64, keys in their slots, counts
	Deep     Level = "deep"     // and so is every value; no name comes twice; every value is digested
)

// ParseLevel reads a level's name.
func ParseLevel(name string) (Level, error) {
	switch level := Level(name); level {
	case Exists, Checksum, Parse, Deep:
		return level, nil
	}
	return "", fmt.Errorf("level %q: want %s, %s, %s or %s", name, Exists, Checksum, Parse, Deep)
}

// Inspects tells whether dumps are inspected, rather than only their bytes
// summed. What lies outside a repository has no sum to be held against.
func (l Level) Inspects() bool { return l == Parse || l == Deep }

// options are how a dump is inspected at this level.
func (l Level) options(size int64) rdb.InspectOptions {
	deep := l == Deep
	return rdb.InspectOptions{Size: size, Deep: deep, Digest: deep, Duplicates: deep}
}

// Options says what to verify.
type Options struct {
	Snapshot *catalog.Snapshot
	Level    Level
	Progress progress.Func
	Now      func() time.Time // nil is the system's clock
}

// Report is what a verification found.
type Report struct {
	Record      catalog.Verification
	Objects     int           // looked at, over all stores
	Read        int64         // bytes read of them; none at level exists
	Shards      []ShardResult // store by store, in the order of the manifest
	Fingerprint *rdb.Digest   // of all keys, at level deep, where a store's dumps are all sound; else nil
}

// ShardResult is what came of one shard in one store.
type ShardResult struct {
	Store    string
	Shard    manifest.Shard
	Findings []catalog.Finding
	// Of a sound dump that was inspected:
	Digest              rdb.Digest // of its keys, at level deep
	Unverifiable        bool       // it has no CRC64
	DuplicatesUnchecked bool       // see rdb.Report
	Notes               []rdb.Note
}

// parallel is how many objects are read at once: inspecting is bound by the
// processor, and two cores are what a small host has.
const parallel = 4

// deepParallel is how many are at level deep, where each may keep 20 MiB of
// names.
const deepParallel = 2

// Run verifies a snapshot in every store that should have it. What is wrong
// with the snapshot is a finding; an error is what kept the verification from
// being done: of an encrypted snapshot at a level that inspects, [seal.ErrNoIdentity].
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	m := o.Snapshot.Manifest
	if o.Level.Inspects() {
		if err := o.Snapshot.Unlocked(); err != nil {
			return nil, err
		}
	}
	started := o.Now()
	report := &Report{Record: catalog.Verification{
		ID: manifest.NewID(started), Snapshot: m.ID, Level: string(o.Level), Started: started,
	}}
	for _, presence := range o.Snapshot.Presence {
		if !presence.Present {
			report.add(absence(presence))
		}
	}
	for _, store := range o.Snapshot.Stores() {
		report.Record.Stores = append(report.Record.Stores, store.Name)
		if err := report.store(ctx, o, store); err != nil {
			return nil, err
		}
	}
	report.Record.Sound = len(report.Record.Findings) == 0
	report.Record.Ended = o.Now()
	return report, nil
}

// absence is the finding for a store that does not have the snapshot.
func absence(p catalog.Presence) catalog.Finding {
	if p.Err != nil {
		return finding(catalog.Unreachable, p.Store, "cannot be asked: %s", p.Err)
	}
	return finding(catalog.Behind, p.Store, "does not have this snapshot")
}

func finding(code, subject, format string, args ...any) catalog.Finding {
	return catalog.Finding{Finding: manifest.Finding{Code: code, Severity: "error", Subject: subject, Detail: fmt.Sprintf(format, args...)}}
}

func (r *Report) add(f ...catalog.Finding) { r.Record.Findings = append(r.Record.Findings, f...) }

// store verifies the snapshot as one store has it.
func (r *Report) store(ctx context.Context, o Options, store storage.Named) error {
	copied := o.Snapshot.In(store)
	r.Objects++
	found := len(r.Record.Findings)
	if f, err := sameManifest(ctx, copied, store); err != nil {
		return err
	} else if f != nil {
		r.add(*f)
	}
	if err := r.settings(ctx, o, copied, store); err != nil {
		return err
	}
	shards := o.Snapshot.Manifest.Shards
	results := make([]ShardResult, len(shards))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	if o.Level == Deep {
		group.SetLimit(deepParallel)
	}
	for i, shard := range shards {
		for _, file := range shard.Files() {
			r.Objects++
			if o.Level != Exists {
				r.Read += file.Bytes
			}
		}
		group.Go(func() error {
			check := &shardCheck{Options: o, snapshot: copied, store: store, shard: shard, result: &results[i]}
			return check.run(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var sum rdb.Digest
	before := len(r.Record.Findings)
	for _, result := range results {
		r.add(result.Findings...)
		sum = sum.Add(result.Digest)
	}
	if len(r.Record.Findings) == found {
		r.Record.SoundIn = append(r.Record.SoundIn, store.Name)
	}
	if len(r.Record.Findings) == before && o.Level == Deep {
		r.Fingerprint = &sum
	}
	r.Shards = append(r.Shards, results...)
	return nil
}

// sameManifest checks that a store's manifest is byte for byte the one that
// was read: copies must not drift.
func sameManifest(ctx context.Context, copied *catalog.Snapshot, store storage.Named) (*catalog.Finding, error) {
	want, err := manifest.Encode(copied.Manifest)
	if err != nil {
		return nil, err
	}
	body, err := copied.OpenStored(ctx, catalog.ManifestObject)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(io.LimitReader(body, manifest.MaxBytes))
		err = errors.Join(err, body.Close())
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		f := finding("unreadable", store.Name+": "+catalog.ManifestObject, "%s", err)
		return &f, nil
	}
	if !bytes.Equal(got, want) {
		f := finding("manifest-differs", store.Name+": "+catalog.ManifestObject, "is not byte for byte the manifest of the other stores")
		return &f, nil
	}
	return nil, nil
}
