package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
)

func aofObject(folder, name string) string { return folder + "aof/" + name }

// putAOF puts a set into the stores: each file as the inspection reads it, and
// the set's own manifest last. No store sees the end of a file before all of the
// set was found sound.
func (p *Pipeline) putAOF(ctx context.Context, j Job, set *collect.AOFSet) (*manifest.AOF, error) {
	if !set.Aligned {
		if err := cutWhole(ctx, set); err != nil {
			return nil, err
		}
	}
	own, err := ownManifest(set)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, f := range set.Files {
		total += f.Bytes
	}
	task := progress.Event{Task: "shard " + j.Shard.Slots.String(), Phase: "aof", Total: total, Detail: j.source()}
	files := &puttingFS{own: own, name: set.ManifestName}
	for _, f := range set.Files {
		files.add(f, func(body *putting) {
			body.file, body.err = p.put(ctx, j, aofObject(j.folder(), f.Entry.Name), body.reader)
		})
	}
	name := set.ManifestName
	if name == "" {
		name = set.Files[0].Entry.Name
	}
	report, err := aof.Inspect(ctx, files, name, aof.InspectOptions{OnProgress: func(string, int64) {
		task := task
		task.Done = files.sent()
		p.Progress.Emit(task)
	}})
	if err == nil {
		err = sound(report)
	}
	if err = files.finish(err); err != nil {
		return nil, fmt.Errorf("append-only files of %s: %w", j.Source.Addr, err)
	}
	record := recordSet(set, report, files)
	if set.ManifestName != "" {
		record.ManifestName = set.ManifestName
		record.Manifest, err = p.put(ctx, j, aofObject(j.folder(), set.ManifestName), bytes.NewReader(own))
	}
	task.Done, task.Ended = total, true
	p.Progress.Emit(task)
	return record, err
}

// sound is what is wrong with a set that a server would have to load.
func sound(report *aof.Report) error {
	if err := report.Err(); err != nil {
		return hint.Add(err, "the append-only files are damaged, or were changed by somebody else: look at the node's disk, and at slotark verify of its appendonlydir")
	}
	return nil
}

// cutWhole looks where the last whole command of a set ends whose place beside
// the dump is not known.
func cutWhole(ctx context.Context, set *collect.AOFSet) error {
	own, err := ownManifest(set)
	if err != nil {
		return err
	}
	name := set.ManifestName
	if name == "" {
		name = set.Files[0].Entry.Name
	}
	report, err := aof.Inspect(ctx, newHeldFS(set, own), name, aof.InspectOptions{})
	if err != nil {
		return err
	}
	if !report.Loadable() {
		return sound(report)
	}
	last := set.Files[len(set.Files)-1]
	last.Bytes = report.Files[len(report.Files)-1].SafeEnd
	return nil
}

// ownManifest is the set's manifest as a server would write it of these files
// alone. Where a file ends is not said of the one that is cut off.
func ownManifest(set *collect.AOFSet) (text []byte, err error) {
	for i, f := range set.Files {
		entry := f.Entry
		if i == len(set.Files)-1 {
			entry.EndOffset = aof.NoOffset
		}
		if text, err = entry.AppendText(text); err != nil {
			return nil, fmt.Errorf("write the manifest of the append-only files: %w", err)
		}
	}
	return text, nil
}

// recordSet is what the snapshot's manifest says of a set.
func recordSet(set *collect.AOFSet, report *aof.Report, files *puttingFS) *manifest.AOF {
	record := &manifest.AOF{Aligned: set.Aligned, Offset: manifest.AOFOffset{End: set.Offset}, Linked: set.Linked}
	record.First, record.Last = report.Range()
	for i, f := range set.Files {
		entry := manifest.AOFFile{
			File: files.all[i].file, Name: f.Entry.Name, Kind: manifest.AOFWhole, Seq: f.Seq,
			Commands: report.Files[i].Commands, DumpBytes: report.Files[i].DumpBytes,
			StartOffset: offsetOf(f.StartOffset), EndOffset: offsetOf(f.EndOffset),
		}
		switch {
		case set.ManifestName == "":
		case f.Type == aof.Base:
			entry.Kind = manifest.AOFBase
		default:
			entry.Kind = manifest.AOFIncr
			if record.Offset.Start == nil {
				record.Offset.Start = entry.StartOffset
			}
		}
		record.Files = append(record.Files, entry)
		record.Commands += entry.Commands
	}
	last := set.Files[len(set.Files)-1]
	record.Cut = last.Held - last.Bytes
	return record
}

func offsetOf(n int64) *int64 {
	if n == aof.NoOffset {
		return nil
	}
	return &n
}

var errNoStream = hint.Add(errors.New("append-only files do not come over the replication stream"),
	"leave --collect stream out, and run slotark, or its agents, where the nodes' data folders can be read; or leave --aof out")

// readyForAOF looks, before anything is asked of a node, whether each can give
// its append-only files.
func (r *run) readyForAOF(ctx context.Context) error {
	if !r.AOF {
		return nil
	}
	if r.Collect == CollectStream {
		return hint.Refuse(errNoStream, hint.Of(errNoStream)[0])
	}
	var failures []error
	for _, c := range r.choices {
		addr := c.source.Addr
		if _, err := collect.AOFValue(ctx, r.Access, addr); err != nil {
			failures = append(failures, err)
			continue
		}
		if r.Agents[addr] != nil && (r.Collect == CollectAgent || r.Collect == CollectAuto) {
			continue // it is beside them, and says so if it cannot read them
		}
		folder := r.Folders[addr]
		if !(folder != "" || r.Access.Local(addr)) || !collect.Here(ctx, r.Access, addr, folder) {
			failures = append(failures, hint.Add(fmt.Errorf("the append-only files of %s cannot be read from here", addr),
				"Run slotark on the node's machine, or name the folder as it is seen from here (--data-dir ADDR=FOLDER); or leave --aof out."))
		}
	}
	if len(failures) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := failures[0]
	for _, f := range failures[1:] {
		err = fmt.Errorf("%w; %w", err, f)
	}
	return hint.Refuse(err, hint.Of(err)[0])
}

// intend records each node's own value of the setting that is about to be 0 on
// it, where the next run finds it.
func (r *run) intend(ctx context.Context, repository *catalog.Repository) error {
	r.repair(ctx, repository)
	r.recorded = map[string]string{}
	if !r.AOF {
		return nil
	}
	intent := catalog.Intent{Snapshot: r.id, Until: r.started.Add(cmp.Or(r.Limit, longestRun) + lateEnd).UTC()}
	for _, m := range r.topology.Members() {
		value, err := collect.AOFValue(ctx, r.Access, m.Addr)
		if err != nil || value == "0" {
			continue // nothing is changed on it: its own turn will say why
		}
		r.recorded[m.ID] = value
		intent.Nodes = append(intent.Nodes, catalog.IntentNode{ID: m.ID, Address: m.Addr, Setting: collect.RewriteSetting, Value: value})
	}
	if len(intent.Nodes) == 0 {
		return nil
	}
	return repository.Intend(ctx, r.Cluster, intent)
}

// fulfil looks that every node is as it was, and then says so. What cannot be
// put back now is left to the next run.
func (r *run) fulfil(ctx context.Context, repository *catalog.Repository) {
	if len(r.recorded) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fulfilLimit)
	defer cancel()
	for _, m := range r.topology.Members() {
		if value, changed := r.recorded[m.ID]; changed {
			if _, err := r.putBack(ctx, m.Addr, value); err != nil {
				return // the record says it to the next run
			}
		}
	}
	_ = repository.Fulfil(ctx, r.Cluster, r.id) // the next run looks, and finds the nodes as they were
}

const (
	fulfilLimit = 30 * time.Second
	// longestRun is how long one is taken to be under way that has no limit.
	longestRun = 24 * time.Hour
	// lateEnd is what a run may take, beyond its limit, to put nodes back as they
	// were, and how far the clocks of two machines may be apart.
	lateEnd = 5 * time.Minute
)

func (r *run) putBack(ctx context.Context, addr, value string) (bool, error) {
	node := r.Access.Open(addr)
	defer node.Close()
	return collect.PutBack(ctx, node, value)
}

// repair puts back on the nodes what a run could not that has died. One that is
// still under way takes no harm: it sees when a rewrite comes in between. But its
// record is not closed before it must have ended, for it may be killed yet.
func (r *run) repair(ctx context.Context, repository *catalog.Repository) {
	note := func(subject, format string, args ...any) {
		r.note("aof-rewrite", subject, fmt.Sprintf(format, args...))
	}
	addresses := map[string]string{}
	for _, m := range r.topology.Members() {
		addresses[m.ID] = m.Addr
	}
	intents, err := repository.Intents(ctx, r.Cluster, r.started)
	if err != nil {
		note(r.Cluster, "whether a run that died has left automatic rewrites off could not be seen: %s", err)
		return
	}
	for _, intent := range intents {
		done := true
		for _, n := range intent.Nodes {
			addr, known := addresses[n.ID]
			if !known {
				continue // it is gone, and its settings with it
			}
			changed, err := r.putBack(ctx, addr, n.Value)
			if err != nil {
				note(addr, "the run of %s has left automatic rewrites off, perhaps, and this cannot be mended: %s", intent.Snapshot, err)
				done = false
			}
			if changed {
				note(addr, "the run of %s, killed or still under way, had left automatic rewrites off: %s is %s again", intent.Snapshot, collect.RewriteSetting, n.Value)
			}
		}
		if done && !intent.MayRun(r.started) {
			_ = repository.Fulfil(ctx, r.Cluster, intent.Snapshot) // a later run finds the nodes as they are
		}
	}
}

// related tells the findings of sets that do not end where their dump begins.
func related(shards []manifest.Shard) []manifest.Finding {
	var findings []manifest.Finding
	for _, s := range shards {
		if s.AOF != nil && !s.AOF.Aligned {
			findings = append(findings, manifest.Finding{Code: "aof-not-aligned", Severity: "warning", Subject: "shard " + s.Slots.String(),
				Detail: "where its dump stands in its append-only files could not be told: what is restored from them cannot be compared with the snapshot"})
		}
	}
	return findings
}
