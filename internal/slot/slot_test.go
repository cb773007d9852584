package slot_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/slot"
)

// The expected slots are CLUSTER KEYSLOT's answers on Redis 7.0.15.
func TestOf(t *testing.T) {
	cases := map[string]int{
		"":                   0,
		"123456789":          12739, // CRC16 0x31C3, the specification's check value
		"foo":                12182,
		"{foo}bar":           12182,
		"foo{}{bar}":         8363, // an empty first tag means no tag
		"foo{{bar}}zap":      4015, // the tag is "{bar"
		"foo{bar}{zap}":      5061, // the first tag counts
		"{user1000}.a":       3443,
		"{unclosed":          470,
		"\x00\xff{\x00}\x7f": 0,
	}
	for key, want := range cases {
		if got := slot.Of([]byte(key)); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

func TestSetRanges(t *testing.T) {
	for _, text := range []string{"0", "16383", "0-16383", "0-63", "64", "1,3,5-7", "63-64,16382-16383"} {
		set, err := slot.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.String(); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
	if got := slot.SetOf().String(); got != "none" {
		t.Errorf("the empty set reads %q", got)
	}
}

func TestSetAlgebra(t *testing.T) {
	low, high := slot.SetOf(slot.Range{First: 0, Last: 9}), slot.SetOf(slot.Range{First: 5, Last: 14})
	for name, got := range map[string]slot.Set{
		"0-14": low.Union(high), "5-9": low.Intersect(high), "0-4": low.Minus(high), "15-16383": slot.Full().Minus(low.Union(high)),
	} {
		if got.String() != name {
			t.Errorf("got %s, want %s", got, name)
		}
	}
	if n := slot.Full().Len(); n != slot.Count {
		t.Errorf("the full set holds %d slots", n)
	}
}

func TestSetJSON(t *testing.T) {
	want := slot.SetOf(slot.Range{First: 3, Last: 9}, slot.Range{First: 11, Last: 11})
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"3-9,11"` {
		t.Fatalf("%s %v", text, err)
	}
	var got slot.Set
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("read back %s, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"16384", "-1", "5-4", "a", "1-", "1-2-3", "0-99999999999999999999"} {
		if set, err := slot.Parse(text); err == nil || !strings.Contains(err.Error(), "16383") {
			t.Errorf("%q gave %s, %v", text, set, err)
		}
	}
}

// TestOfAgainstDefinition holds the tables against CRC16 as it is defined, bit
// by bit, for keys of every length around the eight bytes taken at a time.
func TestOfAgainstDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for length := range 64 {
		key := make([]byte, length)
		for range 50 {
			var crc uint16
			for i := range key {
				key[i] = byte('a' + random.IntN(26)) // no braces: they have a test of their own
				crc ^= uint16(key[i]) << 8
				for range 8 {
					carry := crc & 0x8000
					crc <<= 1
					if carry != 0 {
						crc ^= 0x1021
					}
				}
			}
			if got, want := slot.Of(key), int(crc%slot.Count); got != want {
				t.Fatalf("slot of %q is %d, want %d", key, got, want)
			}
		}
	}
}

// TestAddRange tries every range whose ends are near the ends of words.
func TestAddRange(t *testing.T) {
	var ends []int
	for _, edge := range []int{0, 64, 128, 8192, slot.Count} {
		for d := -2; d <= 2; d++ {
			if n := edge + d; n >= 0 && n < slot.Count {
				ends = append(ends, n)
			}
		}
	}
	for _, first := range ends {
		for _, last := range ends {
			var want, got slot.Set
			want.Add(slot.Count / 3) // what is there stays
			got.Add(slot.Count / 3)
			for n := first; n <= last; n++ {
				want.Add(n)
			}
			if got.AddRange(slot.Range{First: first, Last: last}); got != want {
				t.Fatalf("%d-%d is %s, want %s", first, last, got, want)
			}
		}
	}
}
