package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Node is a client of one node and no other: it follows no redirection, so
// what it answers is what that node said. It is safe for concurrent use.
//
// A command is sent once. Whether it may be sent again after a connection broke
// is for the caller to know: a BGSAVE may have begun, a RESTORE be done.
//
// Every command is bounded by [Access.Timeout]. A ctx with a deadline ends it
// sooner; a ctx that is merely cancelled is honoured before the command and
// while connecting, but a reply that is being waited for is waited for until
// the timeout: go-redis watches deadlines only.
type Node struct {
	access *Access
	addr   string
	client *redis.Client
}

// poolSize bounds the connections to one node. It is also the number of failed
// dials after which go-redis answers from memory for a second, which is why it
// is not 1.
const poolSize = 4

// countBatch is the number of commands sent at once by CountKeysInSlots. The
// answers are a few bytes each; 1024 of them stay far below any output limit.
const countBatch = 1024

// Open returns a client of the node at addr, an announced "host:port". It does
// not connect yet. The caller closes it.
func (a *Access) Open(addr string) *Node {
	quiet()
	timeout := a.timeout()
	return &Node{access: a, addr: addr, client: redis.NewClient(&redis.Options{
		Addr: addr,
		// Connections arrive authenticated: one place knows how a node is
		// reached and how its refusals read, for raw connections too.
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := a.connect(ctx, addr)
			if err != nil {
				return nil, &dialFailure{err}
			}
			return conn, nil
		},
		Protocol:                 2,
		DisableIdentity:          true, // CLIENT SETINFO would need a right of its own
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              2 * timeout, // connect keeps the limit itself, and says which it was
		ReadTimeout:              timeout,
		WriteTimeout:             timeout,
		ContextTimeoutEnabled:    true,
		PoolSize:                 poolSize,
		PipelinePoolSize:         -1,
	})}
}

// quiet stops go-redis from writing to standard error: what fails is returned,
// and who logs it decides where.
var quiet = sync.OnceFunc(logging.Disable)

// Addr is the node's address as it was given to Open.
func (n *Node) Addr() string { return n.addr }

// Close closes the node's connections.
func (n *Node) Close() error { return n.client.Close() }

// Do runs one command. The reply is a string, an int64, a []any or nil.
func (n *Node) Do(ctx context.Context, args ...any) (any, error) {
	reply, err := n.client.Do(ctx, args...).Result()
	if err = n.access.explain(ctx, n.addr, commandName(args), err); err != nil {
		return nil, err
	}
	return reply, nil
}

// Text runs a command that answers with a string; no value is "".
func (n *Node) Text(ctx context.Context, args ...any) (string, error) {
	reply, err := n.Do(ctx, args...)
	if err != nil || reply == nil {
		return "", err
	}
	text, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("run %s on %s: want a string, got %T", commandName(args), n.addr, reply)
	}
	return text, nil
}

// Int runs a command that answers with an integer.
func (n *Node) Int(ctx context.Context, args ...any) (int64, error) {
	reply, err := n.Do(ctx, args...)
	if err != nil {
		return 0, err
	}
	number, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("run %s on %s: want an integer, got %T", commandName(args), n.addr, reply)
	}
	return number, nil
}

// Pipeline runs commands in one round trip. The replies stand in the order of
// the commands; where one failed, its reply is its error. The error returned is
// the first of these, so a caller that needs all of them looks no further.
func (n *Node) Pipeline(ctx context.Context, commands [][]any) ([]any, error) {
	pipe := n.client.Pipeline()
	sent := make([]*redis.Cmd, len(commands))
	for i, args := range commands {
		sent[i] = pipe.Do(ctx, args...)
	}
	// Exec's own error is the first of the commands', read below with its name.
	_, _ = pipe.Exec(ctx)
	replies := make([]any, len(commands))
	var first error
	for i, cmd := range sent {
		reply, err := cmd.Result()
		if err = n.access.explain(ctx, n.addr, commandName(commands[i]), err); err != nil {
			replies[i] = err
			if first == nil {
				first = err
			}
			continue
		}
		replies[i] = reply
	}
	return replies, first
}

// Ping checks that the node answers commands: one that is still loading, or a
// replica that lost its primary and may not serve, does not.
func (n *Node) Ping(ctx context.Context) error {
	_, err := n.Do(ctx, "PING")
	return err
}

// Info runs INFO for one section; "" is the server's default selection.
func (n *Node) Info(ctx context.Context, section string) (Info, error) {
	args := []any{"INFO"}
	if section != "" {
		args = append(args, section)
	}
	text, err := n.Text(ctx, args...)
	if err != nil {
		return nil, err
	}
	return ParseInfo(text), nil
}

// Time is the node's clock, to the microsecond, in UTC.
func (n *Node) Time(ctx context.Context) (time.Time, error) {
	reply, err := n.Do(ctx, "TIME")
	if err != nil {
		return time.Time{}, err
	}
	if parts, ok := reply.([]any); ok && len(parts) == 2 {
		seconds, errSeconds := strconv.ParseInt(fmt.Sprint(parts[0]), 10, 64)
		micros, errMicros := strconv.ParseInt(fmt.Sprint(parts[1]), 10, 64)
		if errors.Join(errSeconds, errMicros) == nil {
			return time.Unix(seconds, micros*int64(time.Microsecond)).UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("run TIME on %s: want seconds and microseconds, got %v", n.addr, reply)
}

// CountKeysInSlots asks the node how many keys it holds in each slot, in the
// order of slots. A node counts what it holds, whoever owns the slot. Where there
// are several databases in cluster mode (Valkey 9) it counts those of the first.
func (n *Node) CountKeysInSlots(ctx context.Context, slots []int) ([]int64, error) {
	return n.CountKeysInSlotsOf(ctx, 0, slots)
}

// CountKeysInSlotsOf is [Node.CountKeysInSlots] of one database. Of another than the
// first it needs the right +select.
func (n *Node) CountKeysInSlotsOf(ctx context.Context, db int, slots []int) ([]int64, error) {
	counts := make([]int64, 0, len(slots))
	for len(slots) > 0 {
		batch := slots[:min(countBatch, len(slots))]
		slots = slots[len(batch):]
		commands := make([][]any, len(batch))
		for i, s := range batch {
			commands[i] = []any{"CLUSTER", "COUNTKEYSINSLOT", s}
		}
		if db > 0 { // and back: the connection goes to others
			commands = slices.Concat([][]any{{"SELECT", db}}, commands, [][]any{{"SELECT", 0}})
		}
		replies, err := n.Pipeline(ctx, commands)
		if err != nil {
			return nil, err
		}
		if db > 0 {
			replies = replies[1 : len(replies)-1]
		}
		for i, reply := range replies {
			count, ok := reply.(int64)
			if !ok {
				return nil, fmt.Errorf("count keys in slot %d on %s: want an integer, got %T", batch[i], n.addr, reply)
			}
			counts = append(counts, count)
		}
	}
	return counts, nil
}
