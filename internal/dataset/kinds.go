package dataset

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
)

// kind is one sort of value. The encodings named are those of Redis 7.0.
type kind struct {
	name   string
	typ    string // as TYPE names it
	weight int    // per thousand keys, about
	append func(dst []byte, rng *rand.Rand, name []byte) []byte
}

var kinds = []kind{
	{"string-int", "string", 120, stringOf(func(r *rand.Rand) any { return int64(r.Uint64()) })},
	{"string-embstr", "string", 200, stringOf(func(r *rand.Rand) any { return word(r, 8+r.IntN(30)) })},
	{"string-raw", "string", 80, stringOf(func(r *rand.Rand) any { return word(r, 60+r.IntN(300)) })},
	{"string-compressible", "string", 30, stringOf(func(r *rand.Rand) any { return strings.Repeat(word(r, 9), 40+r.IntN(60)) })},
	{"string-binary", "string", 40, stringOf(func(r *rand.Rand) any { return noise(r, 1+r.IntN(200)) })},
	{"string-empty", "string", 10, stringOf(func(*rand.Rand) any { return "" })},

	{"list-listpack", "list", 60, listOf(2, 20, 16)},
	{"list-quicklist", "list", 8, listOf(400, 600, 40)},
	{"list-large-element", "list", 2, largeElement},

	{"set-intset", "set", 50, setOf(2, 60, func(r *rand.Rand, i int) any { return i*7 - r.IntN(7) })},
	{"set-intset-wide", "set", 10, setOf(2, 40, func(r *rand.Rand, _ int) any { return int64(r.Uint64()) })},
	{"set-listpack", "set", 40, setOf(2, 20, func(r *rand.Rand, i int) any { return fmt.Sprintf("%s-%d", word(r, 6), i) })},
	{"set-hashtable", "set", 4, setOf(600, 800, func(r *rand.Rand, i int) any { return fmt.Sprintf("%s-%d", word(r, 6), i) })},

	{"zset-listpack", "zset", 60, sortedSet(2, 20)},
	{"zset-skiplist", "zset", 4, sortedSet(600, 800)},

	{"hash-listpack", "hash", 110, hashOf(2, 12, 12)},
	{"hash-long-value", "hash", 15, hashOf(1, 4, 400)},
	{"hash-hashtable", "hash", 4, hashOf(600, 800, 12)},

	{"stream", "stream", 30, func(dst []byte, r *rand.Rand, name []byte) []byte { return entries(dst, r, name, 1+r.IntN(12)) }},
	{"stream-groups", "stream", 20, streamGroups},

	{"hyperloglog-sparse", "string", 20, hyperLogLog(1, 40)},
	{"hyperloglog-dense", "string", 1, hyperLogLog(4000, 5000)},
	{"bitmap", "string", 25, bitmap},
	{"geo", "zset", 40, geo},
}

func stringOf(value func(*rand.Rand) any) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		return cluster.AppendCommand(dst, "SET", name, value(r))
	}
}

// listOf makes a list of low to high elements of up to size bytes, some of
// them integers, which a listpack stores in another way.
func listOf(low, high, size int) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		args := []any{"RPUSH", name}
		for range between(r, low, high) {
			if r.IntN(4) == 0 {
				args = append(args, int64(r.Uint64()>>r.IntN(64)))
			} else {
				args = append(args, word(r, 1+r.IntN(size)))
			}
		}
		return cluster.AppendCommand(dst, args...)
	}
}

// largeElement puts an element above 8 KiB between small ones: since 7.4 such a
// list mixes plain and packed nodes, and its large one is in a dump of 7.0 the
// only kind of plain node.
func largeElement(dst []byte, r *rand.Rand, name []byte) []byte {
	dst = cluster.AppendCommand(dst, "RPUSH", name, word(r, 10), word(r, 20))
	dst = cluster.AppendCommand(dst, "RPUSH", name, noise(r, 9000+r.IntN(8000)))
	return cluster.AppendCommand(dst, "RPUSH", name, word(r, 10), strings.Repeat("x", 10000))
}

func setOf(low, high int, member func(r *rand.Rand, i int) any) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		args := []any{"SADD", name}
		for i := range between(r, low, high) {
			args = append(args, member(r, i))
		}
		return cluster.AppendCommand(dst, args...)
	}
}

// sortedSet gives scores of all shapes: integers, fractions, equal ones, and
// both infinities, which a dump writes in ways of their own.
func sortedSet(low, high int) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		args := []any{"ZADD", name}
		for i := range between(r, low, high) {
			var score any
			switch r.IntN(12) {
			case 0:
				score = "-inf"
			case 1:
				score = "+inf"
			case 2, 3:
				score = 42
			case 4, 5, 6:
				score = r.IntN(1_000_000) - 500_000
			default:
				score = r.NormFloat64() * 1e6
			}
			args = append(args, score, fmt.Sprintf("%s-%d", word(r, 4), i))
		}
		return cluster.AppendCommand(dst, args...)
	}
}

func hashOf(low, high, size int) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		args := []any{"HSET", name}
		for i := range between(r, low, high) {
			var value any = word(r, size)
			if r.IntN(4) == 0 && size < 64 {
				value = r.IntN(100_000) - 50_000
			}
			args = append(args, fmt.Sprintf("field%d", i), value)
		}
		return cluster.AppendCommand(dst, args...)
	}
}

// entryID is the id of a stream's n-th entry: of a fixed instant, for an id the
// server makes would differ from run to run.
func entryID(n int) string { return fmt.Sprintf("1700000000000-%d", n) }

// entries adds n entries, most with the same fields as the first (which a
// stream stores once) and some with others.
func entries(dst []byte, r *rand.Rand, name []byte, n int) []byte {
	for i := range n {
		args := []any{"XADD", name, entryID(i + 1), "sensor", r.IntN(100), "value", r.Float64()}
		if r.IntN(5) == 0 {
			args = append(args, "note", word(r, 12))
		}
		dst = cluster.AppendCommand(dst, args...)
	}
	return dst
}

// streamGroups makes a stream that was worked on: a deleted entry, two groups,
// two consumers, entries that are pending and one that was acknowledged.
func streamGroups(dst []byte, r *rand.Rand, name []byte) []byte {
	n := 6 + r.IntN(10)
	dst = entries(dst, r, name, n)
	dst = cluster.AppendCommand(dst, "XDEL", name, entryID(2))
	dst = cluster.AppendCommand(dst, "XGROUP", "CREATE", name, "workers", "0")
	dst = cluster.AppendCommand(dst, "XGROUP", "CREATE", name, "idle", "$")
	for _, consumer := range []string{"alice", "bob"} {
		dst = cluster.AppendCommand(dst, "XREADGROUP", "GROUP", "workers", consumer, "COUNT", 2, "STREAMS", name, ">")
	}
	return cluster.AppendCommand(dst, "XACK", name, "workers", entryID(1))
}

func hyperLogLog(low, high int) func([]byte, *rand.Rand, []byte) []byte {
	return func(dst []byte, r *rand.Rand, name []byte) []byte {
		args := []any{"PFADD", name}
		for range between(r, low, high) {
			args = append(args, r.IntN(1<<40))
		}
		return cluster.AppendCommand(dst, args...)
	}
}

func bitmap(dst []byte, r *rand.Rand, name []byte) []byte {
	for range 1 + r.IntN(5) {
		dst = cluster.AppendCommand(dst, "SETBIT", name, r.IntN(4096), 1)
	}
	return dst
}

func geo(dst []byte, r *rand.Rand, name []byte) []byte {
	args := []any{"GEOADD", name}
	for i := range 1 + r.IntN(10) {
		// Within the bounds of GEOADD: the poles are not on its map.
		args = append(args, r.Float64()*360-180, r.Float64()*170-85, fmt.Sprintf("place%d", i))
	}
	return cluster.AppendCommand(dst, args...)
}

func between(r *rand.Rand, low, high int) int { return low + r.IntN(high-low+1) }

const letters = "abcdefghijklmnopqrstuvwxyz0123456789 _-/.:,"

// word is n printable bytes.
func word(r *rand.Rand, n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return string(text)
}

// noise is n bytes that do not compress.
func noise(r *rand.Rand, n int) []byte {
	bytes := make([]byte, n)
	for i := range bytes {
		bytes[i] = byte(r.Uint32())
	}
	return bytes
}
