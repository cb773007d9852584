package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// mark is 128 bits of a SHA-256. Two different keys of one cluster share one
// with a probability that no number of keys brings near anything.
type mark [16]byte

// tally is what one side holds in one slot.
type tally struct {
	high, low uint64 // the sum of the marks, modulo 2^128
	keys      uint64 // keys in the sum
	expired   uint64 // keys left out of it: at the cutoff they may have been gone
	gone      uint64 // of the saved side: keys that had expired when they were counted
}

// tallies are written by several goroutines at once without a lock: each owns
// the slots of its shard.
type tallies [slot.Count]tally

func (t *tally) add(m mark) {
	var carry uint64
	t.low, carry = bits.Add64(t.low, binary.LittleEndian.Uint64(m[:8]), 0)
	t.high, _ = bits.Add64(t.high, binary.LittleEndian.Uint64(m[8:]), carry)
	t.keys++
}

// holdsSame tells whether both sides sum up to the same keys.
func (t *tally) holdsSame(other *tally) bool {
	return t.high == other.high && t.low == other.low && t.keys == other.keys
}

// marker turns records into marks. It keeps a buffer, so each goroutine has
// its own.
type marker struct{ buf []byte }

// item is the mark of everything that must be equal of a key. This is the one
// place that decides what is compared: database, family, expiry and name.
// The encoding is left out on purpose: a key may be stored as a listpack on
// one side and as a hash table on the other and be the same.
func (m *marker) item(r *rdb.Record) mark {
	m.head(r)
	m.buf = append(m.buf, byte(r.Family))
	m.buf = binary.LittleEndian.AppendUint64(m.buf, uint64(expiry(r)))
	return m.sum(r.Key)
}

// name is the mark of which key it is.
func (m *marker) name(r *rdb.Record) mark {
	m.head(r)
	return m.sum(r.Key)
}

func (m *marker) head(r *rdb.Record) {
	m.buf = binary.LittleEndian.AppendUint32(m.buf[:0], uint32(r.DB))
}

// sum ends the buffer with the key, which alone has no fixed length.
func (m *marker) sum(key []byte) mark {
	m.buf = append(m.buf, key...)
	sum := sha256.Sum256(m.buf)
	return mark(sum[:len(mark{})])
}

// never is the expiry of a key that has none.
const never = -1

func expiry(r *rdb.Record) int64 {
	if r.HasExpiry {
		return r.ExpireAt
	}
	return never
}

// expiresBy tells whether a key is gone at an instant, in unix ms.
func expiresBy(r *rdb.Record, instant int64) bool { return r.HasExpiry && r.ExpireAt <= instant }
