package collect

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/slotark/slotark/internal/cluster"
)

const (
	// alignLimit is how long the node is looked at to learn how its count of
	// bytes and the files' sizes are related.
	alignLimit = 5 * time.Second
	// flushLimit is how long a node may keep back what it is to append: with
	// appendfsync everysec two seconds, while the disk is busy.
	flushLimit = 15 * time.Second
)

// aofPoint is how much a node has appended at one instant, by its own count.
type aofPoint struct {
	size     int64 // aof_current_size
	buffered int64 // aof_buffer_length: written before the next reply
	waiting  bool  // an fsync is under way, so the buffer may have to wait
	offset   int64 // master_repl_offset
	replID   string
}

// end is how much there will be without any further command.
func (p *aofPoint) end() int64 { return p.size + p.buffered }

func pointOf(persistence, replication cluster.Info) aofPoint {
	return aofPoint{
		size: persistence.Int("aof_current_size"), buffered: persistence.Int("aof_buffer_length"),
		waiting: persistence.Int("aof_pending_bio_fsync") != 0,
		offset:  replication.Int("master_repl_offset"), replID: replication["master_replid"],
	}
}

// saveAt has the node fork and tells how much it had appended when it did; nil
// where commands came in between. The commands go in one piece, which a server
// carries out in one piece, too: what it counts before and after is the proof.
func saveAt(ctx context.Context, node *cluster.Node) (*aofPoint, error) {
	replies, err := node.Pipeline(ctx, [][]any{
		{"INFO", "persistence"}, {"INFO", "replication"}, {"BGSAVE"}, {"INFO", "persistence"}, {"INFO", "replication"},
	})
	if err != nil {
		return nil, err
	}
	var infos [5]cluster.Info
	for i, reply := range replies {
		text, ok := reply.(string)
		if !ok {
			return nil, fmt.Errorf("bgsave on %s: the answer to INFO is %T", node.Addr(), reply)
		}
		infos[i] = cluster.ParseInfo(text)
	}
	before, after := pointOf(infos[0], infos[1]), pointOf(infos[3], infos[4])
	if before.end() != after.end() || before.offset != after.offset || before.replID != after.replID {
		return nil, nil
	}
	return &after, nil
}

// align settles where in the last file the node was when it forked. A node's
// own count starts at its start, so it need not be the sum of the files' sizes
// (Redis 7.0 and later leave out the base that they make for an empty folder);
// what it is off by does not change while nothing is rewritten.
func (s *AOFSet) align(ctx context.Context, node *cluster.Node, fork *aofPoint) error {
	last := s.Files[len(s.Files)-1]
	off, known, err := s.drift(ctx, node)
	if err != nil {
		return err
	}
	total, err := s.look()
	if err != nil {
		return err
	}
	for _, f := range s.Files {
		f.Bytes = f.Held
	}
	if fork == nil || !known {
		info, err := node.Info(ctx, "replication")
		s.Offset = info.Int("master_repl_offset")
		return err
	}
	end := fork.end() + off - (total - last.Held)
	if end < 0 {
		return errRewritten // the node forked before this file was begun
	}
	ctx, cancel := context.WithTimeoutCause(ctx, flushLimit, fmt.Errorf("%s has not appended for %s what it had to", node.Addr(), flushLimit))
	defer cancel()
	for wait := newPoll(); last.Held < end; {
		if err := wait.next(ctx); err != nil {
			return err
		}
		if _, err := s.look(); err != nil {
			return err
		}
	}
	last.Bytes, s.Aligned, s.Offset = end, true, fork.offset
	return nil
}

// drift is the sum of the files' sizes less the node's count, where looking at
// both in turn leaves no doubt of it.
//
// A node writes its buffer to the file before it sends its replies, and counts
// what it wrote. So the sum, seen between two of the node's counts, is at least
// the first count and its buffer (unless an fsync made the buffer wait), and at
// most the second; each look narrows what the drift can be.
func (s *AOFSet) drift(ctx context.Context, node *cluster.Node) (off int64, known bool, err error) {
	count := func() (aofPoint, error) {
		info, err := node.Info(ctx, "persistence")
		return pointOf(info, nil), err
	}
	limit := time.NewTimer(alignLimit)
	defer limit.Stop()
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	before, err := count()
	if err != nil {
		return 0, false, err
	}
	for {
		total, err := s.look()
		if err != nil {
			return 0, false, err
		}
		after, err := count()
		if err != nil {
			return 0, false, err
		}
		written := before.size
		if !before.waiting {
			written = before.end()
		}
		least, most = max(least, total-after.size), min(most, total-written)
		if least == most {
			return least, true, nil
		}
		select {
		case <-limit.C:
			return 0, false, nil
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		default:
		}
		before = after
	}
}
