package rdb

import "github.com/slotark/slotark/internal/slot"

// SlotRange is where a slot's keys lie in a dump: from the first byte of the
// first record to the end of the last, with nothing between them that is not a
// key of this slot and database. The bytes are a sequence of key records, with
// their expiries and other attributes. The zero value: no keys, or scattered.
type SlotRange struct{ First, End int64 }

// rangeTracker follows where each slot's keys lie.
type rangeTracker struct {
	ranges    []SlotRange
	scattered [slot.Count]bool // keys come in more than one place
	slot      int              // of the record before; -1: it was no key
}

func newRangeTracker() rangeTracker {
	return rangeTracker{ranges: make([]SlotRange, slot.Count), slot: -1}
}

// add takes in a key's record. Where keys are not ordered by slot, nearly all
// slots are soon scattered, and nothing but that is looked up: ranges would be
// a place far off in memory for each key.
func (t *rangeTracker) add(number int, first, end int64) {
	if t.scattered[number] {
		t.slot = number
		return
	}
	at := &t.ranges[number]
	if number != t.slot {
		t.slot = number
		if at.End != 0 {
			t.scattered[number] = true
			*at = SlotRange{}
			return
		}
		at.First = first
	}
	at.End = end
}

// interrupt takes in a record that is no key.
func (t *rangeTracker) interrupt() { t.slot = -1 }

// finish returns the ranges, by slot.
func (t *rangeTracker) finish() []SlotRange { return t.ranges }
