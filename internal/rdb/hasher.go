package rdb

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/zeebo/xxh3"
)

// hasher gathers the bytes of one item and gives their XXH3 in 128 bits. Items
// that fit its buffer, nearly all, are hashed in one call without state; longer
// ones stream through.
//
// Where no digests are asked for, it gathers what tells an item from others,
// for [hasher.id], and is quiet from there to the next item.
type hasher struct {
	digests bool
	quiet   bool // nothing more of this item is needed
	naming  bool // what is written tells the item from others
	spilled bool
	view    *viewer // shows the items; nil: nobody looks
	n       int     // bytes of the item in buf
	buf     [hasherBuffer]byte
	stream  xxh3.Hasher
	name    maphash.Hash // of a spilled item, while naming
	text0   int          // where the last text begins in buf
}

const (
	hasherBuffer = 4 << 10
	// shortCopy is up to how long a text is copied without looking at its length.
	shortCopy = 32
)

func newHasher(digests bool) *hasher {
	return &hasher{digests: digests}
}

// item is what the buffer holds of the item.
func (h *hasher) item() []byte { return h.buf[:h.n] }

// begin starts an item of a kind: tags keep apart what means different things.
func (h *hasher) begin(tag byte) {
	h.buf[0], h.n = tag, 1
	h.spilled, h.quiet, h.naming = false, false, tag != tagKey
}

// hush says that what follows is only of use to a digest.
func (h *hasher) hush() { h.quiet, h.naming = !h.digests, false }

// id stands for what the item holds so far, among the items of a set. Of a long
// item the process's own are 63 bits: enough for members of kilobytes.
func (h *hasher) id(set *idSet) id {
	if !h.spilled {
		return set.ofItem(h.item())
	}
	h.spill()
	return id{h.name.Sum64() | 1, uint32(h.stream.Sum128().Lo)}
}

// write adds raw bytes.
func (h *hasher) write(p []byte) {
	if h.quiet {
		return
	}
	if len(p) > hasherBuffer-h.n {
		h.spill()
	}
	if len(p) <= hasherBuffer-h.n {
		h.n += copy(h.buf[h.n:], p)
		return
	}
	h.stream.Write(p)
	h.view.take(p, false)
	if h.naming {
		h.name.Write(p)
	}
}

// room takes so many bytes into the item that the caller writes, onto what it
// returns: nil if they are to be given to write.
func (h *hasher) room(n uint64) []byte {
	at := h.n
	if h.quiet || n > uint64(hasherBuffer-at) {
		return nil
	}
	h.n += int(n)
	return h.buf[at:at:h.n]
}

// spill moves the buffer into the stream.
func (h *hasher) spill() {
	h.view.take(h.item(), !h.spilled)
	if !h.spilled {
		h.stream.Reset()
		h.name.Reset()
		h.spilled = true
	}
	h.stream.Write(h.item())
	if h.naming {
		h.name.Write(h.item())
	}
	h.n = 0
}

// number adds an integer in eight bytes.
func (h *hasher) number(n uint64) {
	if h.quiet {
		return
	}
	if hasherBuffer-h.n < 8 {
		h.spill()
	}
	binary.LittleEndian.PutUint64(h.buf[h.n:], n)
	h.n += 8
}

// length adds the length of a text that follows.
func (h *hasher) length(n uint64) {
	h.number(n)
	h.text0 = h.n
}

// text adds a string behind its length.
func (h *hasher) text(p []byte) {
	if h.quiet {
		return
	}
	at := h.n + 8
	if len(p) > hasherBuffer-at {
		h.length(uint64(len(p)))
		h.write(p)
		return
	}
	binary.LittleEndian.PutUint64(h.buf[h.n:], uint64(len(p)))
	h.text0, h.n = at, at+len(p)
	// A copy of fixed length is much faster than one that has to look how long it
	// is. What it takes too much lies in the same memory, and is overwritten.
	if len(p) <= shortCopy && cap(p) >= shortCopy && at <= hasherBuffer-shortCopy {
		*(*[shortCopy]byte)(h.buf[at:]) = [shortCopy]byte(p[:shortCopy])
		return
	}
	copy(h.buf[at:], p)
}

// decimal adds an integer as the text it is to commands, behind its length.
func (h *hasher) decimal(n int64) {
	if h.quiet {
		return
	}
	if hasherBuffer-h.n < 8+maxDecimal {
		h.spill()
	}
	at := h.n + 8
	size := putDecimal((*[maxDecimal]byte)(h.buf[at:]), n)
	binary.LittleEndian.PutUint64(h.buf[h.n:], uint64(size))
	h.text0, h.n = at, at+size
}

// key starts a key's item, with all but its value.
func (h *hasher) key(rec *Record) {
	h.begin(tagKey)
	if !h.digests {
		return
	}
	binary.LittleEndian.PutUint64(h.buf[1:], uint64(rec.Family))
	binary.LittleEndian.PutUint64(h.buf[9:], uint64(rec.DB))
	binary.LittleEndian.PutUint64(h.buf[17:], 0)
	h.n = 25
	if rec.HasExpiry {
		h.buf[17] = 1
		binary.LittleEndian.PutUint64(h.buf[25:], uint64(rec.ExpireAt))
		h.n = 33
	}
	h.text(rec.Key)
}

// sum ends the item. It is zero where no digests are asked for.
func (h *hasher) sum() Digest {
	if !h.digests {
		return Digest{}
	}
	h.endView()
	var sum xxh3.Uint128
	if !h.spilled {
		sum = xxh3.Hash128(h.item())
	} else {
		h.spill()
		sum = h.stream.Sum128()
	}
	return Digest{sum.Hi, sum.Lo}
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
