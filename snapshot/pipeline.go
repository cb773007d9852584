package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/limit"
	"github.com/slotark/slotark/storage/seal"
)

// Job is one shard to capture: what a coordinator hands to whoever captures it.
type Job struct {
	Cluster   string
	Snapshot  manifest.ID
	Shard     cluster.Shard
	Source    cluster.Member // the node that gives the dump
	Lag       int64          // bytes it was behind the primary when it was chosen
	Why       string         // why it is this node though another was to be expected; else empty
	Collect   string         // one of the Collect constants
	Attempt   int            // counts the tries of this shard from 1, whoever captures it; each has a folder of its own. 0 is 1
	Silence   time.Duration  // how long the node may say nothing; 0 is a minute
	Bandwidth int64          // bytes a second that are read of the node's dump at most; 0 is no limit
	AOF       bool           // its append-only files, too
	// Recorded is the source's own value of collect.RewriteSetting, as the
	// coordinator has recorded it; "" where it has not.
	Recorded string
}

// Turn waits until a node may be made to fork, for two forks on one machine can
// take twice its memory. Machine names the machine that the node runs on, for
// who knows it; "" goes by the node's address. The function that it returns is
// called once, when the node's child has ended.
type Turn func(ctx context.Context, machine string) (ended func(), err error)

// Capturer captures shards: a [Pipeline] on this machine, or an agent beside
// the node. It takes its turn right before the node is made to fork, once for
// each fork.
type Capturer interface {
	// Capture takes one shard's dump and returns the manifest's entry for it.
	// Its objects are in the stores then; without a manifest they are no
	// snapshot. An error that another try may do without, of the same node or of
	// another one of the shard, is marked by [Retryable]. It may be called by
	// several goroutines at once.
	Capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error)
}

var _ Capturer = (*Pipeline)(nil)

// ErrRetryable is what errors are known by that another try may do without.
var ErrRetryable = errors.New("another try may do without it")

// Retryable marks an error of a node, and not of a store or of what was asked
// for, as an [ErrRetryable]. Its text stays. A nil err stays nil.
func Retryable(err error) error {
	if err == nil {
		return nil
	}
	return &retryable{err}
}

type retryable struct{ error }

func (r *retryable) Unwrap() []error { return []error{r.error, ErrRetryable} }

// Pipeline captures shards: collect → inspect → seal → put, in one pass. It
// holds what belongs to the machine it runs on: the way to the nodes and to the
// stores. Each dump under way takes memory: Parallel bounds them.
type Pipeline struct {
	Access   *cluster.Access
	Writer   *catalog.Writer
	Sealer   *seal.Sealer
	Folders  map[string]string // node address → its data folder as seen from here
	Machine  string            // where the nodes run that it captures, if they do so on one; "" goes by their addresses
	Parallel int               // dumps under way at once; 0 is no limit
	Progress progress.Func

	once  sync.Once
	slots *semaphore.Weighted
}

// staleTries is how often a dump over the wire is asked for again when the
// node hands out one whose fork came before the request.
const staleTries = 3

// Capture implements [Capturer].
func (p *Pipeline) Capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error) {
	for try := 1; ; try++ {
		shard, way, err := p.capture(ctx, j, turn)
		if err == nil || way != CollectStream || !errors.Is(err, collect.ErrStale) || try == staleTries {
			return shard, err
		}
	}
}

func (p *Pipeline) capture(ctx context.Context, j Job, turn Turn) (_ manifest.Shard, way string, err error) {
	slots := j.Shard.Slots
	task := progress.Event{Task: "shard " + slots.String(), Phase: "wait", Detail: j.source()}
	p.Progress.Emit(task)
	ended, err := turn(ctx, p.Machine)
	if err != nil {
		return manifest.Shard{}, "", err
	}
	ended = sync.OnceFunc(ended)
	defer ended()
	// Who holds a place never waits for a turn, so waiting for one in a turn ends.
	left, err := p.enter(ctx)
	if err != nil {
		return manifest.Shard{}, "", err
	}
	defer left()
	task.Phase = "save"
	p.Progress.Emit(task)
	asked := clock.Now()
	source, way, err := p.collect(ctx, j)
	if err != nil {
		return manifest.Shard{}, way, nodeFault(err)
	}
	defer func() {
		if source.AOF != nil {
			err = errors.Join(err, source.AOF.Close())
		}
	}()
	endWithChild(source, ended)
	source.ReadCloser = &childReader{source.ReadCloser, limit.NewReader(ctx, source.ReadCloser, j.Bandwidth), ended}
	task.Phase, task.Total = "collect", max(0, source.Size)
	inspected := newInspection(ctx, source, slots, func(done int64, keys uint64) {
		task := task
		task.Done, task.Keys = done, keys
		p.Progress.Emit(task)
	})
	// The sealer gets the dump's end only when it was found sound and fresh, and
	// the stores theirs only when the sealer has ended.
	inspected.verdict = func(report *rdb.Report) error {
		return cmp.Or(fresh(source, report, clock.Since(asked)), atRest(report))
	}
	file, err := p.put(ctx, j, dumpObject(j.folder()), inspected)
	if failure := inspected.Close(); failure != nil {
		err = nodeFault(failure) // the dump's own trouble: what the stores say of it adds nothing
	}
	if err != nil {
		return manifest.Shard{}, way, fmt.Errorf("dump of %s: %w", j.Source.Addr, err)
	}
	shard := j.record(source, way, inspected.report)
	shard.Dump.File = file
	index := manifest.NewSlotIndex(slots, inspected.report).Encode()
	shard.SlotIndex, err = p.put(ctx, j, indexObject(j.folder()), bytes.NewReader(index))
	if err != nil {
		return manifest.Shard{}, way, err
	}
	if source.AOF != nil {
		if shard.AOF, err = p.putAOF(ctx, j, source.AOF); err != nil {
			return manifest.Shard{}, way, err
		}
	}
	size := file.Content().Bytes
	task.Done, task.Total, task.Keys, task.Ended = size, size, inspected.report.Keys, true
	p.Progress.Emit(task)
	return shard, way, nil
}

// endWithChild ends a turn when the node's child has, where that is known before
// the dump's last byte.
func endWithChild(source *collect.Source, ended func()) {
	switch {
	case source.Saved != nil:
		go func() { // until the source is closed, at the latest
			<-source.Saved
			ended()
		}()
	case source.Size >= 0:
		ended() // a dump of known size is a file: its child is done
	}
}

// enter waits for a place among the dumps under way.
func (p *Pipeline) enter(ctx context.Context) (left func(), err error) {
	if p.Parallel == 0 {
		return func() {}, nil
	}
	p.once.Do(func() { p.slots = semaphore.NewWeighted(int64(p.Parallel)) })
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { p.slots.Release(1) }, nil
}

// nodeFault marks what another try may do without. Rights and folders are for a
// person to mend.
func nodeFault(err error) error {
	if errors.Is(err, cluster.ErrAuth) || errors.Is(err, collect.ErrNotHere) {
		return err
	}
	return Retryable(err)
}

// childReader gives a dump's bytes at a rate, and tells when the node's child
// has written the last of them.
type childReader struct {
	io.Closer
	dump  io.Reader
	ended func()
}

func (c *childReader) Read(p []byte) (int, error) {
	n, err := c.dump.Read(p)
	if err != nil {
		c.ended()
	}
	return n, err
}

// put seals one object and puts it into the stores, in one pass.
func (p *Pipeline) put(ctx context.Context, j Job, name string, plain io.Reader) (manifest.File, error) {
	return putSealed(ctx, p.Writer, catalog.Folder(j.Cluster, j.Snapshot), name, p.Sealer, plain)
}

// collect opens the dump by the way that was asked for, and says which it was.
func (p *Pipeline) collect(ctx context.Context, j Job) (*collect.Source, string, error) {
	addr := j.Source.Addr
	folder := p.Folders[addr]
	if j.AOF && j.Collect == CollectStream { // as an agent's settings may say
		return nil, "", errNoStream
	}
	// Another try does without what only saves time.
	o := collect.BgsaveOptions{Folder: folder, Silence: j.Silence, Follow: j.Attempt <= 1}
	if j.AOF { // only a folder has them, and they belong to the dump that the same node saves
		o.AOF = &collect.AOFOptions{Node: j.Source.ID, Snapshot: string(j.Snapshot), Recorded: j.Recorded}
		source, err := collect.Bgsave(ctx, p.Access, addr, o)
		return source, CollectBgsave, err
	}
	if byFolder(ctx, p.Access, j.Collect, addr, folder) {
		source, err := collect.Bgsave(ctx, p.Access, addr, o)
		if err == nil || j.Collect == CollectBgsave || !errors.Is(err, collect.ErrNotHere) {
			return source, CollectBgsave, err
		}
	}
	source, err := collect.Stream(ctx, p.Access, addr, collect.StreamOptions{Silence: j.Silence})
	return source, CollectStream, err
}

// source is the node that gives the dump, for a person.
func (j Job) source() string {
	return Chosen{Address: j.Source.Addr, Role: j.Source.Role, LagBytes: j.Lag, Why: j.Why}.String()
}
