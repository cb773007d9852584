package rdb

import "github.com/slotark/slotark/internal/slot"

// slotBatch is how many keys wait for each other to be counted.
const slotBatch = 64

// slotSums are what slots hold. Keys that are not ordered by slot ask for
// another one each time, which lies far off in memory: those of several keys are
// waited for at once. The zero value is ready to use.
type slotSums struct {
	sums    [slot.Count]slotSum
	pending [slotBatch]slotKey
	n       int // that are pending
}

// slotSum is what a slot holds.
type slotSum struct {
	digest Digest
	count  SlotCount
}

// slotKey is a key as its slot counts it.
type slotKey struct {
	digest   Digest
	slot     int32
	expiring uint32 // 1 if it expires
}

// add takes in a key.
func (s *slotSums) add(key *Record) {
	k := &s.pending[s.n]
	k.digest, k.slot, k.expiring = key.Digest, int32(key.Slot), 0
	if key.HasExpiry {
		k.expiring = 1
	}
	if s.n++; s.n == slotBatch {
		s.settle()
	}
}

func (s *slotSums) settle() {
	for i := range s.pending[:s.n] {
		k := &s.pending[i]
		sum := &s.sums[k.slot]
		sum.digest = sum.digest.Add(k.digest)
		sum.count.Keys++
		sum.count.Expiring += k.expiring
	}
	s.n = 0
}

// all are the sums of all keys taken in, by slot.
func (s *slotSums) all() []slotSum {
	s.settle()
	return s.sums[:]
}
