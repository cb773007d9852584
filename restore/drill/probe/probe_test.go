package probe

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

func text(s string) *string { return &s }

func flag(b bool) *bool { return &b }

func how(t *testing.T, s string) (r Range) {
	t.Helper()
	if err := r.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return r
}

func life(t *testing.T, s string) (l Lifetime) {
	t.Helper()
	if err := l.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return l
}

const library = `#!lua name=probed
redis.register_function('add', function(keys, args) return tonumber(args[1]) + tonumber(args[2]) end)
redis.register_function{function_name='calm', callback=function(keys, args) return 'calm' end, flags={'no-writes'}}
redis.register_function{function_name='needs', callback=function(keys, args) return redis.call('GET', keys[1]) end, flags={'no-writes'}}
redis.register_function{function_name='writes', callback=function(keys, args) return redis.call('SET', keys[1], 'x') end}
`

// filled is a cluster with one key of every kind that a probe can ask for, and
// others around them.
func filled(t *testing.T, o clustertest.Options) (*Cluster, *clustertest.Cluster) {
	t.Helper()
	o.Password = "of the probed"
	live := clustertest.Start(t, o)
	topology, err := cluster.Discover(t.Context(), live.Access(), live.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), live.Access(), topology, dataset.Options{Keys: 3000, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	for _, node := range live.Primaries() {
		n := live.Access().Open(node.Addr())
		defer n.Close()
		if _, err := n.Do(t.Context(), "FUNCTION", "LOAD", library); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(t.Context(), live.Access(), live.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, command := range [][]any{
		{"SET", "p:greeting", "hello"}, {"SET", "p:token", "t", "EX", 3600}, {"HSET", "p:user", "name", "Ann", "age", "41"},
		{"RPUSH", "p:queue", "a", "b", "c"}, {"SADD", "p:set", "a", "b"}, {"ZADD", "p:scores", 1, "a"}, {"XADD", "p:stream", "*", "f", "v"},
	} {
		if _, err := c.client.Do(t.Context(), command...); err != nil {
			t.Fatal(err)
		}
	}
	return c, live
}

// ports are those of nodes' addresses.
var ports = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// TestProbes makes each check once as it holds and once as it does not.
func TestProbes(t *testing.T) {
	t.Parallel()
	c, _ := filled(t, clustertest.Options{})
	for name, test := range map[string]struct {
		passes, fails Probe
		detail        string // of the one that fails
	}{
		"exists":        {Probe{Key: "p:greeting"}, Probe{Key: "p:nothing"}, "there is no such key"},
		"missing":       {Probe{Key: "p:nothing", Exists: flag(false)}, Probe{Key: "p:greeting", Exists: flag(false)}, "there is such a key, a string"},
		"type":          {Probe{Key: "p:queue", Type: "list"}, Probe{Key: "p:queue", Type: "set"}, "it is a list, not a set"},
		"value":         {Probe{Key: "p:greeting", Value: text("hello")}, Probe{Key: "p:greeting", Value: text("good-bye")}, "its value is another"},
		"value of list": {Probe{Key: "p:greeting", Value: text("hello")}, Probe{Key: "p:queue", Value: text("a")}, "it is a list, not a string"},
		"field":         {Probe{Key: "p:user", Field: "name", Value: text("Ann")}, Probe{Key: "p:user", Field: "name", Value: text("Eve")}, "the field's value is another"},
		"field missing": {Probe{Key: "p:user", Field: "age", Value: text("41")}, Probe{Key: "p:user", Field: "size", Value: text("1")}, "it has no such field"},
		"length":        {Probe{Key: "p:queue", Length: how(t, "3")}, Probe{Key: "p:queue", Length: how(t, "4..")}, "its length is 3, not at least 4"},
		"of a set":      {Probe{Key: "p:set", Length: how(t, "1..2")}, Probe{Key: "p:set", Length: how(t, "..1")}, "its length is 2, not 0 to 1"},
		"of a zset":     {Probe{Key: "p:scores", Type: "zset", Length: how(t, "1")}, Probe{Key: "p:scores", Length: how(t, "2")}, "its length is 1, not 2"},
		"of a stream":   {Probe{Key: "p:stream", Length: how(t, "1")}, Probe{Key: "p:stream", Length: how(t, "2")}, "its length is 1, not 2"},
		"ttl":           {Probe{Key: "p:token", TTL: life(t, "30m..1h")}, Probe{Key: "p:token", TTL: life(t, "2h..30d")}, "it lives for "},
		"no ttl":        {Probe{Key: "p:queue", TTL: life(t, "none")}, Probe{Key: "p:token", TTL: life(t, "none")}, "it expires in "},
		"ttl of none":   {Probe{Key: "p:token", TTL: life(t, "1m..")}, Probe{Key: "p:queue", TTL: life(t, "1m..")}, "it does not expire, and should live for at least 1m0s"},
		"count":         {Probe{Pattern: "p:*", Count: how(t, "7")}, Probe{Pattern: "p:*", Count: how(t, "8..")}, "there are 7, not at least 8"},
		"count of all":  {Probe{Pattern: "*", Count: how(t, "3007")}, Probe{Pattern: "nobody*", Count: how(t, "1..")}, "there are 0, not at least 1"},
		"script":        {Probe{Script: "return {redis.call('LLEN', KEYS[1]), ARGV[1], false}", Keys: []string{"p:queue"}, Args: []string{"x"}, Result: text("3\nx\n(nil)\n")}, Probe{Script: "return redis.call('GET', KEYS[1])", Keys: []string{"p:greeting"}, Result: text("Hello")}, "its answer is another"},
		"script on all": {Probe{Script: "return 7", Result: text("7")}, Probe{Script: "return redis.call('DBSIZE')", Result: text("0")}, "its answer is another"},
		"broken script": {Probe{Script: "return 7", Result: text("7")}, Probe{Script: "return (", Result: text("7")}, "Error compiling script"},
		"function":      {Probe{Function: "add", Args: []string{"40", "2"}, Result: text("42")}, Probe{Function: "sub", Result: text("0")}, "Function not found"},
		"function, key": {Probe{Function: "needs", Keys: []string{"p:greeting"}, Result: text("hello")}, Probe{Function: "needs", Keys: []string{"p:nothing"}, Result: text("")}, "its answer is another"},
	} {
		t.Run(name, func(t *testing.T) {
			file := File{Probes: []Probe{test.passes, test.fails}}
			if found := file.Problems(); len(found) > 0 {
				t.Fatalf("the file is refused: %v", found)
			}
			results, err := c.Run(t.Context(), file.Probes)
			if err != nil || len(results) != 2 {
				t.Fatalf("%v, %v", results, err)
			}
			if !results[0].Passed || results[0].Detail != "" {
				t.Errorf("%q: %s", results[0].Name, results[0].Detail)
			}
			if results[1].Passed || !strings.Contains(results[1].Detail, test.detail) {
				t.Errorf("%q: passed %v, %q; want %q", results[1].Name, results[1].Passed, results[1].Detail, test.detail)
			}
			detail := ports.ReplaceAllString(results[1].Detail, "") // which may be any number
			for _, secret := range []string{"hello", "Ann", "41"} { // what the keys hold
				if strings.Contains(detail, secret) {
					t.Errorf("%q tells %q", results[1].Detail, secret)
				}
			}
		})
	}
	if moved := c.client.Moved(); moved < 20 {
		t.Errorf("%d commands were sent on", moved)
	}
}

// TestSample asks a whole cluster, and one that lost a function and whose primaries
// take no writes.
func TestSample(t *testing.T) {
	t.Parallel()
	c, live := filled(t, clustertest.Options{Replicas: 3})
	before := c.count(t)
	s, findings, err := c.Sample(t.Context())
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	// A slot has one or two keys to be read, and each primary the data set's library.
	if s.Reads < s.Slots || s.Slots < 60 || s.Slots > sampledSlots || s.Moved < int64(2*s.Reads) || s.MultiKey != 3 || s.Libraries != 6 || s.Functions != 18 || s.Called != 9 {
		t.Errorf("%+v", s)
	}
	if after := c.count(t); after != before {
		t.Errorf("%d keys, and %d after the samples", before, after)
	}
	for _, primary := range live.Primaries() {
		node := live.Access().Open(primary.Addr())
		defer node.Close()
		if _, err := node.Do(t.Context(), "CONFIG", "SET", "min-replicas-to-write", "2"); err != nil {
			t.Fatal(err)
		}
	}
	s, findings, err = c.Sample(t.Context())
	if err != nil || len(findings) != 3 || s.MultiKey != 0 || findings[0].Code != "sample-multi-key" || !strings.Contains(findings[0].Detail, "NOREPLICAS") {
		t.Errorf("of nodes that take no writes: %+v, %v, %v", s, findings, err)
	}
}

func (c *Cluster) count(t *testing.T) (keys int64) {
	t.Helper()
	if err := c.eachPrimary(func(node *cluster.Node) error {
		n, err := node.Int(t.Context(), "DBSIZE")
		keys += n
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

// A function that never ends holds up nothing.
func TestFunctionThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	live := clustertest.Start(t, clustertest.Options{Primaries: 1})
	access := *live.Access()
	access.Timeout = 3 * time.Second // all but the function answers within, however busy the machine is
	node := access.Open(live.Addrs()[0])
	defer node.Close()
	for _, command := range [][]any{
		{"CONFIG", "SET", "busy-reply-threshold", "50"},
		{"FUNCTION", "LOAD", "#!lua name=l\nredis.register_function{function_name='ever', callback=function() while true do end end, flags={'no-writes'}}"},
	} {
		if _, err := node.Do(t.Context(), command...); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(t.Context(), &access, live.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, findings, err := c.Sample(t.Context())
	if err != nil || len(findings) != 1 || findings[0].Code != "sample-function" || !strings.Contains(findings[0].Detail, "call function ever") {
		t.Errorf("%v, %v", findings, err)
	}
	clustertest.Eventually(t, 10*time.Second, node.Ping)
}

func TestRangesAndLifetimes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"3": "3", "1..5": "1 to 5", "7..": "at least 7", "..5": "0 to 5"} {
		if got := how(t, s).String(); got != want {
			t.Errorf("%q is %s", s, got)
		}
	}
	for _, s := range []string{"", "..", "-1", "5..1", "many", "1...2"} {
		if new(Range).UnmarshalText([]byte(s)) == nil {
			t.Errorf("%q was taken for a range", s)
		}
	}
	for s, want := range map[string]string{"none": "none", "1h..1d": "1h0m0s to 24h0m0s", "10m..": "at least 10m0s", "..30d": "0s to 720h0m0s"} {
		if got := life(t, s).String(); got != want {
			t.Errorf("%q is %s", s, got)
		}
	}
	for _, s := range []string{"", "1h", "1h..1m", "..", "x..", "-1h.."} {
		if new(Lifetime).UnmarshalText([]byte(s)) == nil {
			t.Errorf("%q was taken for a lifetime", s)
		}
	}
}
