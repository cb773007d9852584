package rdb

import (
	"hash/maphash"
	"math/bits"
)

// id stands for a name in 95 bits of two seeded hashes. Among the names one
// [idSet] may hold, two different ones share an id by chance once in 10^15
// dumps, so the same id is the same name. The seeds are the process's own:
// nobody can write a dump whose names collide. A zero id is no name.
type id [3]uint32

const (
	idBytes = 12
	minIDs  = 64
)

// idSet remembers names by their ids, in a table of open addressing: 15 bytes
// for each, where it is told how many will come, and at most 30.
type idSet struct {
	seeds    [2]maphash.Seed
	table    []id
	used     int
	expected int // how many there will be, where that is known
	most     int // how many it may hold
	touched  uint32
}

func newIDSet(most int) *idSet {
	s := &idSet{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, most: most}
	s.reset(0)
	return s
}

// of returns a name's id in this set.
func (s *idSet) of(name []byte) id {
	a, b := maphash.Bytes(s.seeds[0], name), maphash.Bytes(s.seeds[1], name)
	return id{uint32(a), uint32(a >> 32), uint32(b) | 1}
}

// places is the table's size for n ids: four of five places are taken at most.
func places(n int) int { return max(n+n/4+1, minIDs) }

// reset forgets all names and makes room for as many as are expected.
func (s *idSet) reset(expected int) {
	s.used, s.expected = 0, min(expected, s.most)
	if want := places(s.expected); want <= cap(s.table) {
		s.table = s.table[:want]
		clear(s.table)
	} else {
		s.table = make([]id, want)
	}
}

// place is where an id belongs, if the place is free.
func (s *idSet) place(x id) int {
	at, _ := bits.Mul64(uint64(x[1])<<32|uint64(x[0]), uint64(len(s.table)))
	return int(at)
}

// touch brings an id's place near, for an add to come: a large table lies in no
// cache, and several places can be waited for at once.
func (s *idSet) touch(x id) { s.touched |= s.table[s.place(x)][2] }

// add remembers an id. It tells whether it was there before, and whether there
// is no room for it.
func (s *idSet) add(x id) (twice, full bool) {
	if s.used >= len(s.table)*4/5 && !s.grow() {
		return false, true
	}
	at := s.place(x)
	for s.table[at][2] != 0 {
		if s.table[at] == x {
			return true, false
		}
		if at++; at == len(s.table) {
			at = 0
		}
	}
	s.table[at] = x
	s.used++
	return false, false
}

// grow makes room for as many as are expected, or twice as many, unless the old
// table and the new one together would take much more than the largest.
func (s *idSet) grow() bool {
	largest := places(s.most)
	want := min(max(places(s.expected), 2*len(s.table)), largest)
	if want <= len(s.table) || want+len(s.table) > largest+largest/8+minIDs {
		return false
	}
	old := s.table
	s.table, s.used = make([]id, want), 0
	for _, x := range old {
		if x[2] != 0 {
			s.add(x)
		}
	}
	return true
}
