package rdb_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/redisproc"
)

// server is a real redis-server of a test's own.
type server struct {
	*redis.Client
	t   testing.TB
	dir string
}

// startServer starts redis-server with the given settings ("--name", "value").
func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	return startServerIn(t, t.TempDir(), settings...)
}

// startServerIn starts one that loads what is in a folder.
func startServerIn(t testing.TB, dir string, settings ...string) *server {
	t.Helper()
	process, err := redisproc.Start(t.Context(), redisproc.Options{
		Dir:  dir,
		Args: append([]string{"--save", "", "--enable-debug-command", "yes", "--list-compress-depth", "1"}, settings...),
	})
	if err != nil {
		t.Fatalf("start redis-server (make deps installs it): %v", err)
	}
	client := redis.NewClient(&redis.Options{Addr: process.Addr(), Protocol: 2, DisableIdentity: true, ReadTimeout: time.Minute})
	t.Cleanup(func() {
		client.Close()
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &server{Client: client, t: t, dir: process.Dir()}
}

// do runs one command and fails the test if the server refuses it.
func (s *server) do(args ...any) any {
	s.t.Helper()
	reply, err := s.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%s: %v", clip(args), err)
	}
	return reply
}

// try runs one command.
func (s *server) try(args ...any) (any, error) {
	return s.Do(context.Background(), args...).Result()
}

// save returns the dump the server writes now.
func (s *server) save() []byte {
	s.t.Helper()
	s.do("SAVE")
	data, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func clip(args []any) string {
	text := fmt.Sprint(args...)
	return text[:min(len(text), 100)]
}

// fill writes keys of every type and encoding Redis 7.0 has. tag goes into
// every name, so that a cluster node can be given one hash tag per slot.
func (s *server) fill(tag string) {
	t := s.t
	t.Helper()
	key := func(name string) string { return tag + name }
	// Strings: the three integer encodings, text, compressible, binary, empty, large.
	for name, value := range map[string]any{
		"int8": 7, "int8-": -128, "int16": 3000, "int32": -70000, "int64": 1 << 40, "text": "hello",
		"empty": "", "lzf": strings.Repeat("slotark ", 40), "large": strings.Repeat("0123456789abcdef", 20_000),
		"binary": string(noise(9000)),
	} {
		s.do("SET", key("s:"+name), value)
	}
	s.do("SETBIT", key("s:bitmap"), 99_999, 1)
	s.do("SET", tag+"12345", "a name that is a number when tag is empty")
	s.do("PFADD", key("s:hll"), "a", "b", "c")
	// Lists: one listpack, many nodes with compressed inner ones, plain nodes.
	s.do("RPUSH", key("l:small"), "a", 1, -5, 200, 70_000, 1<<40, strings.Repeat("x", 100))
	s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "5000b")
	for i := range 300 {
		s.do("RPUSH", key("l:large"), fmt.Sprintf("%d:%s", i, strings.Repeat("e", i)))
	}
	s.do("RPUSH", key("l:large"), strings.Repeat("plain", 2000), "tail")
	s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
	// Sets: three widths of intset, hash table.
	s.do("SADD", key("set:16"), 1, 2, -3)
	s.do("SADD", key("set:32"), 1, 70_000)
	s.do("SADD", key("set:64"), 1, 1<<40)
	for i := range 600 {
		s.do("SADD", key("set:large"), fmt.Sprintf("member-%d", i))
	}
	s.do("SADD", key("set:text"), "a", "b", 3)
	// Sorted sets: listpack, skiplist, scores of all sorts.
	for _, name := range []string{"z:small", "z:large"} {
		for i, score := range []string{"0", "-0", "1.5", "-inf", "+inf", "3", "1e300", "0.1", "-7", "1234567890123"} {
			s.do("ZADD", key(name), score, fmt.Sprintf("m%d", i))
		}
	}
	for i := range 300 {
		s.do("ZADD", key("z:large"), float64(i)/7, fmt.Sprintf("member-%d", i))
	}
	s.do("GEOADD", key("z:geo"), "13.361389", "38.115556", "Palermo")
	// Hashes: listpack, hash table.
	s.do("HSET", key("h:small"), "f1", "v1", "f2", 2, "", "", "n", -40000)
	s.do("HSET", key("h:wide"), "f", strings.Repeat("v", 200))
	for i := range 600 {
		s.do("HSET", key("h:large"), fmt.Sprintf("field-%d", i), fmt.Sprintf("value-%d", i*i))
	}
	s.fillStreams(key)
	// Expiries, by second and by millisecond.
	s.do("EXPIREAT", key("s:text"), 4102444800)
	s.do("PEXPIREAT", key("h:small"), 4102444800123)
	s.do("PEXPIREAT", key("z:large"), 4102444800456)
}

func (s *server) fillStreams(key func(string) string) {
	s.t.Helper()
	for i := range 250 {
		s.do("XADD", key("x:groups"), fmt.Sprintf("%d-%d", 1000+i/2, i%2+1), "f", i, "g", fmt.Sprintf("text %d", i))
	}
	s.do("XADD", key("x:groups"), "5000-1", "other", "shape", "of", "fields")
	s.do("XDEL", key("x:groups"), "1003-1", "1050-2", "1124-2")
	s.do("XGROUP", "CREATE", key("x:groups"), "g1", "0")
	s.do("XGROUP", "CREATE", key("x:groups"), "g2", "$")
	s.do("XREADGROUP", "GROUP", "g1", "c1", "COUNT", 10, "STREAMS", key("x:groups"), ">")
	s.do("XREADGROUP", "GROUP", "g1", "c2", "COUNT", 5, "STREAMS", key("x:groups"), ">")
	s.do("XACK", key("x:groups"), "g1", "1000-1")
	s.do("XGROUP", "CREATECONSUMER", key("x:groups"), "g2", "idle")
	s.do("XADD", key("x:empty"), "1-1", "f", "v")
	s.do("XTRIM", key("x:empty"), "MAXLEN", 0)
}

// noise is n bytes that no compressor makes smaller, the same every time.
func noise(n int) []byte {
	data := make([]byte, n)
	state := uint64(88172645463325252)
	for i := range data {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		data[i] = byte(state)
	}
	return data
}

const library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)"

// fixture is the dump of a standalone server with every type in two databases,
// a library, and LRU clocks. It is made once.
var fixture = func() func(testing.TB) []byte {
	var once sync.Once
	var data []byte
	return func(t testing.TB) []byte {
		once.Do(func() {
			s := startServer(t, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")
			s.do("FUNCTION", "LOAD", library)
			s.fill("")
			s.do("MOVE", "s:binary", 3)
			data = s.save()
		})
		if data == nil {
			t.Fatal("the fixture was not made")
		}
		return data
	}
}()

// smallFixture is a dump of some hundred bytes, for tests that are quadratic.
var smallFixture = func() func(testing.TB) []byte {
	var once sync.Once
	var data []byte
	return func(t testing.TB) []byte {
		once.Do(func() {
			s := startServer(t, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lfu")
			s.do("FUNCTION", "LOAD", library)
			s.do("SET", "a", 12)
			s.do("SET", "lzf", strings.Repeat("abc", 30))
			s.do("PEXPIREAT", "a", 4102444800123)
			s.do("RPUSH", "list", "a", "b")
			s.do("ZADD", "z", "1.5", strings.Repeat("wide", 20))
			s.do("XADD", "x", "1-1", "f", "v")
			s.do("XGROUP", "CREATE", "x", "g", "0")
			s.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
			data = s.save()
		})
		if data == nil {
			t.Fatal("the fixture was not made")
		}
		return data
	}
}()
