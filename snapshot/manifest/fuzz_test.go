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
	old, err := manifest.Encode(sampleV1())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	f.Add(bytes.Replace(good, []byte(`"encryption": "age"`), []byte(`"encryption": "none"`), 1))
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

// FuzzDecodeSlotIndex: what is accepted holds nothing of slots it does not name
// or that are empty, has no two slots in the same bytes, and is, to the byte,
// what is written of it.
func FuzzDecodeSlotIndex(f *testing.F) {
	f.Add(sampleIndex().Encode())
	f.Add((&manifest.SlotIndex{Owned: slot.Full()}).Encode())
	f.Add((&manifest.SlotIndex{DigestVersion: 7}).Encode())
	for _, lines := range []string{"0 1 0\n0 1 0\n", "16384 0 0\n", "0 1 2\n", "0 4294967296 0\n", "0 1 0", "\n", " 0\t1 0 \r\n", "00 01 00\n"} {
		f.Add([]byte(indexHeader1 + lines))
	}
	for _, lines := range []string{"0 1 0 " + aDigest + " 9 5\n1 1 0 " + aDigest + " 13 5\n", "0 0 0 " + aDigest + " - -\n", "0 1 0 " + aDigest + " 9223372036854775807 1\n"} {
		f.Add([]byte(indexHeader2 + lines))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := manifest.DecodeSlotIndex(bytes.NewReader(text))
		if err != nil {
			if x != nil {
				t.Fatal("there is an index beside the error")
			}
			return
		}
		var placed []manifest.SlotEntry
		for n, e := range x.Slots {
			if e.Expiring > e.Keys || e.Keys == 0 && e != (manifest.SlotEntry{}) || e.Keys > 0 && !x.Owned.Contains(n) {
				t.Fatalf("slot %d: %+v, owned: %v", n, e, x.Owned.Contains(n))
			}
			for _, other := range placed {
				if e.Bytes > 0 && e.Offset < other.Offset+other.Bytes && other.Offset < e.Offset+e.Bytes {
					t.Fatalf("slot %d lies where another does: %+v, %+v", n, e, other)
				}
			}
			if e.Bytes > 0 {
				placed = append(placed, e)
			}
		}
		again := x.Encode()
		if !bytes.Equal(again, text) {
			t.Fatalf("it is written otherwise:\n%s", again)
		}
		if back, err := manifest.DecodeSlotIndex(bytes.NewReader(again)); err != nil || *back != *x {
			t.Fatalf("it comes back otherwise: %v", err)
		}
	})
}
