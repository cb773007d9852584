package rdb

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// hasher gathers the bytes of one item and gives the first half of their
// SHA-256. Items that fit its buffer, nearly all, are hashed in one call
// without state; longer ones stream through.
//
// Where no digests are asked for, it gathers what tells an item from others,
// for [hasher.id], and is quiet from there to the next item.
type hasher struct {
	digests bool
	quiet   bool // nothing more of this item is needed
	buf     []byte
	stream  hash.Hash
	spilled bool
	text0   int               // where the last text begins in buf
	view    *viewer           // shows the items; nil: nobody looks
	out     [sha256.Size]byte // the stream's result: memory of its own would escape
}

const hasherBuffer = 4 << 10

func newHasher(digests bool) *hasher {
	return &hasher{digests: digests, buf: make([]byte, 0, hasherBuffer), stream: sha256.New()}
}

// begin starts an item of a kind: tags keep apart what means different things.
func (h *hasher) begin(tag byte) {
	h.buf = append(h.buf[:0], tag)
	h.spilled, h.quiet = false, false
}

// hush says that what follows is only of use to a digest.
func (h *hasher) hush() { h.quiet = !h.digests }

// id stands for what the item holds so far, among the items of a set.
func (h *hasher) id(set *idSet) id {
	if !h.spilled {
		return set.of(h.buf)
	}
	h.spill()
	h.stream.Sum(h.out[:0])
	number := binary.LittleEndian.Uint32
	return id{number(h.out[:]), number(h.out[4:]), number(h.out[8:]) | 1}
}

// write adds raw bytes.
func (h *hasher) write(p []byte) {
	if h.quiet {
		return
	}
	if len(p) <= hasherBuffer-len(h.buf) {
		h.buf = append(h.buf, p...)
		return
	}
	h.spill()
	if len(p) >= hasherBuffer {
		h.stream.Write(p)
		h.view.take(p, false)
		return
	}
	h.buf = append(h.buf, p...)
}

// spill moves the buffer into the stream.
func (h *hasher) spill() {
	h.view.take(h.buf, !h.spilled)
	if !h.spilled {
		h.stream.Reset()
		h.spilled = true
	}
	h.stream.Write(h.buf)
	h.buf = h.buf[:0]
}

// number adds an integer in eight bytes.
func (h *hasher) number(n uint64) {
	if h.quiet {
		return
	}
	if hasherBuffer-len(h.buf) < 8 {
		h.spill()
	}
	h.buf = binary.LittleEndian.AppendUint64(h.buf, n)
}

// length adds the length of a text that follows.
func (h *hasher) length(n uint64) {
	h.number(n)
	h.text0 = len(h.buf)
}

// text adds a string behind its length.
func (h *hasher) text(p []byte) {
	if h.quiet {
		return
	}
	h.length(uint64(len(p)))
	h.write(p)
}

// sum ends the item. It is zero where no digests are asked for.
func (h *hasher) sum() Digest {
	if !h.digests {
		return Digest{}
	}
	h.endView()
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
