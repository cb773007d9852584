package dataset

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/slotark/slotark/internal/cluster"
)

const (
	farTTL    = time.Hour // the shortest of the ordinary expiries
	farSpread = 30 * 24 * time.Hour
	hashTags  = 500 // keys share this many hash tags
)

// key is one key to be written.
type key struct {
	name  []byte
	kind  *kind
	ttl   time.Duration // 0: none
	short bool
	rng   *rand.Rand // what remains of its randomness makes the value
}

// newKey derives the i-th key from the seed and i alone, in whatever order and
// by whomever it is asked for.
func newKey(o Options, i int) key {
	k := key{rng: rand.New(rand.NewPCG(o.Seed, uint64(i)))}
	k.name = keyName(k.rng, i)
	k.kind = kindOf(k.rng, i)
	if k.rng.Float64() < o.ExpiringShare {
		k.ttl = farTTL + time.Duration(k.rng.Int64N(int64(farSpread)))
		if k.rng.Float64() < o.ShortShare && o.ShortTTL > 1 {
			k.short = true
			k.ttl = o.ShortTTL/2 + time.Duration(k.rng.Int64N(int64(o.ShortTTL/2)))
		}
		k.ttl = max(k.ttl.Truncate(time.Millisecond), time.Millisecond)
	}
	return k
}

// append adds the commands that create the key.
func (k key) append(dst []byte) []byte {
	dst = k.kind.append(dst, k.rng, k.name)
	if k.ttl > 0 {
		dst = cluster.AppendCommand(dst, "PEXPIRE", k.name, k.ttl.Milliseconds())
	}
	return dst
}

// keyName gives names as applications do, and some that break naive tools:
// binary ones, ones with white space, and braces that are no hash tag. The
// number in each makes it unique.
func keyName(rng *rand.Rand, i int) []byte {
	switch n := rng.IntN(100); {
	case n < 40:
		return fmt.Appendf(nil, "session:%08d", i)
	case n < 75:
		return fmt.Appendf(nil, "cart:{user%d}:%d", rng.IntN(hashTags), i)
	case n < 85:
		return fmt.Appendf(nil, "{tenant%d}.%d", rng.IntN(hashTags), i)
	case n < 90:
		return binary.BigEndian.AppendUint64([]byte{0x00, 0xff, '\r', '\n', 0xc3, 0x28}, uint64(i))
	case n < 94:
		return fmt.Appendf(nil, "two words\tand a line\n%d", i)
	case n < 97:
		return fmt.Appendf(nil, "{}empty tag {%d}", i)
	}
	return fmt.Appendf(nil, "{never closed %d", i)
}

// kindOf chooses a key's kind: of the first keys one each, so that small sets
// hold all of them, then by weight.
func kindOf(rng *rand.Rand, i int) *kind {
	if i < len(kinds) {
		return &kinds[i]
	}
	n := rng.IntN(totalWeight)
	for j := range kinds {
		if n -= kinds[j].weight; n < 0 {
			return &kinds[j]
		}
	}
	return &kinds[0]
}

var totalWeight = sumWeights()

func sumWeights() (total int) {
	for _, k := range kinds {
		total += k.weight
	}
	return total
}

// Kinds are the names of all kinds of values, as [Stats] counts them.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}
