package part

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	// batchKeys and batchBytes bound what is asked of the cluster at once.
	batchKeys  = 256
	batchBytes = 8 << 20
	// answerLimit is how long a node may take for a batch: RESTORE of a value of
	// gigabytes is one answer.
	answerLimit = 2 * time.Minute
	// movedTries is how often it is looked who has a slot now, before it is given up.
	movedTries = 5
	movedPause = 500 * time.Millisecond
)

// live is the running cluster.
type live struct {
	access   cluster.Access
	seeds    []string
	owners   [slot.Count]string // by slot, the primary's address
	nodes    map[string]*cluster.Node
	payloads *rdb.Payloads
}

func openLive(ctx context.Context, access *cluster.Access, seeds []string) (*live, error) {
	l := &live{access: *access, seeds: seeds, nodes: map[string]*cluster.Node{}, payloads: rdb.NewPayloads()}
	l.access.Timeout = answerLimit
	return l, l.discover(ctx, access)
}

// discover looks who has which slot. A cluster that is not whole, or in which
// slots move, is refused.
func (l *live) discover(ctx context.Context, access *cluster.Access) error {
	topology, err := cluster.Discover(ctx, access, l.seeds)
	if err != nil {
		return err
	}
	for _, shard := range topology.Shards {
		for n := range shard.Slots.All() {
			l.owners[n] = shard.Primary.Addr
		}
	}
	return nil
}

func (l *live) node(addr string) *cluster.Node {
	node := l.nodes[addr]
	if node == nil {
		node = l.access.Open(addr)
		l.nodes[addr] = node
	}
	return node
}

func (l *live) close() {
	for _, node := range l.nodes {
		_ = node.Close() // nothing is under way any more
	}
}

// batch are some keys on their way.
type batch struct {
	items []item
	bytes int
}

// passing returns what takes the keys of one pass, in batches: it compares them,
// and writes as a rule says; "" writes nothing.
func (l *live) passing(ctx context.Context, s *source, rule Rule) func(*item) error {
	var b batch
	return func(it *item) error {
		if it != nil {
			own := *it
			if !s.all { // the next one is read over it
				own.Key, own.value = append([]byte(nil), it.Key...), append([]byte(nil), it.value...)
			}
			b.items = append(b.items, own)
			b.bytes += len(it.value) + len(it.Key)
		}
		if len(b.items) == 0 || it != nil && len(b.items) < batchKeys && b.bytes < batchBytes {
			return nil
		}
		err := l.settle(ctx, s, b.items, rule)
		b = batch{items: b.items[:0]}
		return err
	}
}

// settle compares a batch, and writes what is to be written of it.
func (l *live) settle(ctx context.Context, s *source, items []item, rule Rule) error {
	states, err := l.compare(ctx, items)
	if err != nil {
		return err
	}
	var writes []item
	for i := range items {
		it := &items[i]
		switch states[i] {
		case gone:
			s.result.Expired++
		case equal:
			s.result.Equal++
		case missing:
			s.result.Missing.add(it.Key)
			if rule != "" {
				writes = append(writes, *it)
			}
		case differs:
			s.result.Differ.add(it.Key)
			if rule == Replace {
				writes = append(writes, *it)
			}
		}
	}
	if len(writes) == 0 {
		return nil
	}
	if err := l.write(ctx, writes, rule); err != nil {
		return err
	}
	s.result.Written += uint64(len(writes))
	if states, err = l.compare(ctx, writes); err != nil {
		return err
	}
	for i, state := range states {
		if state == missing || state == differs {
			s.result.Findings = append(s.result.Findings, manifest.Finding{Code: "written-since", Severity: "warning", Subject: "key " + quoted(writes[i].Key),
				Detail: "it was restored, and is another by now: somebody writes to it"})
		}
	}
	return nil
}

// state is how a key stands in the cluster.
type state int

const (
	gone    state = iota // the snapshot's own has expired
	missing              // the cluster has none
	equal
	differs
)

// compare asks the cluster for keys.
func (l *live) compare(ctx context.Context, items []item) ([]state, error) {
	commands := make([][][]any, len(items))
	for i := range items {
		if items[i].DB != 0 {
			return nil, hint.Add(fmt.Errorf("key %s is in database %d", quoted(items[i].Key), items[i].DB), "Keys can be put into database 0 of a running cluster; leave the others out, or restore the whole snapshot.")
		}
		commands[i] = [][]any{{"PEXPIRETIME", items[i].Key}, {"DUMP", items[i].Key}}
	}
	replies, err := l.ask(ctx, items, commands)
	if err != nil {
		return nil, err
	}
	states := make([]state, len(items))
	now := clock.Now().UnixMilli()
	for i := range items {
		it := &items[i]
		if it.HasExpiry && it.ExpireAt <= now {
			continue
		}
		if states[i], err = l.judge(it, replies[i][0], replies[i][1]); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// judge holds a key against what the cluster answered.
func (l *live) judge(it *item, expiry, dump any) (state, error) {
	payload, there := dump.(string)
	at, _ := expiry.(int64)
	if !there {
		return missing, nil
	}
	want, got := it.Record, rdb.Record{Key: it.Key, HasExpiry: at >= 0, ExpireAt: max(at, 0)}
	if err := l.payloads.Digest(&want, it.payload()); err != nil {
		return differs, fmt.Errorf("key %s in the snapshot: %w", quoted(it.Key), err)
	}
	if err := l.payloads.Digest(&got, []byte(payload)); err != nil {
		return differs, fmt.Errorf("key %s in the cluster: %w", quoted(it.Key), err)
	}
	if want.Digest != got.Digest {
		return differs, nil
	}
	return equal, nil
}

func (it *item) payload() []byte {
	return rdb.DumpPayload(nil, it.Type, it.value, it.header.Version)
}

// write sends keys to the cluster. Replace takes the place of what is there.
func (l *live) write(ctx context.Context, items []item, rule Rule) error {
	commands := make([][][]any, len(items))
	for i := range items {
		commands[i] = [][]any{items[i].restore(rule == Replace)}
	}
	_, err := l.ask(ctx, items, commands)
	if cluster.IsCode(err, "BUSYKEY") {
		return hint.Add(fmt.Errorf("%w: a key came to be there meanwhile: %w", ErrExisting, err), "Run it again: the keys are compared anew.")
	}
	return err
}

// restore is the command that makes the key.
func (it *item) restore(replace bool) []any {
	ttl := int64(0)
	if it.HasExpiry {
		ttl = it.ExpireAt
	}
	command := []any{"RESTORE", it.Key, ttl, it.payload(), "ABSTTL"}
	if replace {
		command = append(command, "REPLACE")
	}
	switch {
	case it.HasIdle:
		command = append(command, "IDLETIME", it.IdleSeconds)
	case it.HasFreq:
		command = append(command, "FREQ", int(it.Freq))
	}
	return command
}

// ask sends each item's commands to who has its slot, and again where that is
// another node by now. Its error is the first of a node's that is not about that.
func (l *live) ask(ctx context.Context, items []item, commands [][][]any) ([][]any, error) {
	replies := make([][]any, len(items))
	open := make([]int, len(items))
	for i := range open {
		open[i] = i
	}
	for try := 1; ; try++ {
		moved, err := l.askOnce(ctx, items, commands, replies, open)
		if err != nil || len(moved) == 0 {
			return replies, err
		}
		if try == movedTries {
			refused, _ := replies[moved[0]][0].(error)
			return nil, fmt.Errorf("nobody takes key %s: %w", quoted(items[moved[0]].Key), refused)
		}
		timer := time.NewTimer(movedPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		if err := l.discover(ctx, &l.access); err != nil {
			return nil, err
		}
		open = moved
	}
}

// askOnce asks each node once for the items that are open, and returns those
// whose node has not, or not yet, their slot.
func (l *live) askOnce(ctx context.Context, items []item, commands [][][]any, replies [][]any, open []int) (moved []int, err error) {
	byNode := map[string][]int{}
	for _, i := range open {
		addr := l.owners[items[i].Slot]
		byNode[addr] = append(byNode[addr], i)
	}
	for addr, indexes := range byNode {
		var pipeline [][]any
		for _, i := range indexes {
			pipeline = append(pipeline, commands[i]...)
		}
		answers, _ := l.node(addr).Pipeline(ctx, pipeline) // each is looked at by itself
		for _, i := range indexes {
			own := answers[:len(commands[i])]
			answers = answers[len(commands[i]):]
			replies[i] = own
			for _, answer := range own {
				refused, failed := answer.(error)
				switch {
				case !failed:
				case elsewhere(refused):
					own[0] = refused
					moved = append(moved, i)
				default:
					return nil, fmt.Errorf("key %s: %w", quoted(items[i].Key), refused)
				}
				if failed {
					break
				}
			}
		}
	}
	return moved, ctx.Err()
}

// elsewhere tells whether a refusal passes, or another node would take it.
func elsewhere(err error) bool {
	for _, code := range []string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY"} {
		if cluster.IsCode(err, code) {
			return true
		}
	}
	return errors.Is(err, cluster.ErrUnreachable)
}
