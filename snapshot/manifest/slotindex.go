package manifest

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// SlotEntry is what one slot of a dump holds, and where.
type SlotEntry struct {
	Keys     uint32
	Expiring uint32     // keys with an expiry, of Keys
	Digest   rdb.Digest // the sum over the keys; the zero value where there is none
	// Offset and Bytes are where the slot's key records lie in the dump, where
	// they lie in one piece. Bytes is 0 where they do not, or where there is none.
	Offset, Bytes int64
}

// SlotIndex is what each slot of one dump holds. FORMAT.md describes its text.
type SlotIndex struct {
	Owned slot.Set // the shard's slots, also those without keys
	// DigestVersion is the version of the digests' definition. Where it is not
	// [rdb.DigestVersion] the digests must not be compared with any that this
	// build computes. 0: the index is of version 1 and has no digests and no ranges.
	DigestVersion int
	Slots         [slot.Count]SlotEntry
}

// NewSlotIndex makes the index of a dump from what inspecting it found. The
// report must come from an inspection without error; without its digests the
// index knows no ranges either.
func NewSlotIndex(owned slot.Set, report *rdb.Report) *SlotIndex {
	x := &SlotIndex{Owned: owned}
	if report.SlotDigests != nil {
		x.DigestVersion = rdb.DigestVersion
	}
	for n := range owned.All() {
		entry := SlotEntry{Keys: report.Slots[n].Keys, Expiring: report.Slots[n].Expiring}
		if x.DigestVersion > 0 {
			at := report.SlotRanges[n]
			entry.Digest, entry.Offset, entry.Bytes = report.SlotDigests[n], at.First, at.End-at.First
		}
		x.Slots[n] = entry
	}
	return x
}

// Digest is the sum over all slots: that of the whole dump.
func (x *SlotIndex) Digest() rdb.Digest {
	var sum rdb.Digest
	for n := range x.Owned.All() {
		sum = sum.Add(x.Slots[n].Digest)
	}
	return sum
}

// Fingerprint adds up the digests of a snapshot's shards: two snapshots hold
// the same keys with the same values and expiries if their fingerprints, of one
// digest version, are equal. The zero value is ready to be added to.
type Fingerprint struct {
	Digest        rdb.Digest
	DigestVersion int // 0: not known, as an index has no digests or those of another version than the rest
	shards        int
}

// Add takes in one shard's index.
func (f *Fingerprint) Add(x *SlotIndex) {
	if f.shards++; f.shards == 1 {
		f.DigestVersion = x.DigestVersion
	}
	if f.DigestVersion != x.DigestVersion {
		f.DigestVersion = 0
	}
	if f.DigestVersion == 0 {
		f.Digest = rdb.Digest{}
		return
	}
	f.Digest = f.Digest.Add(x.Digest())
}

// The first line says what the index is, its version, and its columns.
const (
	slotIndexTitle   = "# slotark slot index "
	slotIndexHeader1 = slotIndexTitle + "1: slot keys expiring"
	slotIndexHeader2 = slotIndexTitle + "2, digest %d: slot keys expiring digest offset bytes"
)

// header is the index's first line, without its end.
func (x *SlotIndex) header() string {
	if x.DigestVersion == 0 {
		return slotIndexHeader1
	}
	return fmt.Sprintf(slotIndexHeader2, x.DigestVersion)
}

// Encode returns the index as text: the header and one line for each slot that
// the shard owned, also for an empty one, so that a slot the index does not name
// is known not to be the shard's. An index without digests is written in
// version 1, which has no place for them.
func (x *SlotIndex) Encode() []byte {
	var out bytes.Buffer
	out.WriteString(x.header() + "\n")
	for n := range x.Owned.All() {
		out.Write(append(x.appendLine(out.AvailableBuffer(), n), '\n'))
	}
	return out.Bytes()
}

// appendLine writes a slot's line, without its end.
func (x *SlotIndex) appendLine(to []byte, n int) []byte {
	entry := &x.Slots[n]
	to = strconv.AppendInt(to, int64(n), 10)
	to = strconv.AppendUint(append(to, ' '), uint64(entry.Keys), 10)
	to = strconv.AppendUint(append(to, ' '), uint64(entry.Expiring), 10)
	if x.DigestVersion == 0 {
		return to
	}
	to = append(append(to, ' '), entry.Digest.String()...)
	if entry.Bytes == 0 {
		return append(to, " - -"...)
	}
	to = strconv.AppendInt(append(to, ' '), entry.Offset, 10)
	return strconv.AppendInt(append(to, ' '), entry.Bytes, 10)
}
