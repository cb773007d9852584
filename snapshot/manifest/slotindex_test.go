package manifest_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

const indexHeader = "# slotark slot index 1: slot keys expiring\n"

// The text is a format that others read: it is fixed byte for byte.
func TestSlotIndexText(t *testing.T) {
	counts := new(manifest.SlotCounts)
	counts[3] = manifest.SlotCount{Keys: 12, Expiring: 4}
	counts[16383] = manifest.SlotCount{Keys: 1<<32 - 1, Expiring: 1<<32 - 1}
	counts[9] = manifest.SlotCount{Keys: 99} // not the shard's: must not appear
	owned := slot.SetOf(slot.Range{First: 2, Last: 3}, slot.Range{First: 16383, Last: 16383})
	want := indexHeader + "2 0 0\n3 12 4\n16383 4294967295 4294967295\n"
	if got := string(manifest.EncodeSlotIndex(owned, counts)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSlotIndexRoundTrip(t *testing.T) {
	for name, owned := range map[string]slot.Set{
		"no slot":         {},
		"one slot":        slot.SetOf(slot.Range{First: 5, Last: 5}),
		"the first slots": slot.SetOf(slot.Range{First: 0, Last: 63}),
		"two ranges":      slot.SetOf(slot.Range{First: 0, Last: 5460}, slot.Range{First: 16383, Last: 16383}),
		"all slots":       slot.Full(),
	} {
		t.Run(name, func(t *testing.T) {
			want := new(manifest.SlotCounts)
			for n := range owned.All() {
				want[n] = manifest.SlotCount{Keys: uint32(n * 7), Expiring: uint32(n * 3)}
			}
			text := manifest.EncodeSlotIndex(owned, want)
			slots, got, err := manifest.DecodeSlotIndex(iotest.HalfReader(bytes.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			if slots != owned {
				t.Errorf("slots %s came back as %s", owned, slots)
			}
			if *got != *want {
				t.Error("the counts came back otherwise")
			}
		})
	}
}

// Each thing that can be wrong with an index is caused once and found once.
func TestDecodeSlotIndexFinds(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"nothing":            {"", "line 1 is not"},
		"no header":          {"0 1 0\n", "line 1 is not"},
		"a later version":    {"# slotark slot index 2: slot keys expiring\n", "line 1 is not"},
		"other columns":      {"# slotark slot index 1: slot keys\n", "line 1 is not"},
		"a long first line":  {strings.Repeat("x", 1<<20), "token too long"},
		"a long line":        {indexHeader + strings.Repeat("1", 1<<20) + " 1 1\n", "token too long"},
		"two fields":         {indexHeader + "0 1\n", "line 2: 2 fields"},
		"four fields":        {indexHeader + "0 1 0 5\n", "line 2: 4 fields"},
		"an empty line":      {indexHeader + "0 1 0\n\n1 1 0\n", "line 3: 0 fields"},
		"no such slot":       {indexHeader + "16384 1 0\n", "slot 16384 does not exist"},
		"a slot below zero":  {indexHeader + "-1 1 0\n", `"-1" is not a number`},
		"a slot twice":       {indexHeader + "7 1 0\n7 1 0\n", "line 3: slot 7 after slot 7"},
		"slots descend":      {indexHeader + "7 1 0\n6 1 0\n", "line 3: slot 6 after slot 7"},
		"keys past 32 bits":  {indexHeader + "0 4294967296 0\n", `"4294967296" is not a number below 2^32`},
		"keys in words":      {indexHeader + "0 many 0\n", `"many" is not a number`},
		"more expiring":      {indexHeader + "0 1 2\n", "slot 0: 2 keys expire of 1"},
		"cut within a line":  {indexHeader + "0 1 0\n1 12", "its last line is cut"},
		"cut before its end": {indexHeader + "0 1 0\n1 12 3", "its last line is cut"},
		"cut in the header":  {indexHeader[:len(indexHeader)-1], "its last line is cut"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			owned, counts, err := manifest.DecodeSlotIndex(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if counts != nil || owned.Len() != 0 {
				t.Error("there are counts beside the error")
			}
		})
	}
}

// A store that fails must not look like an index that is damaged: that was so
// when it failed before the end of the first line.
func TestDecodeSlotIndexReportsAFailingRead(t *testing.T) {
	broken := errors.New("the store went away")
	for name, before := range map[string]string{"at once": "", "in the header": indexHeader[:9], "in a line": indexHeader + "0 1", "between lines": indexHeader + "0 1 0\n"} {
		t.Run(name, func(t *testing.T) {
			r := io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))
			if _, _, err := manifest.DecodeSlotIndex(r); !errors.Is(err, broken) {
				t.Errorf("got %v, want the reader's own error", err)
			}
		})
	}
}
