package verify

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// mark is 128 bits of a SHA-256. Two different keys of one cluster share one
// with a probability that no number of keys brings near anything.
type mark [16]byte

// tally is what one side holds in one slot. A key's digest is of its database, family,
// expiry, name and value (DIGEST.md of package rdb), and so is a sum of them.
type tally struct {
	whole   rdb.Digest // the sum of all keys' digests
	keys    uint64     // keys that are certainly to be there
	expired uint64     // keys that at the cutoff may have been gone
	gone    uint64     // of the saved side: keys that had expired when they were counted
	left    rdb.Digest // the part of the sum that is of expired keys
}

// tallies are written by several goroutines at once without a lock: each owns
// the slots of its shard.
type tallies [slot.Count]tally

// add adds a key to the sums.
func (t *tally) add(r *rdb.Record, cutoff int64) {
	t.whole = t.whole.Add(r.Digest)
	if !expiresBy(r, cutoff) {
		t.keys++
		return
	}
	t.left = t.left.Add(r.Digest)
	t.expired++
}

// holdsSame tells whether both sides hold the same keys, of those that are certainly
// to be there.
func (t *tally) holdsSame(other *tally) bool {
	return t.keys == other.keys && t.whole.Sub(t.left) == other.whole.Sub(other.left)
}

// marker turns records into marks. It keeps a buffer, so each goroutine has
// its own.
type marker struct{ buf []byte }

// item is the mark of what must be equal of a key besides its value: database,
// family, expiry and name. The encoding is left out on purpose: a key may be
// stored as a listpack on one side and as a hash table on the other and be the
// same. So it is with the value, whose digest stands beside this mark and not
// in it, because there are values that may differ; see provable.
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

// RDB types of hashes whose fields may expire by themselves: of Redis 7.4, and
// in dumps of Valkey 9, where the number is another's in Redis.
const (
	typeHashMeta       = 24
	typeHashListpackEx = 25
	typeValkeyHash2    = 22
)

// provable tells whether a saved value with another digest than the live one
// is another value. A field may have expired since, and a module decides for
// itself in what form it writes the same.
func provable(r *rdb.Record) bool {
	switch {
	case r.Family == rdb.Module:
		return false
	case r.Family == rdb.Hash:
		return r.Type != typeHashMeta && r.Type != typeHashListpackEx && r.Type != typeValkeyHash2
	}
	return true
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
