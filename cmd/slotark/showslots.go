package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// printSlots prints the slot indexes, shard by shard, and what their digests
// come to.
func (a *app) printSlots(ctx context.Context, s *catalog.Snapshot) error {
	var sum manifest.Fingerprint
	if !a.json {
		fmt.Fprintf(a.stdout, "%5s %10s %10s  %-32s %14s %14s\n", "SLOT", "KEYS", "EXPIRING", "DIGEST", "OFFSET", "BYTES")
	}
	for _, shard := range s.Manifest.Shards {
		index, err := readIndex(ctx, s, shard)
		if err != nil {
			return err
		}
		sum.Add(index)
		for n := range index.Owned.All() {
			if index.Slots[n].Keys > 0 {
				a.printSlot(n, index)
			}
		}
	}
	a.printFingerprint(&sum)
	return nil
}

func (a *app) printSlot(n int, index *manifest.SlotIndex) {
	if a.json {
		a.emit(newSlotMessage(n, index))
		return
	}
	entry := &index.Slots[n]
	digest, offset, size := "-", "-", "-"
	if index.DigestVersion > 0 {
		digest = entry.Digest.String()
	}
	if entry.Bytes > 0 {
		offset, size = fmt.Sprint(entry.Offset), fmt.Sprint(entry.Bytes)
	}
	fmt.Fprintf(a.stdout, "%5d %10d %10d  %-32s %14s %14s\n", n, entry.Keys, entry.Expiring, digest, offset, size)
}

func (a *app) printFingerprint(f *manifest.Fingerprint) {
	switch {
	case a.json && f.DigestVersion > 0:
		a.emit(fingerprintMessage{"fingerprint", f.Digest, f.DigestVersion})
	case a.json: // there is none to print
	case f.DigestVersion > 0:
		fmt.Fprintf(a.stdout, "fingerprint %s, digest version %d\n", f.Digest, f.DigestVersion)
	default:
		fmt.Fprintln(a.stdout, "no fingerprint: a slot index was written without digests, or with those of another version than the rest")
	}
}

// readIndex reads a shard's slot index and checks that it is what was stored.
func readIndex(ctx context.Context, s *catalog.Snapshot, shard manifest.Shard) (*manifest.SlotIndex, error) {
	body, err := s.Open(ctx, shard.SlotIndex)
	if err != nil {
		return nil, err
	}
	index, err := manifest.DecodeSlotIndex(body)
	if err == nil && index.Owned != shard.Slots {
		err = fmt.Errorf("the slot index is of slots %s, the manifest says %s", index.Owned, shard.Slots)
	}
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Object(shard.SlotIndex.Object), err)
	}
	return index, nil
}
