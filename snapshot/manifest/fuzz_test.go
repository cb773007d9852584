package manifest_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// FuzzDecode holds Decode to its invariant: what it returns is coherent, and
// can be written and read again without loss.
func FuzzDecode(f *testing.F) {
	good, err := manifest.Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append(bytes.Clone(good), good...))
	f.Add(bytes.Replace(good, []byte("8192-16382"), []byte("8192-16383"), 1))
	f.Add(bytes.Replace(good, []byte("shard-0/"), []byte("../../"), 1))
	f.Add(bytes.Replace(good, []byte(`"prod"`), []byte(`"\ud800"`), 1))
	f.Add([]byte(`{"format_version": 1}`))
	f.Add([]byte(`{"format_version": 2}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Decode(bytes.NewReader(text))
		if err != nil {
			if m != nil {
				t.Fatal("there is a manifest beside the error")
			}
			return
		}
		again, err := manifest.Encode(m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := manifest.Decode(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		third, err := manifest.Encode(back)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(again), string(third)); diff != "" {
			t.Fatalf("it changes with each round:\n%s", diff)
		}
	})
}

// FuzzDecodeSlotIndex: what is accepted names each slot once, holds counts for
// no other, and is written back to the same.
func FuzzDecodeSlotIndex(f *testing.F) {
	counts := new(manifest.SlotCounts)
	counts[1] = manifest.SlotCount{Keys: 10, Expiring: 3}
	f.Add(manifest.EncodeSlotIndex(slot.SetOf(slot.Range{First: 0, Last: 3}, slot.Range{First: 16383, Last: 16383}), counts))
	f.Add(manifest.EncodeSlotIndex(slot.Set{}, counts))
	for _, lines := range []string{"0 1 0\n0 1 0\n", "16384 0 0\n", "0 1 2\n", "0 4294967296 0\n", "0 1 0", "\n", " 0\t1 0 \r\n", "00 01 00\n"} {
		f.Add([]byte(indexHeader + lines))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		owned, counts, err := manifest.DecodeSlotIndex(bytes.NewReader(text))
		if err != nil {
			return
		}
		for n, c := range counts {
			if c.Expiring > c.Keys || c.Keys > 0 && !owned.Contains(n) {
				t.Fatalf("slot %d: %+v, owned: %v", n, c, owned.Contains(n))
			}
		}
		ownedAgain, countsAgain, err := manifest.DecodeSlotIndex(bytes.NewReader(manifest.EncodeSlotIndex(owned, counts)))
		if err != nil || ownedAgain != owned || *countsAgain != *counts {
			t.Fatalf("it comes back otherwise: %v", err)
		}
	})
}
