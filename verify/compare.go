package verify

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"golang.org/x/sync/errgroup"
)

// CompareOptions says what to compare with what.
type CompareOptions struct {
	Snapshot *catalog.Snapshot
	Access   *cluster.Access
	Seeds    []string // nodes of the cluster; one that answers is enough
	// AnyLayout lets slots be on other shards than in the snapshot. Whoever owns one
	// then has the function libraries of all shards that its slots come from.
	AnyLayout bool
	Parallel  int // shards at once; 0 is a number that suits this machine
	Now       func() time.Time
	Progress  progress.Func
}

// Comparison is what comparing came to.
type Comparison struct {
	Slots    int        // slots that were compared
	Keys     uint64     // keys of the snapshot that had to be in the cluster
	Expired  uint64     // keys of the snapshot that had expired when the cluster's dumps were made
	Unproved uint64     // of Keys: values that differ as stored and may be the same, see provable
	Digest   rdb.Digest // of all keys of the snapshot's dumps, expired ones too: its fingerprint
	// Encodings are how the cluster's own dumps have its keys.
	Encodings rdb.Encodings
	Findings  []manifest.Finding
	Elapsed   time.Duration
}

// Equal tells whether the cluster holds what the snapshot holds.
func (c *Comparison) Equal() bool { return len(c.Findings) == 0 }

// minParallel keeps a machine with few cores from reading shards one by one: a
// node asked for its dump forks first, and that costs nobody here a core.
const minParallel = 6

// CompareLive compares every slot and every key of a snapshot with a cluster
// to which nobody writes. Differences are findings; an error means that the
// comparison could not be made. doc.go describes the steps.
func CompareLive(ctx context.Context, o CompareOptions) (*Comparison, error) {
	c := newComparing(o)
	started := c.Now()

	// Topology: who owns what.
	topology, err := cluster.Discover(ctx, o.Access, o.Seeds)
	if err != nil {
		return nil, err
	}
	c.match(topology)

	// Live first, because its forks decide which expiries are beyond doubt. Counted
	// beside it: that takes a number of each slot and hardly any time of the nodes.
	both, under := errgroup.WithContext(ctx)
	both.Go(func() error { return c.count(under) })
	both.Go(func() error { return c.eachPrimary(under, c.sumLive) })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	if err := c.eachShard(ctx, c.sumSaved); err != nil {
		return nil, err
	}

	// Judge, then name the keys where something differs.
	differing := c.judge()
	if err := c.name(ctx, differing); err != nil {
		return nil, err
	}
	return c.result(c.Now().Sub(started)), nil
}

// comparing is one comparison under way.
type comparing struct {
	CompareOptions
	primaries []cluster.Shard // those that own slots

	// By slot. Each slot belongs to one shard on either side, whose goroutine
	// alone writes it.
	counts  [slot.Count]int64       // what the primaries counted
	counted [slot.Count]int64       // when, by the primary's clock, unix ms
	indexed [slot.Count]int64       // what the slot indexes say
	digests [slot.Count]*rdb.Digest // and their digests; nil: of another definition
	cutoff  [slot.Count]int64       // unix ms of the primary's clock after its fork
	live    tallies
	saved   tallies

	from           []*catalog.Snapshot // by shard: the snapshot as the store has it that is read
	liveEncodings  []rdb.Encodings     // by position in primaries
	liveFunctions  []libraries         // by position in primaries
	savedFunctions []libraries         // by shard

	mu       sync.Mutex
	findings []manifest.Finding
	unproved uint64
}

func newComparing(o CompareOptions) *comparing {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = max(minParallel, runtime.GOMAXPROCS(0))
	}
	shards := len(o.Snapshot.Manifest.Shards)
	return &comparing{CompareOptions: o, from: make([]*catalog.Snapshot, shards), savedFunctions: make([]libraries, shards)}
}

// match finds the snapshot's shards among the primaries. A slot that moved is
// still compared, wherever it is now; that it moved is a finding.
func (c *comparing) match(t *cluster.Topology) {
	for _, s := range t.Shards {
		if s.Slots.Len() > 0 {
			c.primaries = append(c.primaries, s)
		}
	}
	c.liveFunctions = make([]libraries, len(c.primaries))
	c.liveEncodings = make([]rdb.Encodings, len(c.primaries))
	for _, shard := range c.Snapshot.Manifest.Shards {
		if !c.AnyLayout && c.primaryOf(shard) < 0 {
			c.report(codeSlotOwner, "slots "+shard.Slots.String(),
				"no primary owns exactly these slots, as one did when the snapshot was taken")
		}
	}
	if missing := c.Snapshot.Manifest.Slots().Minus(t.Slots()); missing.Len() > 0 {
		c.report(codeSlotOwner, "slots "+missing.String(), "nobody owns them")
	}
}

// primaryOf returns the position of the primary that owns a shard's slots and
// no other, or -1.
func (c *comparing) primaryOf(shard manifest.Shard) int {
	return slices.IndexFunc(c.primaries, func(p cluster.Shard) bool { return p.Slots == shard.Slots })
}

func (c *comparing) result(elapsed time.Duration) *Comparison {
	result := &Comparison{Slots: c.Snapshot.Manifest.Slots().Len(), Findings: c.findings, Unproved: c.unproved, Elapsed: elapsed}
	for i := range c.liveEncodings {
		result.Encodings.Add(&c.liveEncodings[i])
	}
	for i := range c.saved {
		result.Keys += c.saved[i].keys
		result.Expired += c.saved[i].expired
		result.Digest = result.Digest.Add(c.saved[i].whole)
	}
	return result
}
