package rdb

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
)

// id stands for a name in 95 bits: of two seeded hashes, or of what [idSet.ofItem]
// makes of a member. The seeds are the process's own: nobody can write a dump
// whose names collide.
type id struct {
	tag  uint64 // odd: a free place is zero
	home uint32 // where in a table the tag belongs
}

const (
	minIDs = 64
	// fewIDs is up to how many ids are kept in the order they came, as nearly all
	// values need it: only where a bit of the filter was set before is one held
	// against the others. Its bits are an eighth of what a table would take, which
	// has to be cleared, and their one branch is foreseen. Where it is not known how
	// many will come it is made for sureIDs.
	fewIDs  = 1024
	sureIDs = 64
	// bitsEach is how many bits of the filter there are for each id, at least: that
	// one in a hundred, or fewer, is looked for among the others.
	bitsEach = 64
	// shortText is up to how long a member's text is its id's whole input.
	shortText = 16
	// keptPlaces is how large the memory of a second or later table may be to be
	// kept: many values come to so many members.
	keptPlaces = 4 << 10
	// manyPlaces is from where on a table lies in no cache.
	manyPlaces = 512 << 10
)

// idSet remembers names by their ids, in tables of open addressing that hold
// nothing but tags: 10 bytes for each name, where it is told how many will come,
// and at most 20. Where a tag stands tells most of the rest of its id, so two
// different names of a full table are taken for one by chance once in 10^12
// dumps; in the tables of their members, once in 10^11.
//
// A table that is full stays as it is, since a tag alone does not tell where it
// belongs in a larger one, and the next ids go to another.
type idSet struct {
	seeds    [2]maphash.Seed
	keys     [4]uint64
	few      [fewIDs]id // the ids, while there are no more
	filter   [fewIDs * bitsEach / 64]uint64
	mask     uint64     // of the words of filter that are used: one less than their number
	fewest   int        // how many ids may be few
	table    []uint64   // else they are here
	tables   [][]uint64 // and in the others of these, which are full; behind its length, memory for more
	places   int        // of all tables
	room     int        // ids that the table may still take
	used     int
	tabled   bool   // the ids are in the tables
	expected int    // how many there will be, where that is known
	most     int    // how many it may hold
	nothing  uint64 // zero, which the compiler does not know
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
	return id{a | 1, uint32(b)}
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
		return id{high ^ low | 1, uint32(other ^ rest)}
	}
	a := maphash.Bytes(s.seeds[0], item)
	if n < 8 {
		return id{a | 1, uint32(a >> 32)}
	}
	middle, end := binary.LittleEndian.Uint64(item[(n-8)/2:]), binary.LittleEndian.Uint64(item[n-8:])
	high, low := bits.Mul64(middle^s.keys[0], end^s.keys[1])
	return id{a | 1, uint32(high ^ low)}
}

// placesFor is the size of a table for n ids: four of five places are taken at
// most, and of a small one, which lies in a cache however large, half.
func placesFor(n int) int {
	if n <= keptPlaces/2 {
		return max(2*n, minIDs)
	}
	return n + n/4 + 1
}

// reset forgets all names and makes room for as many as are expected.
func (s *idSet) reset(expected int) {
	s.used, s.expected = 0, min(expected, s.most)
	if s.tabled = s.expected > fewIDs; s.tabled {
		s.takeTable(s.expected)
		return
	}
	if s.fewest = s.expected; s.fewest <= 0 {
		s.fewest = min(sureIDs, s.most)
	}
	words := uint64(1) << bits.Len(uint(s.fewest*bitsEach/64-1))
	s.mask = words - 1
	clear(s.filter[:words])
}

// takeTable makes one table ready for so many ids.
func (s *idSet) takeTable(expected int) {
	for i := range s.tables {
		if i > 0 && cap(s.tables[i]) > keptPlaces {
			s.tables[i] = nil
		}
	}
	s.tables, s.places = s.tables[:0], 0
	s.addTable(placesFor(expected))
}

// addTable adds an empty table of so many places, in memory that is there if it
// is enough.
func (s *idSet) addTable(places int) {
	n := len(s.tables)
	s.tables = slices.Grow(s.tables, 1)[:n+1]
	if memory := s.tables[n]; places <= cap(memory) {
		s.table = memory[:places]
		clear(s.table)
	} else if s.table = make([]uint64, places); places >= manyPlaces {
		adviseHuge(s.table)
	}
	s.tables[n], s.room = s.table, places*4/5
	s.places += places
}

// place is where an id belongs in a table, if the place is free.
func (x id) place(table []uint64) int {
	return int(uint64(x.home) * uint64(len(table)) >> 32)
}

// touch brings an id's place near, for an add to come: a large table lies in no
// cache, and several places can be waited for at once. It writes what is there,
// since a page that is fresh from the system would be got twice otherwise: to be
// read, and to be written.
func (s *idSet) touch(x id) {
	if s.tabled {
		s.table[x.place(s.table)] |= s.nothing
	}
}

// add remembers an id. It tells whether it was there before, and whether there
// is no room for it.
func (s *idSet) add(x id) (twice, full bool) {
	if s.tabled {
		return s.addToTable(x)
	}
	word, bit := &s.filter[x.tag>>7&s.mask&(fewIDs*bitsEach/64-1)], uint64(1)<<(x.tag>>1&63)
	if *word&bit != 0 && slices.Contains(s.few[:s.used], x) {
		return true, false
	}
	if s.used >= s.fewest {
		s.fillTable()
		return s.addToTable(x)
	}
	*word |= bit
	s.few[s.used] = x
	s.used++
	return false, false
}

func (s *idSet) addToTable(x id) (twice, full bool) {
	for _, table := range s.tables[:len(s.tables)-1] {
		if table[find(table, x)] != 0 {
			return true, false
		}
	}
	at := find(s.table, x)
	if s.table[at] != 0 {
		return true, false
	}
	if s.room == 0 {
		if !s.grow() {
			return false, true
		}
		at = x.place(s.table)
	}
	s.table[at] = x.tag
	s.room--
	s.used++
	return false, false
}

// find is where an id stands, or the free place for it.
func find(table []uint64, x id) int {
	at := x.place(table)
	for table[at] != 0 && table[at] != x.tag {
		if at++; at == len(table) {
			at = 0
		}
	}
	return at
}

// fillTable brings the few ids into a table, since there are more.
func (s *idSet) fillTable() {
	few := s.few[:s.used]
	s.takeTable(2 * len(few))
	s.tabled, s.used = true, 0
	for _, x := range few {
		s.add(x)
	}
}

// grow begins a table for as many more as are expected, or four times as large
// as the last, unless all would take more than those of the most.
func (s *idSet) grow() bool {
	places := min(max(placesFor(s.expected-s.used), 4*len(s.table)), placesFor(s.most)-s.places)
	if places < minIDs {
		return false
	}
	s.addTable(places)
	return true
}
