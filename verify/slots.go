package verify

import (
	"fmt"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Codes of what a sound dump and its slot index can say differently of a slot.
const (
	codeSlotKeys   = "slot-keys"   // how many keys it holds
	codeSlotDigest = "slot-digest" // what they come to
	codeSlotBytes  = "slot-bytes"  // where they lie
)

// slotDifference is a slot of which a dump and its index say different things.
type slotDifference struct{ code, detail string }

// compareIndex compares a sound dump with its index slot for slot, as far as
// both know: digests only where they were asked for and are of one definition,
// ranges only where the index is of a version that has them.
func compareIndex(owned slot.Set, report *rdb.Report, index *manifest.SlotIndex) []slotDifference {
	found := firstSlot(owned, codeSlotKeys, func(n int) string {
		have, want := report.Slots[n], index.Slots[n]
		if have.Keys == want.Keys && have.Expiring == want.Expiring {
			return ""
		}
		return fmt.Sprintf("holds %d keys, %d of them expiring; the slot index says %d and %d",
			have.Keys, have.Expiring, want.Keys, want.Expiring)
	})
	if report.SlotDigests != nil && index.DigestVersion == rdb.DigestVersion {
		found = append(found, firstSlot(owned, codeSlotDigest, func(n int) string {
			have, want := report.SlotDigests[n], index.Slots[n].Digest
			if have == want {
				return ""
			}
			return fmt.Sprintf("has the digest %s; the slot index says %s", have, want)
		})...)
	}
	if report.SlotRanges != nil && index.DigestVersion > 0 {
		found = append(found, firstSlot(owned, codeSlotBytes, func(n int) string {
			at, want := report.SlotRanges[n], index.Slots[n]
			if at.First == want.Offset && at.End-at.First == want.Bytes {
				return ""
			}
			return fmt.Sprintf("has its keys in %s; the slot index says in %s",
				piece(at.First, at.End-at.First), piece(want.Offset, want.Bytes))
		})...)
	}
	return found
}

// firstSlot returns the first slot that differs and how many more do: one is
// proof enough, and thousands of lines help nobody.
func firstSlot(owned slot.Set, code string, differs func(n int) string) []slotDifference {
	var first string
	slots := 0
	for n := range owned.All() {
		if detail := differs(n); detail != "" {
			if slots++; slots == 1 {
				first = fmt.Sprintf("slot %d %s", n, detail)
			}
		}
	}
	switch slots {
	case 0:
		return nil
	case 1:
		return []slotDifference{{code, first}}
	}
	return []slotDifference{{code, fmt.Sprintf("%s; %d slots differ so", first, slots)}}
}

// piece says where a slot's keys lie in a dump.
func piece(offset, bytes int64) string {
	if bytes == 0 {
		return "no one piece"
	}
	return fmt.Sprintf("%d bytes from byte %d", bytes, offset)
}
