package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	indexHeader1 = "# slotark slot index 1: slot keys expiring\n"
	indexHeader2 = "# slotark slot index 2, digest 1: slot keys expiring digest offset bytes\n"
	aDigest      = "00112233445566778899aabbccddeeff"
	noDigest     = "00000000000000000000000000000000"
)

// digestOf is any digest that differs for each n.
func digestOf(n int) rdb.Digest {
	return rdb.DigestOf([rdb.DigestSize]byte{0: 0xf0, 7: byte(n >> 8), 8: byte(n), 15: 0x0d})
}

// sampleIndex has every form a line can take.
func sampleIndex() *manifest.SlotIndex {
	x := &manifest.SlotIndex{
		Owned:         slot.SetOf(slot.Range{First: 2, Last: 6}, slot.Range{First: 16383, Last: 16383}),
		DigestVersion: 1,
	}
	x.Slots[3] = manifest.SlotEntry{Keys: 12, Expiring: 4, Digest: digestOf(3), Offset: 900, Bytes: 100}
	x.Slots[4] = manifest.SlotEntry{Keys: 1, Expiring: 1, Digest: digestOf(4), Offset: 9, Bytes: 891}
	x.Slots[5] = manifest.SlotEntry{Keys: 2, Digest: digestOf(5)} // not in one piece
	x.Slots[6] = manifest.SlotEntry{Keys: 1}                      // a sum may be zero by chance
	x.Slots[16383] = manifest.SlotEntry{Keys: math.MaxUint32, Expiring: math.MaxUint32, Digest: digestOf(16383), Offset: 1000, Bytes: math.MaxInt64 - 1000}
	return x
}

// The golden files are kept for ever. That of version 1 was written by the
// slotark that knew no other, so it is read, and never rewritten.
func TestGoldenSlotIndex(t *testing.T) {
	old := &manifest.SlotIndex{Owned: sampleIndex().Owned}
	for n, e := range sampleIndex().Slots {
		old.Slots[n] = manifest.SlotEntry{Keys: e.Keys, Expiring: e.Expiring}
	}
	for name, want := range map[string]*manifest.SlotIndex{"slots-v1.idx": old, "slots-v2.idx": sampleIndex()} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			if *update && want.DigestVersion > 0 {
				if err := os.WriteFile(path, want.Encode(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := want.Encode(); !bytes.Equal(got, golden) {
				t.Errorf("it is written another way than it was:\n%swant\n%s", got, golden)
			}
			got, err := manifest.DecodeSlotIndex(bytes.NewReader(golden))
			if err != nil {
				t.Fatal(err)
			}
			if *got != *want {
				t.Error("the golden slot index reads otherwise")
			}
		})
	}
}

// A slot that is not the shard's must not appear, whatever is known of it.
func TestSlotIndexNamesOwnedSlotsOnly(t *testing.T) {
	x := &manifest.SlotIndex{Owned: slot.SetOf(slot.Range{First: 7, Last: 7}), DigestVersion: 12}
	x.Slots[9] = manifest.SlotEntry{Keys: 99, Digest: digestOf(9)}
	want := strings.Replace(indexHeader2, "digest 1", "digest 12", 1) + "7 0 0 " + noDigest + " - -\n"
	if got := string(x.Encode()); got != want {
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
		for version := range 3 { // 0: without digests
			t.Run(fmt.Sprintf("%s, digest %d", name, version), func(t *testing.T) {
				want := &manifest.SlotIndex{Owned: owned, DigestVersion: version}
				for n := range owned.All() {
					entry := manifest.SlotEntry{Keys: uint32(n * 7), Expiring: uint32(n * 3)}
					if version > 0 && n > 0 {
						entry.Digest = digestOf(n)
					}
					if version > 0 && n%3 > 0 { // from the last slot to the first
						entry.Offset, entry.Bytes = int64(slot.Count-n)<<40, 1<<40
					}
					want.Slots[n] = entry
				}
				got, err := manifest.DecodeSlotIndex(iotest.HalfReader(bytes.NewReader(want.Encode())))
				if err != nil {
					t.Fatal(err)
				}
				if *got != *want {
					t.Error("it came back otherwise")
				}
			})
		}
	}
}

// FORMAT.md says how large an index can be.
func TestSlotIndexSize(t *testing.T) {
	x := &manifest.SlotIndex{Owned: slot.Full(), DigestVersion: math.MaxInt32}
	for n := range x.Slots {
		x.Slots[n] = manifest.SlotEntry{Keys: math.MaxUint32, Expiring: math.MaxUint32, Offset: math.MaxInt64, Bytes: math.MaxInt64}
	}
	if size := float64(len(x.Encode())) / (1 << 20); size > 1.6 {
		t.Errorf("an index can take %.2f MiB, FORMAT.md says 1.6", size)
	}
}

// Each thing that can be wrong with an index is caused once and found once.
func TestDecodeSlotIndexFinds(t *testing.T) {
	one := "0 1 0 " + aDigest
	cases := map[string]struct{ text, want string }{
		"nothing":                {"", "line 1: it is neither"},
		"no header":              {"0 1 0\n", "line 1: it is neither"},
		"a later version":        {"# slotark slot index 3, digest 1: slot\n", "line 1: unknown slot index version 3"},
		"a version of no number": {"# slotark slot index two: slot keys expiring\n", "line 1: it is neither"},
		"a digest of version 0":  {strings.Replace(indexHeader2, "digest 1", "digest 0", 1), "line 1: it is neither"},
		"a digest below 0":       {strings.Replace(indexHeader2, "digest 1", "digest -1", 1), "line 1: it is neither"},
		"a digest past numbers":  {strings.Replace(indexHeader2, "digest 1", "digest 99999999999999999999", 1), "line 1: it is neither"},
		"a digest with a zero":   {strings.Replace(indexHeader2, "digest 1", "digest 01", 1), "line 1: it is neither"},
		"version 1 of version 2": {"# slotark slot index 2: slot keys expiring\n", "line 1: it is neither"},
		"other columns":          {"# slotark slot index 1: slot keys\n", "line 1: it is neither"},
		"more columns":           {strings.TrimSuffix(indexHeader2, "\n") + " more\n", "line 1: it is neither"},
		"a header with CR":       {strings.TrimSuffix(indexHeader2, "\n") + "\r\n", "line 1: it is neither"},
		"a long first line":      {strings.Repeat("x", 1<<20), "token too long"},
		"a long line":            {indexHeader1 + strings.Repeat("1", 1<<20) + " 1 1\n", "token too long"},
		"two fields":             {indexHeader1 + "0 1\n", "line 2: 2 fields"},
		"four fields":            {indexHeader1 + "0 1 0 5\n", "line 2: 4 fields"},
		"fields of version 2":    {indexHeader1 + one + " 9 1\n", "line 2: 6 fields"},
		"fields of version 1":    {indexHeader2 + "0 1 0\n", "line 2: 3 fields, want slot, keys, expiring, digest"},
		"an empty line":          {indexHeader1 + "0 1 0\n\n1 1 0\n", "line 3: 0 fields"},
		"no such slot":           {indexHeader1 + "16384 1 0\n", "slot 16384 does not exist"},
		"a slot below zero":      {indexHeader1 + "-1 1 0\n", `"-1" is not a number`},
		"a slot twice":           {indexHeader1 + "7 1 0\n7 1 0\n", "line 3: slot 7 after slot 7"},
		"slots descend":          {indexHeader1 + "7 1 0\n6 1 0\n", "line 3: slot 6 after slot 7"},
		"keys past 32 bits":      {indexHeader1 + "0 4294967296 0\n", `"4294967296" is not a number below 2^32`},
		"keys in words":          {indexHeader1 + "0 many 0\n", `"many" is not a number`},
		"more expiring":          {indexHeader1 + "0 1 2\n", "slot 0: 2 keys expire of 1"},
		"a leading zero":         {indexHeader1 + "0 1 00\n", `line 2: slot 0 is written as "0 1 0", not as "0 1 00"`},
		"two spaces":             {indexHeader2 + "0  1 0 " + aDigest + " - -\n", "line 2: slot 0 is written as"},
		"a line with CR":         {indexHeader2 + one + " - -\r\n", "line 2: slot 0 is written as"},
		"a digest in capitals":   {indexHeader2 + strings.ToUpper(one) + " - -\n", "line 2: slot 0 is written as"},
		"a short digest":         {indexHeader2 + one[:len(one)-1] + " - -\n", "line 2: slot 0: parse digest"},
		"a digest of no digits":  {indexHeader2 + "0 1 0 x" + aDigest[1:] + " - -\n", "line 2: slot 0: parse digest"},
		"a digest of no keys":    {indexHeader2 + "0 0 0 " + aDigest + " - -\n", "line 2: slot 0: it has no keys, and a digest or a range"},
		"a range of no keys":     {indexHeader2 + "0 0 0 " + noDigest + " 9 1\n", "line 2: slot 0: it has no keys, and a digest or a range"},
		"an offset alone":        {indexHeader2 + one + " 9 -\n", `line 2: slot 0: "-" is not a number below 2^63`},
		"bytes alone":            {indexHeader2 + one + " - 1\n", `line 2: slot 0: "-" is not a number below 2^63`},
		"bytes below zero":       {indexHeader2 + one + " 9 -1\n", `"-1" is not a number below 2^63`},
		"offset past 63 bits":    {indexHeader2 + one + " 9223372036854775808 1\n", `"9223372036854775808" is not a number below 2^63`},
		"in the dump's header":   {indexHeader2 + one + " 8 9\n", "line 2: slot 0: no keys lie in 9 bytes from byte 8"},
		"keys without bytes":     {indexHeader2 + one + " 9 0\n", "line 2: slot 0: no keys lie in 0 bytes from byte 9"},
		"an end past 63 bits":    {indexHeader2 + one + " 9223372036854775807 1\n", "line 2: slot 0: no keys lie in 1 bytes"},
		"a byte of two slots":    {indexHeader2 + one + " 9 5\n1 1 0 " + aDigest + " 13 5\n", "line 3: slot 1: its bytes 13 to 18 are also those of slot 0, line 2"},
		"one within another":     {indexHeader2 + one + " 20 5\n1 1 0 " + aDigest + " 9 50\n", "are also those of slot 1, line 3"},
		"the same bytes":         {indexHeader2 + one + " 9 5\n1 1 0 " + aDigest + " 9 5\n", "line 3: slot 1: its bytes 9 to 14"},
		"cut within a line":      {indexHeader1 + "0 1 0\n1 12", "its last line is cut"},
		"cut before its end":     {indexHeader1 + "0 1 0\n1 12 3", "its last line is cut"},
		"cut in a number":        {indexHeader2 + one + " 9 1", "its last line is cut"},
		"cut in the header":      {indexHeader1[:len(indexHeader1)-1], "its last line is cut"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x, err := manifest.DecodeSlotIndex(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if x != nil {
				t.Error("there is an index beside the error")
			}
			if unknown := name == "a later version"; errors.Is(err, manifest.ErrIndexVersion) != unknown {
				t.Errorf("%v: is it ErrIndexVersion: %v", err, !unknown)
			}
		})
	}
}

// A store that fails must not look like an index that is damaged: that was so
// when it failed before the end of the first line.
func TestDecodeSlotIndexReportsAFailingRead(t *testing.T) {
	broken := errors.New("the store went away")
	for name, before := range map[string]string{"at once": "", "in the header": indexHeader1[:9], "in a line": indexHeader1 + "0 1", "between lines": indexHeader1 + "0 1 0\n"} {
		t.Run(name, func(t *testing.T) {
			r := io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))
			if _, err := manifest.DecodeSlotIndex(r); !errors.Is(err, broken) {
				t.Errorf("got %v, want the reader's own error", err)
			}
		})
	}
}

// A fingerprint is of digests of one definition, or of none.
func TestFingerprint(t *testing.T) {
	index := func(version, n int) *manifest.SlotIndex {
		x := &manifest.SlotIndex{Owned: slot.SetOf(slot.Range{First: n, Last: n + 1}), DigestVersion: version}
		x.Slots[n] = manifest.SlotEntry{Keys: 1, Digest: digestOf(n)}
		x.Slots[n+1] = manifest.SlotEntry{Keys: 1, Digest: digestOf(n + 1)}
		return x
	}
	all := digestOf(1).Add(digestOf(2)).Add(digestOf(5)).Add(digestOf(6))
	cases := map[string]struct {
		of      []*manifest.SlotIndex
		version int
		want    rdb.Digest
	}{
		"nothing":                 {nil, 0, rdb.Digest{}},
		"one version":             {[]*manifest.SlotIndex{index(2, 1), index(2, 5)}, 2, all},
		"in another order":        {[]*manifest.SlotIndex{index(2, 5), index(2, 1)}, 2, all},
		"two versions":            {[]*manifest.SlotIndex{index(2, 1), index(1, 5), index(2, 7)}, 0, rdb.Digest{}},
		"the last has no digests": {[]*manifest.SlotIndex{index(2, 1), index(0, 5)}, 0, rdb.Digest{}},
		"the first has none":      {[]*manifest.SlotIndex{index(0, 1), index(2, 5)}, 0, rdb.Digest{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var f manifest.Fingerprint
			for _, x := range c.of {
				f.Add(x)
			}
			if f.DigestVersion != c.version || f.Digest != c.want {
				t.Errorf("got %s of version %d, want %s of version %d", f.Digest, f.DigestVersion, c.want, c.version)
			}
		})
	}
}
