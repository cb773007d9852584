package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slotark/slotark/internal/slot"
)

// slotIndexHeader opens the index: what it is, its version, its columns.
const slotIndexHeader = "# slotark slot index 1: slot keys expiring"

// SlotCount is what one slot holds.
type SlotCount struct {
	Keys     uint32
	Expiring uint32 // keys with an expiry, of Keys
}

// SlotCounts is what each slot of a dump holds.
type SlotCounts [slot.Count]SlotCount

// EncodeSlotIndex returns the index of one dump: the header and one line for
// each slot that the shard owned, also for an empty one, so that a slot the
// index does not name is known not to be the shard's. FORMAT.md describes it.
func EncodeSlotIndex(owned slot.Set, counts *SlotCounts) []byte {
	var out bytes.Buffer
	out.WriteString(slotIndexHeader + "\n")
	for n := range owned.All() {
		fmt.Fprintf(&out, "%d %d %d\n", n, counts[n].Keys, counts[n].Expiring)
	}
	return out.Bytes()
}

// DecodeSlotIndex reads an index and returns the slots it names and what they
// hold. Slots must ascend, so no slot can be named twice.
func DecodeSlotIndex(r io.Reader) (slot.Set, *SlotCounts, error) {
	lines := bufio.NewScanner(r)
	lines.Split(wholeLines)
	if first := lines.Scan(); lines.Err() != nil {
		return slot.Set{}, nil, fmt.Errorf("decode slot index: %w", lines.Err())
	} else if !first || lines.Text() != slotIndexHeader {
		return slot.Set{}, nil, fmt.Errorf("decode slot index: line 1 is not %q", slotIndexHeader)
	}
	var owned slot.Set
	counts := new(SlotCounts)
	last := -1
	for number := 2; lines.Scan(); number++ {
		n, count, err := parseSlotLine(lines.Bytes())
		if err != nil {
			return slot.Set{}, nil, fmt.Errorf("decode slot index: line %d: %w", number, err)
		}
		if n <= last {
			return slot.Set{}, nil, fmt.Errorf("decode slot index: line %d: slot %d after slot %d", number, n, last)
		}
		last = n
		owned.Add(n)
		counts[n] = count
	}
	if err := lines.Err(); err != nil {
		return slot.Set{}, nil, fmt.Errorf("decode slot index: %w", err)
	}
	return owned, counts, nil
}

// wholeLines is bufio.ScanLines without its mercy for a last line that has no
// end: "5460 12 3" could be all that is left of "5460 12 34".
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	advance, line, err := bufio.ScanLines(data, atEOF)
	if advance > 0 && data[advance-1] != '\n' {
		return 0, nil, errors.New("its last line is cut")
	}
	return advance, line, err
}

func parseSlotLine(line []byte) (int, SlotCount, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, SlotCount{}, fmt.Errorf("%d fields, want slot, keys and expiring", len(fields))
	}
	var numbers [3]uint32
	for i, field := range fields {
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return 0, SlotCount{}, fmt.Errorf("%q is not a number below 2^32", field)
		}
		numbers[i] = uint32(n)
	}
	if numbers[0] >= slot.Count {
		return 0, SlotCount{}, fmt.Errorf("slot %d does not exist", numbers[0])
	}
	if numbers[2] > numbers[1] {
		return 0, SlotCount{}, fmt.Errorf("slot %d: %d keys expire of %d", numbers[0], numbers[2], numbers[1])
	}
	return int(numbers[0]), SlotCount{Keys: numbers[1], Expiring: numbers[2]}, nil
}
