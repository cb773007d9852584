package rdb

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
)

// id stands for a name in 95 bits: of two seeded hashes, or of what [idSet.ofItem]
// makes of a member. Among the names one [idSet] may hold, two different ones
// share an id by chance once in 10^15 dumps, so the same id is the same name. The
// seeds are the process's own: nobody can write a dump whose names collide. A
// zero id is no name.
type id [3]uint32

const (
	idBytes = 12
	minIDs  = 64
	// fewIDs is up to how many ids are kept in the order they came, as most values
	// need it: a table of their own would have to be cleared. Only where a bit of
	// the filter was set before is one held against the others.
	fewIDs     = 64
	filterBits = 1024
	// shortText is up to how long a member's text is its id's whole input.
	shortText = 16
	// sparePlaces is how large an outgrown table may be to be kept: many values
	// come to so many members.
	sparePlaces = 4 << 10
)

// idSet remembers names by their ids, in a table of open addressing: 15 bytes
// for each, where it is told how many will come, and at most 30.
type idSet struct {
	seeds    [2]maphash.Seed
	keys     [4]uint64
	filter   [filterBits / 64]uint64
	few      [fewIDs]id // the ids, while there are no more
	table    []id       // else they are here
	spare    []id       // a table that was outgrown
	used     int
	tabled   bool   // the ids are in the table
	expected int    // how many there will be, where that is known
	most     int    // how many it may hold
	nothing  uint32 // zero, which the compiler does not know
}

func newIDSet(most int) *idSet {
	s := &idSet{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, most: most}
	for i := range s.keys {
		s.keys[i] = maphash.Comparable(s.seeds[0], i)
	}
	s.reset(0)
	return s
}

// of returns a name's id in this set.
func (s *idSet) of(name []byte) id {
	a, b := maphash.Bytes(s.seeds[0], name), maphash.Bytes(s.seeds[1], name)
	return id{uint32(a), uint32(a >> 32), uint32(b) | 1}
}

// ofItem returns the id of an item, of which a dump has many more than names and
// one value few. A member's short text, its length and its tag are multiplied
// with the process's keys, twice; of anything longer it is 64 bits of a seeded
// hash, and 31 of a keyed product of the bytes in its middle and at its end.
func (s *idSet) ofItem(item []byte) id {
	const text = 1 + 8 // behind tag and length
	n := len(item)
	if n >= text && n <= text+shortText && item[0] <= tagField {
		// Its first eight bytes and its last; of a shorter one its last, behind
		// some of its length.
		first, last := binary.LittleEndian.Uint64(item[n-8:]), uint64(0)
		if n >= text+8 {
			first, last = binary.LittleEndian.Uint64(item[text:]), first
		}
		kind := uint64(n)<<8 | uint64(item[0])
		high, low := bits.Mul64(first^s.keys[0], last^s.keys[1]^kind*0x9e3779b97f4a7c15)
		other, rest := bits.Mul64(first^s.keys[2]^kind, last^s.keys[3])
		return id{uint32(high ^ low), uint32((high ^ low) >> 32), uint32(other^rest) | 1}
	}
	a := maphash.Bytes(s.seeds[0], item)
	if n < 8 {
		return id{uint32(a), uint32(a >> 32), 1}
	}
	middle, end := binary.LittleEndian.Uint64(item[(n-8)/2:]), binary.LittleEndian.Uint64(item[n-8:])
	high, low := bits.Mul64(middle^s.keys[0], end^s.keys[1])
	return id{uint32(a), uint32(a >> 32), uint32(high^low) | 1}
}

// places is the table's size for n ids: four of five places are taken at most,
// and of a small one, which lies in a cache however large, half.
func places(n int) int {
	if n <= sparePlaces/2 {
		return max(2*n, minIDs)
	}
	return n + n/4 + 1
}

// reset forgets all names and makes room for as many as are expected.
func (s *idSet) reset(expected int) {
	s.used, s.expected = 0, min(expected, s.most)
	if s.tabled = s.expected > fewIDs; !s.tabled {
		clear(s.filter[:])
		return
	}
	s.takeTable(s.expected)
}

// takeTable makes the table ready for so many ids.
func (s *idSet) takeTable(expected int) {
	if cap(s.spare) > cap(s.table) {
		s.table, s.spare = s.spare, s.table
	}
	s.table = s.blank(s.table, places(expected))
}

// blank returns an empty table of so many places, in the memory of another if
// that is enough.
func (s *idSet) blank(memory []id, places int) []id {
	if places > cap(memory) {
		memory = make([]id, places)
		adviseHuge(memory)
		return memory
	}
	memory = memory[:places]
	clear(memory)
	return memory
}

// place is where an id belongs, if the place is free.
func (s *idSet) place(x id) int {
	at, _ := bits.Mul64(uint64(x[1])<<32|uint64(x[0]), uint64(len(s.table)))
	return int(at)
}

// touch brings an id's place near, for an add to come: a large table lies in no
// cache, and several places can be waited for at once. It writes what is there,
// since a page that is fresh from the system would be got twice otherwise: to be
// read, and to be written.
func (s *idSet) touch(x id) {
	if s.tabled {
		s.table[s.place(x)][2] |= s.nothing
	}
}

// add remembers an id. It tells whether it was there before, and whether there
// is no room for it.
func (s *idSet) add(x id) (twice, full bool) {
	if s.tabled {
		return s.addToTable(x)
	}
	word, bit := &s.filter[x[0]%filterBits/64], uint64(1)<<(x[0]%64)
	if *word&bit != 0 && slices.Contains(s.few[:s.used], x) {
		return true, false
	}
	if s.used >= min(fewIDs, s.most) {
		s.fillTable()
		return s.addToTable(x)
	}
	*word |= bit
	s.few[s.used] = x
	s.used++
	return false, false
}

func (s *idSet) addToTable(x id) (twice, full bool) {
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

// fillTable brings the few ids into the table, since there are more.
func (s *idSet) fillTable() {
	few := s.few[:s.used]
	s.takeTable(2 * fewIDs)
	s.tabled, s.used = true, 0
	for _, x := range few {
		s.add(x)
	}
}

// grow makes room for as many as are expected, or twice as many, unless the old
// table and the new one together would take much more than the largest.
func (s *idSet) grow() bool {
	largest := places(s.most)
	want := min(max(places(s.expected), 2*len(s.table)), largest)
	if want <= len(s.table) || want+len(s.table) > largest+largest/8+minIDs {
		return false
	}
	old, memory := s.table, s.spare
	if cap(old) >= want { // of a larger value before this one
		old, memory = slices.Clone(old), old
	}
	s.table, s.used = s.blank(memory, want), 0
	for _, x := range old {
		if x[2] != 0 {
			s.add(x)
		}
	}
	if s.spare = nil; len(old) <= sparePlaces {
		s.spare = old
	}
	return true
}
