package part

import (
	"bytes"
	"slices"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// Selection says which keys are taken: those that every part of it which is
// given lets through. The zero value lets none through.
type Selection struct {
	Keys     [][]byte     // by name; with Patterns, those of either
	Patterns []string     // as KEYS takes them
	Slots    slot.Set     // that hold them
	Types    []rdb.Family // that they are of
}

// Empty tells whether nothing was said.
func (s *Selection) Empty() bool {
	return len(s.Keys) == 0 && len(s.Patterns) == 0 && s.Slots.Len() == 0 && len(s.Types) == 0
}

// within are the slots that may hold such keys.
func (s *Selection) within() slot.Set {
	slots := s.Slots
	if slots.Len() == 0 {
		slots = slot.Full()
	}
	if len(s.Keys) == 0 || len(s.Patterns) > 0 {
		return slots
	}
	var named slot.Set
	for _, key := range s.Keys {
		named.Add(slot.Of(key))
	}
	return slots.Intersect(named)
}

// wants tells whether a key is one of them.
func (s *Selection) wants(r *rdb.Record, within *slot.Set) bool {
	if !within.Contains(r.Slot) || len(s.Types) > 0 && !slices.Contains(s.Types, r.Family) {
		return false
	}
	if len(s.Keys) == 0 && len(s.Patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Keys, func(key []byte) bool { return bytes.Equal(key, r.Key) }) ||
		slices.ContainsFunc(s.Patterns, func(pattern string) bool { return matches([]byte(pattern), r.Key) })
}
