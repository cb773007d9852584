package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
)

// provedByIndex tells whether the cluster holds in every slot of a shard just what its
// slot index says that the shard held: as many keys, of the same digest, those that
// have expired since included, and as many when they were counted. Then the stored dump can
// add nothing. Where a key is gone, or a field of one, only the dump tells whether it had
// to be there.
func (c *comparing) provedByIndex(s int) bool {
	for n := range c.Snapshot.Manifest.Shards[s].Slots.All() {
		live, digest := &c.live[n], c.digests[n]
		if digest == nil || live.whole != *digest || c.indexed[n] != int64(live.keys+live.expired) || c.indexed[n] != c.counts[n] {
			return false
		}
	}
	return true
}

// takeIndex has the saved side of a shard be what the index has proved it to be. The
// libraries of functions, of which no index tells, are read from the dump's head.
func (c *comparing) takeIndex(ctx context.Context, s int) error {
	shard := c.Snapshot.Manifest.Shards[s]
	for n := range shard.Slots.All() {
		c.saved[n] = c.live[n]
	}
	return c.fromAnyStore(ctx, func(copied *catalog.Snapshot) error {
		c.from[s] = copied
		collect := c.savedFunctions[s].collector(&c.savedFunctions[s])
		if shard.Dump.Functions == 0 {
			return nil
		}
		found, err := ReadLibraries(ctx, copied, s, collect)
		if err == nil && found != shard.Dump.Functions {
			err = fmt.Errorf("the dump of shard %s begins with %d libraries of functions, the manifest says %d: %w", shard.Slots, found, shard.Dump.Functions, ErrDamaged)
		}
		return err
	})
}

// ReadLibraries reads the dump of the s-th shard up to its first key, before which the
// libraries of functions stand (rdbSaveRio in rdb.c). Each one's code is valid until collect
// returns. The SHA-256 of the dump is not proved.
func ReadLibraries(ctx context.Context, copied *catalog.Snapshot, s int, collect func([]byte)) (found int, err error) {
	dump := copied.Manifest.Shards[s].Dump
	body, err := copied.OpenUnsummed(ctx, dump.File)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	reader := rdb.NewReader(body, rdb.Options{Size: dump.Content().Bytes})
	for {
		r, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF), err == nil && r.Kind == rdb.KindKey:
			return found, nil
		case err != nil:
			return found, err
		case r.Kind == rdb.KindFunction:
			collect(r.Value)
			found++
		}
	}
}
