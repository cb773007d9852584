package cluster

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Client is a client of a whole cluster, as applications have one: it sends each
// command to the node that it takes for the owner of its first key, and goes where
// that one sends it.
//
// It takes every slot to be on another node than it is: each command for a key
// has to be redirected, as by a client whose map of the cluster is old. So who is
// answered by a Client is answered because the nodes know each other's slots.
type Client struct {
	access *Access
	client *redis.ClusterClient
	moved  atomic.Int64
}

// OpenClient returns a client of the cluster of a topology. Commands may take up to
// limit, instead of [Access.Timeout]. It does not connect yet. The caller closes it.
func (a *Access) OpenClient(t *Topology, limit time.Duration) *Client {
	quiet()
	c := &Client{access: a}
	mistaken := mistakenSlots(t)
	// go-redis takes a loopback address in a map of slots for a mistake, and puts
	// another host in its place. So nodes stand there by their ids.
	addrs := map[string]string{}
	for _, m := range t.Members() {
		addrs[byID(m)] = m.Addr
	}
	c.client = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:        slices.Collect(maps.Values(addrs)),
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) { return mistaken, nil },
		NewClient: func(o *redis.Options) *redis.Client {
			addr := cmp.Or(addrs[o.Addr], o.Addr)
			o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := a.connect(ctx, addr)
				if err != nil {
					return nil, &dialFailure{err}
				}
				return conn, nil
			}
			o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
			node := redis.NewClient(o)
			node.AddHook(countMoved{&c.moved})
			return node
		},
		Protocol:              2,
		DisableIdentity:       true,
		DialerRetries:         1,
		DialTimeout:           2 * a.timeout(),
		ReadTimeout:           limit,
		WriteTimeout:          a.timeout(),
		ContextTimeoutEnabled: true,
		PoolSize:              poolSize,
		PipelinePoolSize:      -1,
		// A command goes out as it was given: none is cut up by the slots of its keys.
		DisableRoutingPolicies: true,
	})
	return c
}

// mistakenSlots gives the slots of each primary to the next one; those of the only
// one to its replica, where it has one, which redirects as well.
func mistakenSlots(t *Topology) []redis.ClusterSlot {
	var owners []Shard
	for _, shard := range t.Shards {
		if shard.Slots.Len() > 0 {
			owners = append(owners, shard)
		}
	}
	var mistaken []redis.ClusterSlot
	for i, shard := range owners {
		other := owners[(i+1)%len(owners)].Primary
		if len(owners) == 1 && len(shard.Replicas) > 0 {
			other = shard.Replicas[0]
		}
		for _, r := range shard.Slots.Ranges() {
			mistaken = append(mistaken, redis.ClusterSlot{Start: r.First, End: r.Last, Nodes: []redis.ClusterNode{{ID: other.ID, Addr: byID(other)}}})
		}
	}
	return mistaken
}

// byID is a member's address in a map of slots, which nothing resolves.
func byID(m Member) string {
	_, port, _ := net.SplitHostPort(m.Addr)
	return net.JoinHostPort(m.ID, port)
}

// Do runs one command. The reply is a string, an int64, a []any or nil.
func (c *Client) Do(ctx context.Context, args ...any) (any, error) {
	reply, err := c.client.Do(ctx, args...).Result()
	if err = c.access.explain(ctx, "the cluster", commandName(args), err); err != nil {
		return nil, err
	}
	return reply, nil
}

// Moved is how many times a command was sent on to another node.
func (c *Client) Moved() int64 { return c.moved.Load() }

// Close closes the connections to all nodes.
func (c *Client) Close() error { return c.client.Close() }

// countMoved counts the redirections that one node answers with.
type countMoved struct{ moved *atomic.Int64 }

// DialHook changes nothing.
func (countMoved) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook changes nothing.
func (countMoved) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook counts.
func (h countMoved) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		var reply redis.Error
		if errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "MOVED ") {
			h.moved.Add(1)
		}
		return err
	}
}
