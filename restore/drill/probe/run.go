package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
)

// commandLimit bounds one command of a probe. A script that runs longer would hold
// up an application as well.
const commandLimit = 30 * time.Second

// scanCount is how many keys a node looks at before it answers.
const scanCount = 1000

// Cluster is a restored cluster that is asked. It is not for several goroutines.
type Cluster struct {
	access   *cluster.Access
	topology *cluster.Topology
	client   *cluster.Client
}

// Open finds out about the cluster that any of the nodes belongs to. The caller
// closes it.
func Open(ctx context.Context, access *cluster.Access, seeds []string) (*Cluster, error) {
	topology, err := cluster.Discover(ctx, access, seeds)
	if err != nil {
		return nil, err
	}
	return &Cluster{access, topology, access.OpenClient(topology, commandLimit)}, nil
}

// Close closes the connections.
func (c *Cluster) Close() error { return c.client.Close() }

// Shards are those of the cluster that own slots.
func (c *Cluster) Shards() []cluster.Shard {
	return slices.DeleteFunc(slices.Clone(c.topology.Shards), func(s cluster.Shard) bool { return s.Slots.Len() == 0 })
}

// Result is how one probe ended.
type Result struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail,omitempty"` // what was not as it says
}

// Run makes the probes one by one. An error means that ctx ended.
func (c *Cluster) Run(ctx context.Context, probes []Probe) ([]Result, error) {
	results := make([]Result, len(probes))
	for i, p := range probes {
		err := c.check(ctx, &p)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		results[i] = Result{Name: p.Title(), Passed: err == nil}
		if err != nil {
			results[i].Detail = err.Error()
		}
	}
	return results, nil
}

// check makes one probe. Its error says what was not as the probe says.
func (c *Cluster) check(ctx context.Context, p *Probe) error {
	switch {
	case p.Key != "":
		return c.checkKey(ctx, p)
	case p.Pattern != "":
		return c.checkCount(ctx, p)
	}
	return c.checkCode(ctx, p)
}

func (c *Cluster) checkKey(ctx context.Context, p *Probe) error {
	kind, err := c.text(ctx, "TYPE", p.Key)
	switch there := kind != "none"; {
	case err != nil:
		return err
	case p.Exists != nil && !*p.Exists && there:
		return fmt.Errorf("there is such a key, a %s", kind)
	case p.Exists != nil && !*p.Exists:
		return nil
	case !there:
		return errors.New("there is no such key")
	case p.Type != "" && p.Type != kind:
		return fmt.Errorf("it is a %s, not a %s", kind, p.Type)
	}
	if err := c.checkValue(ctx, p, kind); err != nil {
		return err
	}
	if p.Length.set {
		command := types[kind]
		if command == "" {
			return fmt.Errorf("it is a %s, whose length is not known", kind)
		}
		n, err := c.number(ctx, command, p.Key)
		if err != nil {
			return err
		}
		if !p.Length.has(n) {
			return fmt.Errorf("its length is %d, not %s", n, p.Length)
		}
	}
	if p.TTL.set {
		return c.checkTTL(ctx, p)
	}
	return nil
}

func (c *Cluster) checkValue(ctx context.Context, p *Probe, kind string) error {
	if p.Value == nil {
		return nil
	}
	of, want, args := "its value", "string", []any{"GET", p.Key}
	if p.Field != "" {
		of, want, args = "the field's value", "hash", []any{"HGET", p.Key, p.Field}
	}
	if kind != want {
		return fmt.Errorf("it is a %s, not a %s", kind, want)
	}
	reply, err := c.client.Do(ctx, args...)
	switch {
	case err != nil:
		return err
	case reply == nil:
		return errors.New("it has no such field")
	case reply != any(*p.Value):
		return errors.New(of + " is another")
	}
	return nil
}

func (c *Cluster) checkTTL(ctx context.Context, p *Probe) error {
	ms, err := c.number(ctx, "PTTL", p.Key)
	if err != nil {
		return err
	}
	left := time.Duration(ms) * time.Millisecond
	switch {
	case ms == -1 && !p.TTL.None:
		return fmt.Errorf("it does not expire, and should live for %s", p.TTL)
	case ms == -1 || ms == -2: // -2: it expired just now
		return nil
	case p.TTL.None:
		return fmt.Errorf("it expires in %s", human.Duration(left))
	case left < p.TTL.Least || left > p.TTL.Most:
		return fmt.Errorf("it lives for %s, not for %s", human.Duration(left), p.TTL)
	}
	return nil
}

// checkCount counts keys on every primary. Nobody writes, so SCAN returns each once.
func (c *Cluster) checkCount(ctx context.Context, p *Probe) error {
	total := int64(0)
	err := c.eachPrimary(func(node *cluster.Node) error {
		for cursor := "0"; ; {
			reply, err := node.Do(ctx, "SCAN", cursor, "MATCH", p.Pattern, "COUNT", scanCount)
			if err != nil {
				return err
			}
			page, ok := reply.([]any)
			if !ok || len(page) != 2 {
				return fmt.Errorf("run SCAN on %s: %T is no page of keys", node.Addr(), reply)
			}
			keys, _ := page[1].([]any)
			total += int64(len(keys))
			if cursor = fmt.Sprint(page[0]); cursor == "0" {
				return nil
			}
		}
	})
	if err == nil && !p.Count.has(total) {
		err = fmt.Errorf("there are %d, not %s", total, p.Count)
	}
	return err
}

// checkCode runs a script or a function: with keys where they are, else on every
// primary.
func (c *Cluster) checkCode(ctx context.Context, p *Probe) error {
	args := []any{"EVAL", p.Script}
	if p.Function != "" {
		args = []any{"FCALL", p.Function}
	}
	args = append(append(args, len(p.Keys)), arguments(p.Keys, p.Args)...)
	judge := func(reply any, err error) error {
		if err != nil {
			return err
		}
		if raw(reply) != strings.TrimSuffix(*p.Result, "\n") {
			return errors.New("its answer is another")
		}
		return nil
	}
	if len(p.Keys) > 0 {
		return judge(c.client.Do(ctx, args...))
	}
	return c.eachPrimary(func(node *cluster.Node) error {
		if err := judge(node.Do(ctx, args...)); err != nil {
			return fmt.Errorf("on %s: %w", node.Addr(), err)
		}
		return nil
	})
}

// raw is a reply as redis-cli --raw shows it, but for no value.
func raw(reply any) string {
	switch v := reply.(type) {
	case nil:
		return "(nil)"
	case []any:
		lines := make([]string, len(v))
		for i, element := range v {
			lines[i] = raw(element)
		}
		return strings.Join(lines, "\n")
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(reply)
}

// eachPrimary asks every primary that owns slots, one after the other.
func (c *Cluster) eachPrimary(ask func(node *cluster.Node) error) error {
	access := *c.access
	access.Timeout = commandLimit
	for _, shard := range c.topology.Shards {
		if shard.Slots.Len() == 0 {
			continue
		}
		node := access.Open(shard.Primary.Addr)
		if err := errors.Join(ask(node), node.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) text(ctx context.Context, args ...any) (string, error) {
	reply, err := c.client.Do(ctx, args...)
	return raw(reply), err
}

func (c *Cluster) number(ctx context.Context, args ...any) (int64, error) {
	reply, err := c.client.Do(ctx, args...)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("run %v: want a number, got %T", args[0], reply)
	}
	return n, nil
}
