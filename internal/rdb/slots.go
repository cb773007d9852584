package rdb

import (
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// slotSection follows the keys of one announced slot and holds them against
// the announcement: a dump of a cluster node is ordered by slot (Redis 7.4,
// Valkey 8), and each slot is announced with its counts.
//
// While Redis 8.4 trims a migrated slot in the background its counts are too
// high; such a dump was taken in the middle of a migration and is refused.
type slotSection struct {
	slot           int // -1: none announced
	keys, expiring uint64
	seenKeys       uint64
	seenExpiring   uint64
	announced      slot.Set // in this database
}

// open begins a slot's section at the record that announces it.
func (s *slotSection) open(rec *Record, at int64) error {
	if err := s.close(at); err != nil {
		return err
	}
	if s.announced.Contains(rec.Slot) {
		return damage(CodeSlotInfo, at, "slot %d is announced twice", rec.Slot)
	}
	s.announced.Add(rec.Slot)
	s.slot, s.keys, s.expiring = rec.Slot, rec.Keys, rec.Expiring
	s.seenKeys, s.seenExpiring = 0, 0
	return nil
}

// add counts a key into the section, if one is open.
func (s *slotSection) add(key *Record) error {
	if s.slot < 0 {
		return nil
	}
	if key.Slot != s.slot {
		return damage(CodeSlotInfo, key.Offset, "key %s of slot %d stands among the keys of slot %d", quoteKey(key.Key), key.Slot, s.slot)
	}
	s.seenKeys++
	if key.HasExpiry {
		s.seenExpiring++
	}
	return nil
}

// close ends the section: its keys must be as many as were announced.
func (s *slotSection) close(at int64) error {
	if s.slot < 0 {
		return nil
	}
	ended := s.slot
	s.slot = -1
	if s.seenKeys != s.keys || s.seenExpiring != s.expiring {
		return damage(CodeSlotInfo, at, "slot %d was announced with %d keys, %d of them expiring, and has %d, %d of them expiring",
			ended, s.keys, s.expiring, s.seenKeys, s.seenExpiring)
	}
	return nil
}

// forget begins a new database.
func (s *slotSection) forget() { s.announced = slot.Set{} }

// parseSlotInfo reads Valkey's "slot,keys,expiring[,keys with expiring fields]".
func parseSlotInfo(rec *Record, at int64) error {
	parts := strings.Split(string(rec.Value), ",")
	var numbers [3]uint64
	valid := len(parts) == 3 || len(parts) == 4
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 64)
		valid = valid && err == nil
		if i < len(numbers) {
			numbers[i] = n
		}
	}
	if !valid {
		return damage(CodeSlotInfo, at, "%s announces no slot", quoteKey(rec.Value))
	}
	if numbers[0] >= slot.Count {
		return damage(CodeSlotRange, at, "there is no slot %d", numbers[0])
	}
	rec.Kind, rec.Slot = KindSlotInfo, int(numbers[0])
	rec.Keys, rec.Expiring = numbers[1], numbers[2]
	return nil
}

// quoteKey writes a key for a person: quoted, and no longer than a line.
func quoteKey(key []byte) string {
	const most = 64
	if len(key) <= most {
		return strconv.Quote(string(key))
	}
	return strconv.Quote(string(key[:most])) + "…"
}
