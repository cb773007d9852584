package dataset

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
)

// Options say what to load.
type Options struct {
	Keys int    // how many; from len(Kinds()) on, every kind is there
	Seed uint64 // equal seeds give equal keys

	// ExpiringShare of the keys get an expiry of one hour to thirty days;
	// 0 is 0.3, a negative number none.
	ExpiringShare float64
	// ShortShare of those expire within ShortTTL instead; both or none.
	ShortShare float64
	ShortTTL   time.Duration
}

// Stats is what was loaded.
type Stats struct {
	Keys, Expiring, Short int
	Bytes                 int64          // of commands, as sent
	Types                 map[string]int // keys by type, as TYPE names it
	Kinds                 map[string]int // keys by kind, see Kinds
	Functions             int            // primaries that hold the function library
	Elapsed               time.Duration
}

const (
	defaultExpiring = 0.3
	// shardLimit is how many primaries are loaded at once.
	shardLimit = 16
	// silenceLimit is how long a primary may answer nothing.
	silenceLimit = 30 * time.Second
	// deadlineEvery is after how many replies the limit starts anew: a
	// deadline per reply would cost more than the reply.
	deadlineEvery = 256
	// library is one small function library, for functions are part of a dump. The
	// second one says that it writes nothing, so a drill may call it.
	library = "#!lua name=slotark_demo\n" +
		"redis.register_function('slotark_demo_sum', function(keys, args) return tonumber(args[1]) + tonumber(args[2]) end)\n" +
		"redis.register_function{function_name='slotark_demo_count', callback=function() return redis.call('DBSIZE') end, flags={'no-writes'}}\n"
)

// Load writes the keys straight to the primaries that own their slots, each
// primary's in one pipeline, and a function library to every primary that knows
// functions (7.0). Keys of the same names are added to, not replaced: load into
// an empty cluster.
func Load(ctx context.Context, access *cluster.Access, topology *cluster.Topology, o Options) (*Stats, error) {
	started := clock.Now()
	if o.ExpiringShare == 0 {
		o.ExpiringShare = defaultExpiring
	}
	total := &Stats{Types: map[string]int{}, Kinds: map[string]int{}}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(shardLimit)
	for _, shard := range topology.Shards {
		if shard.Slots.Len() == 0 {
			continue
		}
		group.Go(func() error {
			part, err := loadShard(ctx, access, shard, o)
			if err != nil {
				return fmt.Errorf("load keys into %s: %w", shard.Primary.Addr, err)
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(part)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	total.Elapsed = clock.Since(started)
	return total, nil
}

func (s *Stats) add(part *Stats) {
	s.Keys += part.Keys
	s.Expiring += part.Expiring
	s.Short += part.Short
	s.Bytes += part.Bytes
	s.Functions += part.Functions
	for name, n := range part.Types {
		s.Types[name] += n
	}
	for name, n := range part.Kinds {
		s.Kinds[name] += n
	}
}

// loadShard sends one primary its keys. One goroutine writes while another
// reads the replies: a server that cannot get rid of them stops reading.
func loadShard(ctx context.Context, access *cluster.Access, shard cluster.Shard, o Options) (*Stats, error) {
	functions, err := loadLibrary(ctx, access, shard.Primary.Addr)
	if err != nil {
		return nil, err
	}
	// Either goroutine's failure ends ctx, and with it the other's wait on the
	// connection, which is why the connection is opened with this ctx.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	conn, replies, err := access.Dial(ctx, shard.Primary.Addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stats := &Stats{Types: map[string]int{}, Kinds: map[string]int{}, Functions: functions}
	group.Go(func() error { return send(ctx, bufio.NewWriterSize(conn, 64<<10), shard.Slots, o, stats) })
	group.Go(func() error {
		for n := 0; ; n++ {
			if n%deadlineEvery == 0 {
				if err := conn.SetReadDeadline(clock.Now().Add(silenceLimit)); err != nil {
					return err
				}
			}
			reply, err := cluster.ReadReply(replies)
			if err != nil {
				return fmt.Errorf("read reply: %w", err)
			}
			if reply == lastReply {
				return nil
			}
		}
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return stats, nil
}

// lastReply is what the server is asked to answer after all keys. It begins
// with a zero byte, as no reply to a command of this package does.
const lastReply = "\x00slotark: that was all"

func send(ctx context.Context, w *bufio.Writer, owned slot.Set, o Options, stats *Stats) error {
	var buffer []byte
	for i := range o.Keys {
		// The slot is known from the name alone, so that what belongs to
		// other primaries costs next to nothing here.
		key := newKey(o, i)
		if !owned.Contains(slot.Of(key.name)) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		buffer = key.append(buffer[:0])
		if _, err := w.Write(buffer); err != nil {
			return fmt.Errorf("send keys: %w", err)
		}
		stats.count(key, len(buffer))
	}
	if _, err := w.Write(cluster.AppendCommand(buffer[:0], "ECHO", lastReply)); err != nil {
		return fmt.Errorf("send keys: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("send keys: %w", err)
	}
	return nil
}

func (s *Stats) count(k key, size int) {
	s.Keys++
	s.Bytes += int64(size)
	s.Types[k.kind.typ]++
	s.Kinds[k.kind.name]++
	if k.ttl > 0 {
		s.Expiring++
	}
	if k.short {
		s.Short++
	}
}

// loadLibrary loads the function library, and returns how many were loaded:
// none into a server older than functions.
func loadLibrary(ctx context.Context, access *cluster.Access, addr string) (int, error) {
	node := access.Open(addr)
	_, err := node.Do(ctx, "FUNCTION", "LOAD", "REPLACE", library)
	if errClose := node.Close(); err == nil {
		err = errClose
	}
	var refused cluster.ServerError
	if errors.As(err, &refused) && refused.IsUnknownCommand() {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return 1, nil
}
