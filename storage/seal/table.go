package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// frameBytes is how many plain bytes stand in each frame of what is compressed in
// frames; the last one has the rest. Each frame opens by itself: side by side with
// others, and without those before it (see frameWindow).
const frameBytes = 1 << 20

// mostCompressed bounds a frame that is read: what does not compress grows by a few
// bytes for each of its blocks.
const mostCompressed = frameBytes + frameBytes/16

// A table of the frames stands behind them, as contrib/seekable_format of zstd has it: a
// skippable frame, over which every program passes. All numbers are little-endian. The
// checksum of a frame is what it ends in itself (of what it holds, the low 32 bits of
// XXH64): so the table says of every frame which it is, too.
const (
	tableMagic   = 0x184D2A5E
	footerMagic  = 0x8F92EAB1
	headBytes    = 8    // the magic number, and how many bytes follow
	entryBytes   = 12   // of one frame: its compressed size, its plain size, its checksum
	footerBytes  = 9    // how many frames, flags, the magic number
	checksumFlag = 0x80 // the entries have checksums
)

var errTable = errors.New("the table of its frames is not right")

// frameTable is what there is of frames, in order.
type frameTable struct {
	entries []frameEntry
	plain   int64 // what all of them hold
}

type frameEntry struct{ compressed, sum uint32 }

// add adds a frame that holds so much.
func (f *frameTable) add(compressed []byte, plain int) {
	f.entries = append(f.entries, entryOf(compressed))
	f.plain += int64(plain)
}

// entryOf is a frame's entry. Only one that holds nothing has no checksum, and that one
// is alone.
func entryOf(compressed []byte) frameEntry {
	return frameEntry{uint32(len(compressed)), binary.LittleEndian.Uint32(compressed[len(compressed)-frameChecksum:])}
}

// follows tells whether a table has to follow: it does behind a first frame that is
// full, so that an object which was cut behind a frame is not taken for a whole one.
func (f *frameTable) follows() bool { return f.plain >= frameBytes }

// plainOf is how much one frame holds.
func (f *frameTable) plainOf(n int) int {
	return int(min(frameBytes, f.plain-int64(n)*frameBytes))
}

// encode is the skippable frame.
func (f *frameTable) encode() []byte {
	size := len(f.entries)*entryBytes + footerBytes
	out := make([]byte, 0, headBytes+size)
	out = binary.LittleEndian.AppendUint32(out, tableMagic)
	out = binary.LittleEndian.AppendUint32(out, uint32(size))
	for n, entry := range f.entries {
		out = binary.LittleEndian.AppendUint32(out, entry.compressed)
		out = binary.LittleEndian.AppendUint32(out, uint32(f.plainOf(n)))
		out = binary.LittleEndian.AppendUint32(out, entry.sum)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(f.entries)))
	out = append(out, checksumFlag)
	return binary.LittleEndian.AppendUint32(out, footerMagic)
}

// tableBytes is the size of the whole table that ends in a footer; 0: it is not one that
// this package wrote.
func tableBytes(footer []byte) int64 {
	frames := binary.LittleEndian.Uint32(footer)
	if footer[4] != checksumFlag || binary.LittleEndian.Uint32(footer[5:]) != footerMagic || frames > math.MaxInt32/entryBytes {
		return 0
	}
	return headBytes + int64(frames)*entryBytes + footerBytes
}

// decodeTable reads a table, and checks that it is one of frames that fill what stands
// before it.
func decodeTable(text []byte, before int64) (*frameTable, error) {
	table := &frameTable{}
	entries := text[headBytes : len(text)-footerBytes]
	for ; len(entries) > 0; entries = entries[entryBytes:] {
		compressed, plain := binary.LittleEndian.Uint32(entries), binary.LittleEndian.Uint32(entries[4:])
		if compressed < frameChecksum || compressed > mostCompressed || plain > frameBytes {
			return nil, fmt.Errorf("%w: frame %d has %d bytes, and holds %d", errTable, len(table.entries), compressed, plain)
		}
		table.entries = append(table.entries, frameEntry{compressed, binary.LittleEndian.Uint32(entries[8:])})
		table.plain += int64(plain)
		before -= int64(compressed)
	}
	// Written again it is the same only where every frame but the last is full.
	if before != 0 || !table.follows() || !bytes.Equal(table.encode(), text) {
		return nil, errTable
	}
	return table, nil
}
