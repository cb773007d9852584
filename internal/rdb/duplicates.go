package rdb

import "github.com/slotark/slotark/internal/slot"

const (
	// maxNames is how many names are kept at most, in 20 MiB.
	maxNames = 2_100_000
	// namesKept is how many of a slot-ordered dump are kept before those of
	// finished slots are let go: their table then still lies in a cache.
	namesKept = 16 << 10
	nameBatch = 128
	nameShown = 80 // bytes of a name kept for the person who is told of it
	// minKeyBytes is the least a key takes in a dump: type, name, value.
	minKeyBytes = 3
)

// duplicateCheck finds names that come twice in a database.
//
// Where slots come one after the other (a cluster node's dump since Redis 7.4
// and Valkey 8) the names of a slot that is over cannot come again and are let
// go. Elsewhere all are kept, up to maxNames; what is beyond is not checked,
// and unchecked says so.
type duplicateCheck struct {
	ids     *idSet // nil: full, and given up
	pending []pendingName
	shown   []byte // of the pending names, one behind the other

	db, highest int
	slot        int      // of the key before; -1: none
	left        slot.Set // slots of this database that were left for another
	interleaved bool     // slots of this database come back
	dropped     bool     // names of this database were let go
	droppedAny  bool     // of any
	announced   int      // keys RESIZEDB promises, as far as they can follow
	unchecked   bool
}

// pendingName waits to be looked up: many at once take hardly longer than one.
type pendingName struct {
	id     id
	offset int64
	shown  int // where its text begins
	db     int
}

func newDuplicateCheck() *duplicateCheck {
	return &duplicateCheck{ids: newIDSet(maxNames), slot: -1, pending: make([]pendingName, 0, nameBatch)}
}

// announce takes in how many keys the database is said to have. left is how
// many bytes can follow: a lie must not allocate more than in proportion.
func (c *duplicateCheck) announce(keys, left uint64) {
	c.announced = int(min(keys, left/minKeyBytes, maxNames))
	if c.interleaved {
		c.ids.expected = min(c.ids.used+c.announced, maxNames)
	}
}

// add takes in a key. The damage it returns may be that of a key shortly before.
func (c *duplicateCheck) add(key *Record) error {
	if c.ids == nil {
		return nil
	}
	if key.DB != c.db {
		c.enterDB(key.DB)
	}
	if key.Slot != c.slot {
		if err := c.enterSlot(key.Slot); err != nil || c.ids == nil {
			return err
		}
	}
	x := c.ids.of(key.Key)
	x.tag ^= uint64(key.DB) * 0x9e3779b97f4a7c15 << 1 // one name in two databases is two names
	c.pending = append(c.pending, pendingName{id: x, offset: key.Offset, shown: len(c.shown), db: key.DB})
	c.shown = append(c.shown, key.Key[:min(len(key.Key), nameShown)]...)
	if len(c.pending) == nameBatch {
		return c.flush()
	}
	return nil
}

// enterDB begins a database. A server writes them in order; of one that comes
// back some names may have been let go.
func (c *duplicateCheck) enterDB(db int) {
	if db <= c.highest && c.droppedAny {
		c.unchecked = true
	}
	c.db, c.highest = db, max(c.highest, db)
	c.slot, c.left = -1, slot.Set{}
	c.interleaved, c.dropped = false, false
}

// enterSlot begins a slot's keys, which may have begun before.
func (c *duplicateCheck) enterSlot(next int) error {
	if c.slot >= 0 {
		c.left.Add(c.slot)
	}
	c.slot = next
	if !c.interleaved && c.left.Contains(next) {
		c.interleaved = true
		c.unchecked = c.unchecked || c.dropped
		c.ids.expected = min(c.ids.used+c.announced, maxNames)
	}
	if c.interleaved || c.ids.used+len(c.pending) < namesKept {
		return nil
	}
	if err := c.flush(); err != nil || c.ids == nil {
		return err
	}
	c.ids.reset(2 * namesKept) // the same memory every time: the last slot goes beyond
	c.dropped, c.droppedAny = true, true
	return nil
}

// flush looks up what is pending.
func (c *duplicateCheck) flush() error {
	if c.ids == nil {
		return nil
	}
	pending, shown := c.pending, c.shown
	c.pending, c.shown = pending[:0], shown[:0]
	for i := range pending {
		c.ids.touch(pending[i].id)
	}
	for i, p := range pending {
		twice, full := c.ids.add(p.id)
		if full {
			c.ids, c.unchecked = nil, true
			return nil
		}
		if twice {
			end := len(shown)
			if i+1 < len(pending) {
				end = pending[i+1].shown
			}
			return damage(CodeDuplicate, p.offset, "key %s stands in database %d for the second time", quoteKey(shown[p.shown:end]), p.db)
		}
	}
	return nil
}
