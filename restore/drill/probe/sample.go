package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Samples is what every drill asks besides.
type Samples struct {
	Reads     int   `json:"reads"`     // keys that a client of the cluster read as their owner has them
	Slots     int   `json:"slots"`     // whose keys they were
	Moved     int64 `json:"moved"`     // redirections that the client followed
	MultiKey  int   `json:"multi_key"` // primaries that took commands of several keys of one hash tag
	Libraries int   `json:"libraries"` // of functions, on all primaries together
	Functions int   `json:"functions"` // in them
	Called    int   `json:"called"`    // of these: those that write nothing, without keys or arguments
}

const (
	// sampledSlots is how many slots are read from, in all; each primary has one at
	// least. A sample shows that clients find what the comparison has proved.
	sampledSlots = 64
	// sampledKeys is how many keys of one slot.
	sampledKeys = 2
	// tagTries is more than it takes to find a hash tag of one slot among 16384 by
	// chance: that this many are not enough happens once in 10^26 times.
	tagTries = 60 * slot.Count
)

// Sample reads some keys, writes some of its own and calls some functions. What is
// not as it must be is a finding. An error means that ctx ended.
func (c *Cluster) Sample(ctx context.Context) (*Samples, []manifest.Finding, error) {
	s := &Samples{}
	var findings []manifest.Finding
	for _, shard := range c.topology.Shards {
		if shard.Slots.Len() == 0 {
			continue
		}
		node := c.access.Open(shard.Primary.Addr)
		for _, sample := range []struct {
			code string
			take func(context.Context, *cluster.Node, cluster.Shard, *Samples) error
		}{{"sample-read", c.sampleReads}, {"sample-multi-key", c.sampleTag}, {"sample-function", c.sampleFunctions}} {
			if err := sample.take(ctx, node, shard, s); err != nil && ctx.Err() == nil {
				findings = append(findings, manifest.Finding{Code: sample.code, Severity: "error", Subject: "slots " + shard.Slots.String(), Detail: err.Error()})
			}
		}
		_ = node.Close() // nothing is left to be said to it
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
	}
	s.Moved = c.client.Moved()
	if s.Moved == 0 && s.Reads > 0 && len(c.topology.Members()) > 1 {
		findings = append(findings, manifest.Finding{Code: "sample-read", Severity: "error", Subject: "cluster", Detail: "no node sent a client on that asked it for another's key"})
	}
	return s, findings, nil
}

// sampleReads reads keys of some slots of one primary by the client, and asks the
// primary itself for the same.
func (c *Cluster) sampleReads(ctx context.Context, node *cluster.Node, shard cluster.Shard, s *Samples) error {
	var slots []int
	for n := range shard.Slots.All() {
		slots = append(slots, n)
	}
	counts, err := node.CountKeysInSlots(ctx, slots)
	if err != nil {
		return err
	}
	var filled []int
	for i, n := range slots {
		if counts[i] > 0 {
			filled = append(filled, n)
		}
	}
	rand.Shuffle(len(filled), func(i, j int) { filled[i], filled[j] = filled[j], filled[i] })
	for _, n := range filled[:min(len(filled), max(1, sampledSlots/len(c.topology.Shards)))] {
		reply, err := node.Do(ctx, "CLUSTER", "GETKEYSINSLOT", n, sampledKeys)
		if err != nil {
			return err
		}
		keys, _ := reply.([]any)
		s.Slots++
		for _, key := range keys {
			if err := c.readTwice(ctx, node, key); err != nil {
				return fmt.Errorf("a key of slot %d: %w", n, err)
			}
			s.Reads++
		}
	}
	return nil
}

// readTwice reads a key through the client and from its owner. It may expire between
// the two: then it is looked at once more.
func (c *Cluster) readTwice(ctx context.Context, node *cluster.Node, key any) error {
	for last := false; ; last = true {
		seen, err := facts(ctx, c.client.Do, key)
		if err != nil {
			return err
		}
		held, err := facts(ctx, node.Do, key)
		if err != nil {
			return err
		}
		if reflect.DeepEqual(seen, held) {
			return nil
		}
		if last {
			return fmt.Errorf("a client of the cluster reads a %v, and its owner has a %v", seen, held)
		}
	}
}

// facts are a key's type and its length; of another type than these, its type alone.
func facts(ctx context.Context, do func(context.Context, ...any) (any, error), key any) ([]any, error) {
	kind, err := do(ctx, "TYPE", key)
	if err != nil {
		return nil, err
	}
	command := types[fmt.Sprint(kind)]
	if command == "" {
		return []any{kind}, nil
	}
	length, err := do(ctx, command, key)
	return []any{kind, length}, err
}

// sampleTag sends commands of several keys that share a hash tag of one of the
// primary's slots, of names that nobody has, and removes these keys.
func (c *Cluster) sampleTag(ctx context.Context, node *cluster.Node, shard cluster.Shard, s *Samples) error {
	tag, err := tagIn(shard.Slots)
	if err != nil {
		return err
	}
	key := func(name string) string { return fmt.Sprintf("slotark-drill-%s:{%s}", name, tag) }
	text, number, some, others := key("text"), key("number"), key("some"), key("others")
	keys := []any{text, number, some, others}
	there, err := c.client.Do(ctx, append([]any{"EXISTS"}, keys...)...)
	if err != nil {
		return err
	}
	if there != any(int64(0)) {
		return fmt.Errorf("%v of the keys that only drills have are there already", there)
	}
	for _, step := range []struct {
		args []any
		want any
	}{
		{[]any{"MSET", text, "drilled", number, "41"}, "OK"},
		{[]any{"INCR", number}, int64(42)},
		{[]any{"MGET", text, number}, []any{"drilled", "42"}},
		{[]any{"SADD", some, "a", "b"}, int64(2)},
		{[]any{"SADD", others, "b", "c"}, int64(2)},
		{[]any{"SINTER", some, others}, []any{"b"}},
		{append([]any{"DEL"}, keys...), int64(4)},
	} {
		got, doErr := c.client.Do(ctx, step.args...)
		if doErr != nil || !reflect.DeepEqual(got, step.want) {
			_, delErr := node.Do(ctx, append([]any{"DEL"}, keys...)...)
			if doErr == nil {
				doErr = fmt.Errorf("%v of keys with one hash tag is answered with %v, not %v", step.args[0], got, step.want)
			}
			return errors.Join(doErr, delErr)
		}
	}
	s.MultiKey++
	return nil
}

// RDBVersion is the version in which the cluster's servers write values: DUMP puts it,
// two bytes, before a checksum of eight.
func (c *Cluster) RDBVersion(ctx context.Context) (int, error) {
	const key = "slotark-drill-dump"
	if _, err := c.client.Do(ctx, "SET", key, "drilled", "NX"); err != nil {
		return 0, err
	}
	reply, err := c.client.Do(ctx, "DUMP", key)
	_, delErr := c.client.Do(ctx, "DEL", key)
	if err = errors.Join(err, delErr); err != nil {
		return 0, err
	}
	dump, _ := reply.(string)
	if len(dump) < 10 {
		return 0, fmt.Errorf("DUMP gave %d bytes, and no version", len(dump))
	}
	return int(binary.LittleEndian.Uint16([]byte(dump[len(dump)-10:]))), nil
}

// tagIn finds a hash tag of a slot of the set.
func tagIn(slots slot.Set) (string, error) {
	for range tagTries {
		tag := fmt.Sprintf("%08x", rand.Uint32())
		if slots.Contains(slot.Of([]byte(tag))) {
			return tag, nil
		}
	}
	return "", errors.New("no hash tag was found of its slots")
}

// sampleFunctions counts a primary's functions and calls those that write nothing.
func (c *Cluster) sampleFunctions(ctx context.Context, node *cluster.Node, _ cluster.Shard, s *Samples) error {
	reply, err := node.Do(ctx, "FUNCTION", "LIST")
	var refused cluster.ServerError
	if errors.As(err, &refused) && refused.IsUnknownCommand() {
		return nil // 6.2 has no functions
	}
	if err != nil {
		return err
	}
	libraries, _ := reply.([]any)
	s.Libraries += len(libraries)
	for _, library := range libraries {
		functions, _ := member(library, "functions").([]any)
		s.Functions += len(functions)
		for _, function := range functions {
			if !writesNothing(function) {
				continue
			}
			if err := call(ctx, node, fmt.Sprint(member(function, "name"))); err != nil {
				return err
			}
			s.Called++
		}
	}
	return nil
}

// call calls one function. Whatever it answers, it is there and was run; one that
// does not end in time is stopped, for it would hold up the rest of the drill.
func call(ctx context.Context, node *cluster.Node, name string) error {
	_, err := node.Do(ctx, "FCALL_RO", name, 0)
	var refused cluster.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && !strings.Contains(string(refused), "Function not found"):
		return nil // its own error: it wanted keys or arguments
	case errors.As(err, &refused):
		return err
	}
	_, killErr := node.Do(ctx, "FUNCTION", "KILL")
	return errors.Join(fmt.Errorf("call function %s: %w", name, err), killErr)
}

// member is a value of a map as RESP2 has it: names and values in turn.
func member(of any, name string) any {
	list, _ := of.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == any(name) {
			return list[i+1]
		}
	}
	return nil
}

func writesNothing(function any) bool {
	flags, _ := member(function, "flags").([]any)
	for _, flag := range flags {
		if flag == any("no-writes") {
			return true
		}
	}
	return false
}
