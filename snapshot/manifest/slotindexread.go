package manifest

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// ErrIndexVersion is returned for a slot index of a version that this build
// does not know.
var ErrIndexVersion = errors.New("unknown slot index version")

// dumpHeaderBytes is what every dump begins with, REDIS0010: no key lies there.
const dumpHeaderBytes = 9

// DecodeSlotIndex reads an index of any version. What it accepts is to the byte
// what [SlotIndex.Encode] writes. Slots must ascend, so no slot can be named
// twice and no text is too long to be read.
func DecodeSlotIndex(r io.Reader) (*SlotIndex, error) {
	x, err := decodeSlotIndex(r)
	if err != nil {
		return nil, fmt.Errorf("decode slot index: %w", err)
	}
	return x, nil
}

func decodeSlotIndex(r io.Reader) (*SlotIndex, error) {
	lines := bufio.NewScanner(r)
	lines.Split(wholeLines)
	lines.Scan()
	if err := lines.Err(); err != nil {
		return nil, err
	}
	x := new(SlotIndex)
	if err := x.parseHeader(lines.Text()); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	last := -1
	var ranges []placed
	for number := 2; lines.Scan(); number++ {
		n, entry, err := x.parseLine(lines.Bytes())
		if err == nil && n <= last {
			err = fmt.Errorf("slot %d after slot %d", n, last)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		last = n
		x.Owned.Add(n)
		x.Slots[n] = entry
		if have := x.appendLine(nil, n); !bytes.Equal(have, lines.Bytes()) {
			return nil, fmt.Errorf("line %d: slot %d is written as %q, not as %q", number, n, have, lines.Bytes())
		}
		if entry.Bytes > 0 {
			ranges = append(ranges, placed{number, n, entry.Offset, entry.Offset + entry.Bytes})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return x, apart(ranges)
}

// wholeLines is bufio.ScanLines without its mercy for a last line that has no
// end: "5460 12 3" could be all that is left of "5460 12 34".
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errors.New("its last line is cut")
	}
	return 0, nil, nil
}

// parseHeader reads which version the index has, and which its digests have.
func (x *SlotIndex) parseHeader(line string) error {
	if line == slotIndexHeader1 {
		return nil
	}
	if _, err := fmt.Sscanf(line, slotIndexHeader2, &x.DigestVersion); err == nil && x.DigestVersion > 0 && line == x.header() {
		return nil
	}
	rest, titled := strings.CutPrefix(line, slotIndexTitle)
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if version, err := strconv.ParseUint(digits, 10, 32); titled && err == nil && version != 1 && version != 2 {
		return fmt.Errorf("%w %d: this build reads versions 1 and 2, a later slotark may read it", ErrIndexVersion, version)
	}
	return fmt.Errorf("it is neither %q nor %q with a version of the digest for %%d", slotIndexHeader1, slotIndexHeader2)
}

// parseLine reads a slot's line.
func (x *SlotIndex) parseLine(line []byte) (int, SlotEntry, error) {
	fields, names := bytes.Fields(line), "slot, keys and expiring"
	want := 3
	if x.DigestVersion > 0 {
		want, names = 6, "slot, keys, expiring, digest, offset and bytes"
	}
	if len(fields) != want {
		return 0, SlotEntry{}, fmt.Errorf("%d fields, want %s", len(fields), names)
	}
	var numbers [3]uint32
	for i, field := range fields[:3] {
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return 0, SlotEntry{}, fmt.Errorf("%q is not a number below 2^32", field)
		}
		numbers[i] = uint32(n)
	}
	if numbers[0] >= slot.Count {
		return 0, SlotEntry{}, fmt.Errorf("slot %d does not exist", numbers[0])
	}
	n, entry := int(numbers[0]), SlotEntry{Keys: numbers[1], Expiring: numbers[2]}
	if entry.Expiring > entry.Keys {
		return 0, SlotEntry{}, fmt.Errorf("slot %d: %d keys expire of %d", n, entry.Expiring, entry.Keys)
	}
	if x.DigestVersion == 0 {
		return n, entry, nil
	}
	if err := entry.parseDigest(fields[3], fields[4], fields[5]); err != nil {
		return 0, SlotEntry{}, fmt.Errorf("slot %d: %w", n, err)
	}
	return n, entry, nil
}

// parseDigest reads the columns that version 1 has not.
func (e *SlotEntry) parseDigest(digest, offset, size []byte) error {
	if err := e.Digest.UnmarshalText(digest); err != nil {
		return err
	}
	if string(offset) != "-" || string(size) != "-" {
		for _, column := range []struct {
			text []byte
			to   *int64
		}{{offset, &e.Offset}, {size, &e.Bytes}} {
			n, err := strconv.ParseUint(string(column.text), 10, 63)
			if err != nil {
				return fmt.Errorf("%q is not a number below 2^63", column.text)
			}
			*column.to = int64(n)
		}
		if e.Offset < dumpHeaderBytes || e.Bytes == 0 || e.Bytes > math.MaxInt64-e.Offset {
			return fmt.Errorf("no keys lie in %d bytes from byte %d of a dump", e.Bytes, e.Offset)
		}
	}
	if e.Keys == 0 && *e != (SlotEntry{}) {
		return errors.New("it has no keys, and a digest or a range")
	}
	return nil
}

// placed is where a slot's keys lie, and the line that says so.
type placed struct {
	line, slot int
	first, end int64
}

// apart finds two slots that lie in the same bytes. Slots may lie in a dump in
// any order: before Redis 7.4 a dump is not written slot by slot.
func apart(ranges []placed) error {
	slices.SortFunc(ranges, func(a, b placed) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return cmp.Compare(a.line, b.line)
	})
	for i := 1; i < len(ranges); i++ {
		if a, b := ranges[i-1], ranges[i]; b.first < a.end {
			return fmt.Errorf("line %d: slot %d: its bytes %d to %d are also those of slot %d, line %d", b.line, b.slot, b.first, b.end, a.slot, a.line)
		}
	}
	return nil
}
