package rdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/servertest"
)

// fixtureSpec is one dump that each server makes: testdata/<engine>-<version>-<name>.rdb.
type fixtureSpec struct {
	name     string
	data     string // specs of one data hold the same keys, so they have the same digest
	settings []string
	fill     func(*server)
	needs    func(engine, version string) bool // nil: every server has it
}

var (
	lruSettings     = []string{"--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"}
	lfuSettings     = []string{"--maxmemory", "1gb", "--maxmemory-policy", "volatile-lfu"}
	clusterSettings = []string{"--cluster-enabled", "yes"}
	// unpacked makes hashes, sets, sorted sets and lists take their large
	// encodings, and strings stay uncompressed.
	unpacked = []string{
		"--hash-max-listpack-entries", "0", "--set-max-intset-entries", "0", "--zset-max-listpack-entries", "0",
		"--list-max-listpack-size", "3", "--stream-node-max-entries", "7", "--rdbcompression", "no",
	}
)

var fixtureSpecs = []fixtureSpec{
	{name: "types", data: "types", settings: lruSettings, fill: fillDatabases},
	{name: "types-unpacked", data: "types", settings: unpacked, fill: fillDatabases},
	{name: "cluster", data: "cluster", settings: clusterSettings, fill: fillCluster},
	{name: "cluster-unpacked", data: "cluster", settings: slices.Concat(clusterSettings, unpacked, lfuSettings), fill: fillCluster},
	{name: "lfu", data: "small", settings: lfuSettings, fill: fillSmall},
	{name: "nochecksum", data: "small", settings: []string{"--rdbchecksum", "no"}, fill: fillSmall},
	{name: "empty", data: "empty", fill: func(*server) {}},
	{name: "fields", data: "fields", fill: fillFields, needs: hasFieldExpiry},
	{name: "fields-cluster", data: "fields", settings: slices.Concat(clusterSettings, unpacked), fill: fillFields, needs: hasFieldExpiry},
	{name: "cluster-databases", data: "databases", settings: append([]string{"--cluster-databases", "16"}, clusterSettings...),
		fill: fillTwoDatabases, needs: hasClusterDatabases},
}

// hasFieldExpiry tells whether a server knows HPEXPIREAT.
func hasFieldExpiry(engine, version string) bool {
	return engine == "redis" && version >= "7.4" || engine == "valkey" && version >= "9"
}

// hasClusterDatabases tells whether a cluster node may have more than one.
func hasClusterDatabases(engine, version string) bool { return engine == "valkey" && version >= "9" }

// makeFixture returns the dump that the server of a binary makes of a spec.
func makeFixture(t testing.TB, binary string, spec fixtureSpec) []byte {
	t.Helper()
	process, err := redisproc.Start(t.Context(), redisproc.Options{
		Binary: binary,
		Dir:    t.TempDir(),
		Args:   append([]string{"--save", "", "--enable-debug-command", "yes", "--list-compress-depth", "1"}, spec.settings...),
	})
	if err != nil {
		t.Fatal(err)
	}
	// One connection: SELECT belongs to it.
	client := redis.NewClient(&redis.Options{Addr: process.Addr(), Protocol: 2, DisableIdentity: true, PoolSize: 1, ReadTimeout: time.Minute})
	s := &server{Client: client, t: t, dir: process.Dir()}
	defer func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
	}()
	if slices.Contains(spec.settings, "--cluster-enabled") {
		servertest.BecomeCluster(t, client)
	}
	spec.fill(s)
	return s.save()
}

func fillDatabases(s *server) {
	s.do("FUNCTION", "LOAD", library)
	s.do("FUNCTION", "LOAD", strings.ReplaceAll(strings.ReplaceAll(library, "mylib", "other"), "'f'", "'g'"))
	s.fillTypes()
	for _, db := range []int{3, 15} {
		s.do("SELECT", db)
		s.do("SET", "s:int8", db)
		s.do("RPUSH", "list", "a", db, "b")
		s.do("PEXPIREAT", "list", 4102444800000+db)
	}
}

func fillCluster(s *server) {
	s.do("FUNCTION", "LOAD", library)
	s.fillTypes()
	for i := range 12 {
		s.do("SET", fmt.Sprintf("{tag}:%d", i), i)
	}
	s.do("PEXPIREAT", "{tag}:3", 4102444800003)
	s.do("PEXPIREAT", "{tag}:5", 4102444800005)
}

// fillSmall makes some hundred bytes, for what is quadratic in a dump's size.
func fillSmall(s *server) {
	s.do("FUNCTION", "LOAD", library)
	s.do("SET", "a", 12)
	s.do("PEXPIREAT", "a", 4102444800123)
	s.do("SET", "lzf", strings.Repeat("abc", 30))
	s.do("RPUSH", "list", "a", "", 1<<40)
	s.do("SADD", "ints", 1, 70_000)
	s.do("SADD", "set", "x", "y")
	s.do("ZADD", "z", "1.5", "m", "-inf", "n")
	s.do("ZADD", "wide", "0.1", strings.Repeat("wide", 20))
	s.do("HSET", "h", "f", "v", "n", -40_000)
	s.do("XADD", "x", "1-1", "f", "v")
	s.do("XADD", "x", "1-2", "f", "w")
	s.do("XGROUP", "CREATE", "x", "g", "0")
	s.do("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "x", ">")
	s.do("XCLAIM", "x", "g", "c", 0, "1-1", "TIME", 1700000000000, "RETRYCOUNT", 3, "JUSTID")
}

// fillFields makes hashes whose fields expire, of few fields and of many, some
// without any field that does, and one that expires as a whole too.
func fillFields(s *server) {
	s.do("HSET", "plain", "f", "v")
	s.do("HSET", "few", "a", 1, "b", "two", "", "", "d", -70_000, "never", "x")
	for i, field := range []string{"a", "b", "", "d"} {
		s.do("HPEXPIREAT", "few", 4102444800000+i*1000, "FIELDS", 1, field)
	}
	for i := range 20 {
		field := fmt.Sprintf("field-%d", i)
		s.do("HSET", "many", field, strings.Repeat("v", 2*i))
		if i%3 > 0 {
			s.do("HPEXPIREAT", "many", 4102444800000+(i*7919%20)*86_400_000, "FIELDS", 1, field)
		}
	}
	s.do("HSET", "both", "f", "v", "g", "w")
	s.do("HPEXPIREAT", "both", 4102444700000, "FIELDS", 1, "g")
	s.do("PEXPIREAT", "both", 4102444800000)
	s.do("HSET", "binary", string(noise(12)), string(noise(100)))
	s.do("HPEXPIREAT", "binary", 4102444700001, "FIELDS", 1, string(noise(12)))
}

func fillTwoDatabases(s *server) {
	for _, db := range []int{0, 7} {
		s.do("SELECT", db)
		for i := range 5 {
			s.do("SET", fmt.Sprintf("{tag}%d", i), fmt.Sprintf("%d in %d", i, db))
		}
	}
}

// fillTypes writes keys of every type, in sizes that lead to every encoding. No
// value depends on the clock, so that every server holds the same.
func (s *server) fillTypes() {
	s.t.Helper()
	for name, value := range map[string]any{
		"zero": 0, "int8": 127, "int8-": -128, "int16": 32767, "int16-": -32768, "int32": 1<<31 - 1, "int32-": -1 << 31,
		"int64": 1<<63 - 1, "int64-": -1 << 63, "no-int": "007", "text": "hello", "empty": "", "lzf": strings.Repeat("slotark ", 40),
		"14-bit": strings.Repeat("0123456789abcdef", 1000), "32-bit": strings.Repeat("0123456789abcdef", 1100), "binary": string(noise(300)),
	} {
		s.do("SET", "s:"+name, value)
	}
	s.do("SET", "", "a key without a name")
	s.do("SET", string(noise(40)), "a key with a binary name")
	s.do("SET", "12345", "a key whose name is a number")
	s.do("SETBIT", "s:bitmap", 999, 1)
	s.do("PFADD", "s:hll", "a", "b", "c")
	s.fillLists()
	s.do("SADD", "set:16", 1, 2, -3)
	s.do("SADD", "set:32", 1, 70_000)
	s.do("SADD", "set:64", 1, 1<<40, -1<<63)
	s.do("SADD", "set:text", "a", "", 3, string(noise(20)))
	s.do("SADD", "set:wide", strings.Repeat("w", 200), "b")
	for i := range 150 {
		s.do("SADD", "set:many", fmt.Sprintf("m%d", i))
		s.do("SADD", "set:mixed", i*i, fmt.Sprint("t", i%2))
	}
	for _, name := range []string{"z:small", "z:wide"} {
		for i, score := range []string{"0", "-0", "1.5", "-inf", "+inf", "3", "1e300", "0.1", "-7", "1234567890123", "5e-324"} {
			s.do("ZADD", name, score, fmt.Sprintf("m%d", i))
		}
	}
	s.do("ZADD", "z:wide", 2, strings.Repeat("w", 100), 2, "")
	s.do("GEOADD", "z:geo", "13.361389", "38.115556", "Palermo")
	s.do("HSET", "h:small", "f1", "v1", "f2", 2, "", "", "n", -40_000, 17, 1<<40)
	s.do("HSET", "h:wide", "f", strings.Repeat("v", 200), "g", string(noise(70)))
	for i := range 140 {
		s.do("HSET", "h:many", fmt.Sprintf("f%d", i), i*i*i)
	}
	s.fillStreams(func(name string) string { return name })
	fix(s)
	s.do("XADD", "x:plain", "18446744073709551615-18446744073709551614", "f", string(noise(30)))
	s.do("EXPIREAT", "s:text", 4102444800)
	s.do("PEXPIREAT", "h:small", 4102444800123)
	s.do("PEXPIREAT", "z:wide", 4102444800456)
}

// fillLists makes lists of one node and of many, elements of every width, and
// elements over 8 KiB, which Redis puts in nodes of their own since 7.4, and
// others when told to.
func (s *server) fillLists() {
	s.do("RPUSH", "l:small", "a", "", 1, -5, 127, 200, -4096, 4095, 32767, -70_000, 1<<23-1, 1<<31-1, 1<<40, -1<<63,
		strings.Repeat("6", 63), strings.Repeat("x", 100), strings.Repeat("y", 4095))
	s.do("RPUSH", "l:wide", "head", strings.Repeat("8 KiB and more ", 600), "between", strings.Repeat("z", 20_000), "tail")
	s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "500b")
	for i := range 30 {
		s.do("RPUSH", "l:plain", fmt.Sprint("element ", i), strings.Repeat(fmt.Sprint(i), 40*i))
	}
	s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
	for i := range 400 {
		s.do("RPUSH", "l:many", fmt.Sprintf("%d:%s", i, strings.Repeat("e", i%90)))
	}
}
