package slot

import (
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// Range is the slots First to Last, both included.
type Range struct{ First, Last int }

// String writes a range as CLUSTER NODES does: "0-5460", or "42" for one slot.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Set is a set of slots. The zero value is empty and ready to use; a copy is
// a set of its own.
type Set struct{ words [Count / 64]uint64 }

// SetOf returns the set of the given ranges. It panics on a slot outside
// 0..16383: text from outside goes through [Parse], which returns an error.
func SetOf(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.AddRange(r)
	}
	return s
}

// Full returns the set of all 16384 slots.
func Full() Set { return SetOf(Range{0, Count - 1}) }

// Add puts one slot into the set.
func (s *Set) Add(n int) { s.words[n/64] |= 1 << (n % 64) }

// AddRange puts the slots of a range into the set, word by word: a listing of
// ten thousand snapshots makes a hundred thousand sets.
func (s *Set) AddRange(r Range) {
	for n := r.First; n <= r.Last; {
		bit := n % 64
		further := min(r.Last-n, 63-bit) // slots after n in its word
		s.words[n/64] |= ^uint64(0) >> (63 - further) << bit
		n += further + 1
	}
}

// Contains tells whether a slot is in the set.
func (s Set) Contains(n int) bool { return s.words[n/64]&(1<<(n%64)) != 0 }

// Len is the number of slots in the set.
func (s Set) Len() int {
	total := 0
	for _, w := range s.words {
		total += bits.OnesCount64(w)
	}
	return total
}

// Union returns the slots that are in either set.
func (s Set) Union(other Set) Set {
	for i, w := range other.words {
		s.words[i] |= w
	}
	return s
}

// Intersect returns the slots that are in both sets.
func (s Set) Intersect(other Set) Set {
	for i, w := range other.words {
		s.words[i] &= w
	}
	return s
}

// Minus returns the slots that are in s and not in other.
func (s Set) Minus(other Set) Set {
	for i, w := range other.words {
		s.words[i] &^= w
	}
	return s
}

// All yields the slots of the set in ascending order.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// Ranges returns the set as the fewest ranges, ascending.
func (s Set) Ranges() []Range {
	var ranges []Range
	for n := range s.All() {
		if last := len(ranges) - 1; last >= 0 && ranges[last].Last == n-1 {
			ranges[last].Last = n
			continue
		}
		ranges = append(ranges, Range{n, n})
	}
	return ranges
}

// String writes the set as "0-5460,5470"; the empty set as "none".
func (s Set) String() string {
	ranges := s.Ranges()
	if len(ranges) == 0 {
		return "none"
	}
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// MarshalText writes the form of [Set.String], the empty set as nothing.
func (s Set) MarshalText() ([]byte, error) {
	if s.Len() == 0 {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what [Set.MarshalText] writes.
func (s *Set) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Parse reads "0-5460,5470 6000-6001": ranges and single slots, parted by
// commas or spaces. The error names the part that is wrong.
func Parse(text string) (Set, error) {
	var s Set
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		r, err := ParseRange(part)
		if err != nil {
			return Set{}, err
		}
		s.AddRange(r)
	}
	return s, nil
}

// ParseRange reads one range, "0-5460", or one slot, "42".
func ParseRange(text string) (Range, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, errFirst := strconv.Atoi(first)
	b, errLast := strconv.Atoi(last)
	if errFirst != nil || errLast != nil || a < 0 || b >= Count || a > b {
		return Range{}, fmt.Errorf("parse slot range %q: want FIRST-LAST or one slot, from 0 to %d", text, Count-1)
	}
	return Range{a, b}, nil
}
