package restore

import (
	"bufio"
	"context"
	"errors"
	"strconv"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/slot"
)

// lane is the way to one primary.
type lane struct {
	*pipe
	target *target
	owned  slot.Set // of the slots that come this way
	db     int      // in which the node is
	keys   uint64   // sent
	bytes  int64    // of the records that were sent
}

// choose has what follows go into a database.
func (w *lane) choose(db int) error {
	if db == w.db {
		return nil
	}
	w.db = db
	return w.send(sent{what: kindDatabase, name: strconv.Itoa(db)}, func(to *bufio.Writer) error {
		_, err := to.Write(cluster.AppendCommand(to.AvailableBuffer(), "SELECT", db))
		return err
	})
}

// lanes are the ways to all primaries that own slots of one shard of a snapshot.
// Their user ends them with finish or with abort, once.
type lanes []*lane

// openLanes opens a pipe to each of the targets that owns some of the slots.
func (r *run) openLanes(ctx context.Context, slots slot.Set, onto []*target) (lanes, error) {
	var all lanes
	for _, t := range onto {
		owned := r.layout[t.shard].Intersect(slots)
		if owned.Len() == 0 {
			continue
		}
		p, err := openPipe(ctx, r.Access, t, r.Patience)
		if err != nil {
			return nil, errors.Join(err, all.abort())
		}
		all = append(all, &lane{pipe: p, target: t, owned: owned})
	}
	// Who waits for one node's answers sends first what the others wait for.
	for _, w := range all {
		w.before = all.flush
	}
	return all, nil
}

// to is the way to a slot that is one of the shard's.
func (all lanes) to(n int) *lane {
	if len(all) > 1 {
		for _, w := range all {
			if w.owned.Contains(n) {
				return w
			}
		}
	}
	return all[0]
}

func (all lanes) each(do func(*lane) error) error {
	var failures []error
	for _, w := range all {
		failures = append(failures, do(w))
	}
	return errors.Join(failures...)
}

// flush sends what is in the buffers.
func (all lanes) flush() error { return all.each(func(w *lane) error { return w.pipe.flush() }) }

// finish waits for every answer and closes the connections.
func (all lanes) finish() error { return all.each(func(w *lane) error { return w.pipe.finish() }) }

// abort is finish for pipes of which nothing is wanted any more.
func (all lanes) abort() error { return all.each(func(w *lane) error { return w.pipe.abort() }) }

// String names the nodes.
func (all lanes) String() string {
	var names []string
	for _, w := range all {
		names = append(names, w.target.addr())
	}
	return human.List(names)
}
