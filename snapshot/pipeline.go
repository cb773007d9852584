package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// Job is one shard to capture: what a coordinator hands to whoever captures it.
type Job struct {
	Cluster  string
	Snapshot manifest.ID
	Shard    cluster.Shard
	Source   cluster.Member // the node that gives the dump
	Lag      int64          // bytes it was behind the primary when it was chosen
	Why      string         // why it is the primary though there are replicas; else empty
	Collect  string         // one of the Collect constants
	Attempt  int            // counts the tries of this shard from 1, whoever captures it; each has a folder of its own. 0 is 1
}

// Turn waits until a node may be made to fork, for two forks on one machine can
// take twice its memory. The function that it returns is called once, when the
// node's child has ended.
type Turn func(ctx context.Context) (ended func(), err error)

// Capturer captures shards: a [Pipeline] on this machine, or an agent beside
// the node. It takes its turn right before the node is made to fork, once for
// each fork.
type Capturer interface {
	// Capture takes one shard's dump and returns the manifest's entry for it.
	// Its objects are in the stores then; without a manifest they are no
	// snapshot. It may be called by several goroutines at once.
	Capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error)
}

var _ Capturer = (*Pipeline)(nil)

// Pipeline captures shards: collect → inspect → seal → put, in one pass. It
// holds what belongs to the machine it runs on: the way to the nodes and to the
// stores.
type Pipeline struct {
	Access   *cluster.Access
	Writer   *catalog.Writer
	Sealer   *seal.Sealer
	Folders  map[string]string // node address → its data folder as seen from here
	Progress progress.Func
}

// staleTries is how often a dump over the wire is asked for again when the
// node hands out one whose fork came before the request.
const staleTries = 3

// Capture implements [Capturer].
func (p *Pipeline) Capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error) {
	for try := 1; ; try++ {
		shard, err := p.capture(ctx, j, turn)
		if err == nil || !errors.Is(err, collect.ErrStale) || try == staleTries {
			return shard, err
		}
	}
}

func (p *Pipeline) capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error) {
	slots := j.Shard.Slots
	task := progress.Event{Task: "shard " + slots.String(), Phase: "save", Detail: j.source()}
	p.Progress.Emit(task)
	ended, err := turn(ctx)
	if err != nil {
		return manifest.Shard{}, err
	}
	ended = sync.OnceFunc(ended)
	defer ended()
	asked := clock.Now()
	source, way, err := p.collect(ctx, j)
	if err != nil {
		return manifest.Shard{}, err
	}
	if source.Size >= 0 {
		ended() // a dump of known size is a file: its child is done
	}
	task.Phase, task.Total = "collect", max(0, source.Size)
	inspected := newInspection(ctx, source, slots, func(done int64, keys uint64) {
		task := task
		task.Done, task.Keys = done, keys
		p.Progress.Emit(task)
	})
	// The sealer gets the dump's end only when it was found sound and fresh, and
	// the stores theirs only when the sealer has ended.
	inspected.verdict = func(report *rdb.Report) error { return fresh(source, report, clock.Since(asked)) }
	file, err := p.put(ctx, j, dumpObject(j.folder()), inspected)
	if failure := inspected.Close(); failure != nil {
		err = failure // the dump's own trouble: what the stores say of it adds nothing
	}
	if err != nil {
		return manifest.Shard{}, fmt.Errorf("dump of %s: %w", j.Source.Addr, err)
	}
	shard := j.record(source, way, inspected.report)
	shard.Dump.File = file
	index := manifest.NewSlotIndex(slots, inspected.report).Encode()
	shard.SlotIndex, err = p.put(ctx, j, indexObject(j.folder()), bytes.NewReader(index))
	if err != nil {
		return manifest.Shard{}, err
	}
	size := file.Content().Bytes
	task.Done, task.Total, task.Keys, task.Ended = size, size, inspected.report.Keys, true
	p.Progress.Emit(task)
	return shard, nil
}

// put seals one object and puts it into the stores, in one pass.
func (p *Pipeline) put(ctx context.Context, j Job, name string, plain io.Reader) (manifest.File, error) {
	return putSealed(ctx, p.Writer, catalog.Folder(j.Cluster, j.Snapshot), name, p.Sealer, plain)
}

// collect opens the dump by the way that was asked for, and says which it was.
func (p *Pipeline) collect(ctx context.Context, j Job) (*collect.Source, string, error) {
	addr := j.Source.Addr
	folder := p.Folders[addr]
	byFile := j.Collect == CollectBgsave ||
		j.Collect == CollectAuto && (folder != "" || collect.Local(p.Access, addr)) && collect.Here(ctx, p.Access, addr, folder)
	if byFile {
		source, err := collect.Bgsave(ctx, p.Access, addr, collect.BgsaveOptions{Folder: folder})
		if err == nil || j.Collect == CollectBgsave || !errors.Is(err, collect.ErrNotHere) {
			return source, CollectBgsave, err
		}
	}
	source, err := collect.Stream(ctx, p.Access, addr, collect.StreamOptions{})
	return source, CollectStream, err
}

// source is the node that gives the dump, for a person.
func (j Job) source() string {
	return Chosen{Address: j.Source.Addr, Role: j.Source.Role, LagBytes: j.Lag, Why: j.Why}.String()
}
