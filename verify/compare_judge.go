package verify

import (
	"fmt"
	"strconv"

	"github.com/slotark/slotark/internal/slot"
)

// Codes of a comparison's findings.
const (
	codeSlotOwner  = "slot-owner"       // a slot is not where the snapshot has it
	codeSlotCount  = "slot-count"       // a primary counts keys that cannot be
	codeSlotDiffer = "slot-differs"     // a slot's keys are not those of the snapshot
	codeMissing    = "key-missing"      // keys of the snapshot that the cluster does not hold
	codeUnexpected = "key-unexpected"   // keys that the snapshot does not hold
	codeExpiry     = "key-expiry"       // keys with another expiry
	codeType       = "key-type"         // keys of another type
	codeValue      = "key-value"        // keys with another value
	codeFunctions  = "functions-differ" // function libraries that are not the snapshot's
)

// report adds a finding, from any goroutine.
func (c *comparing) report(code, subject, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = append(c.findings, finding(code, subject, "%s", detail).Finding)
}

// judge compares the sums and counts, slot for slot, and returns the slots
// whose keys are to be named.
func (c *comparing) judge() slot.Set {
	c.compareFunctions()
	var differing slot.Set
	for n := range c.Snapshot.Manifest.Slots().All() {
		if !c.live[n].holdsSame(&c.saved[n]) {
			differing.Add(n)
		}
	}
	c.compareIndexes()
	tooMany, tooFew := c.miscounted()
	c.reportCounts(tooMany, "more keys than the snapshot holds")
	c.reportCounts(tooFew, "fewer keys than the snapshot holds, less those that had expired")
	return differing
}

// compareIndexes finds slots whose dump, whole as it is, holds something else than
// was put there when the snapshot was taken: the index says what that was.
func (c *comparing) compareIndexes() {
	var changed slot.Set
	for n := range c.Snapshot.Manifest.Slots().All() {
		if digest := c.digests[n]; digest != nil && *digest != c.saved[n].whole {
			changed.Add(n)
		}
	}
	if changed.Len() > 0 {
		c.report(codeSlotDigest, slotsText(changed), "the stored dump is whole and holds other keys or values than its slot index says: it is not what was taken")
	}
}

func (c *comparing) reportCounts(slots slot.Set, what string) {
	if slots.Len() == 0 {
		return
	}
	first := slots.Ranges()[0].First
	c.report(codeSlotCount, slotsText(slots), fmt.Sprintf("%s counted %s: %d of %d in slot %d",
		c.ownerOf(first), what, c.counts[first], c.indexed[first], first))
}

// maxRanges keeps a finding readable where thousands of slots differ.
const maxRanges = 20

// slotsText names slots as ranges, the first of them where there are many.
func slotsText(slots slot.Set) string {
	ranges := slots.Ranges()
	if len(ranges) <= maxRanges {
		if slots.Len() == 1 {
			return "slot " + slots.String()
		}
		return "slots " + slots.String()
	}
	return fmt.Sprintf("slots %s and %d more", slot.SetOf(ranges[:maxRanges]...),
		slots.Len()-slot.SetOf(ranges[:maxRanges]...).Len())
}

// maxKeyBytes is how much of a key a finding shows.
const maxKeyBytes = 64

// quoteKey writes a key, which may hold any byte, for a person.
func quoteKey(key []byte) string {
	if len(key) > maxKeyBytes {
		return strconv.Quote(string(key[:maxKeyBytes])) + "…"
	}
	return strconv.Quote(string(key))
}
