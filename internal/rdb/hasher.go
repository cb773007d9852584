package rdb

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// hasher gathers the bytes of one item and gives the first half of their
// SHA-256. Items that fit its buffer, nearly all, are hashed in one call
// without state; longer ones stream through.
type hasher struct {
	buf     []byte
	stream  hash.Hash
	spilled bool
	out     [sha256.Size]byte // the stream's result: memory of its own would escape
}

const hasherBuffer = 4 << 10

func newHasher() *hasher {
	return &hasher{buf: make([]byte, 0, hasherBuffer), stream: sha256.New()}
}

// begin starts an item of a kind: tags keep apart what means different things.
func (h *hasher) begin(tag byte) {
	h.buf = append(h.buf[:0], tag)
	h.spilled = false
}

// write adds raw bytes.
func (h *hasher) write(p []byte) {
	if len(p) <= hasherBuffer-len(h.buf) {
		h.buf = append(h.buf, p...)
		return
	}
	h.spill()
	if len(p) >= hasherBuffer {
		h.stream.Write(p)
		return
	}
	h.buf = append(h.buf, p...)
}

// spill moves the buffer into the stream.
func (h *hasher) spill() {
	if !h.spilled {
		h.stream.Reset()
		h.spilled = true
	}
	h.stream.Write(h.buf)
	h.buf = h.buf[:0]
}

// number adds an integer in eight bytes.
func (h *hasher) number(n uint64) {
	if hasherBuffer-len(h.buf) < 8 {
		h.spill()
	}
	h.buf = binary.LittleEndian.AppendUint64(h.buf, n)
}

// text adds a string behind its length.
func (h *hasher) text(p []byte) {
	h.number(uint64(len(p)))
	h.write(p)
}

// sum ends the item.
func (h *hasher) sum() Digest {
	if !h.spilled {
		h.out = sha256.Sum256(h.buf)
	} else {
		h.spill()
		h.stream.Sum(h.out[:0])
	}
	return Digest{binary.BigEndian.Uint64(h.out[:]), binary.BigEndian.Uint64(h.out[8:])}
}

// bag adds up items whose order means nothing.
type bag struct {
	sum   Digest
	count uint64
}

func (b *bag) add(item Digest) {
	b.sum = b.sum.Add(item)
	b.count++
}
