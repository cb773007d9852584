package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/grace"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/mirror"
)

// manifest is the record of this run.
func (r *run) manifest(shards []manifest.Shard) *manifest.Manifest {
	m := &manifest.Manifest{
		Version:   manifest.Version,
		ID:        r.id,
		Cluster:   r.Cluster,
		CreatedBy: r.Build,
		Started:   r.started,
		Finished:  r.Now(),
		Seal:      manifest.SealOf(r.Sealer.Lock()),
		Topology:  topologyRecord(r.topology),
		Shards:    shards,
		Settings:  r.kept,
	}
	if len(r.choices) > 0 {
		m.Server = manifest.Server{Engine: r.choices[0].source.Engine, Version: r.choices[0].source.Version}
	}
	for _, s := range r.Stores {
		m.Stores = append(m.Stores, s.Name)
	}
	m.Findings = append(m.Findings, r.warnings...)
	m.Findings = append(m.Findings, r.findings(m)...)
	m.Findings = append(m.Findings, r.forkFindings(m)...)
	m.Findings = append(m.Findings, r.notes...)
	m.Findings = append(m.Findings, r.about...)
	m.Findings = append(m.Findings, related(shards)...)
	return m
}

// findings are what is wrong without stopping the snapshot.
func (r *run) findings(m *manifest.Manifest) []manifest.Finding {
	var findings []manifest.Finding
	for _, s := range m.Shards {
		if s.Dump.ChecksumDisabled {
			findings = append(findings, manifest.Finding{Code: "unverifiable", Severity: "warning", Subject: "shard " + s.Slots.String(),
				Detail: "its dump has no CRC64 (rdbchecksum no): its structure is sound, a flipped bit inside a value could not be seen"})
		}
	}
	return findings
}

// forkFindings are what is wrong with when the nodes forked, where they were to
// do so together.
func (r *run) forkFindings(m *manifest.Manifest) []manifest.Finding {
	if r.Forks != ForksTogether || len(m.Shards) == 0 {
		return nil
	}
	var findings []manifest.Finding
	if skew := m.Skew(); skew > r.MaxSkew {
		findings = append(findings, manifest.Finding{Code: "skew", Severity: "error", Subject: m.Cluster,
			Detail: fmt.Sprintf("its nodes forked within %s, and were to do so within %s", human.Duration(skew), r.MaxSkew)})
	}
	on := map[string]int{}
	for _, c := range r.choices {
		on[machineOf(r.Access, c.source.Addr)]++
	}
	for _, machine := range slices.Sorted(maps.Keys(on)) {
		if on[machine] > 1 {
			findings = append(findings, manifest.Finding{Code: "shared-host", Severity: "warning", Subject: machine,
				Detail: fmt.Sprintf("%d of its nodes forked at once, as all were to do so together", on[machine])})
		}
	}
	return findings
}

// commitGrace is how long the manifest may still take when the run is
// interrupted while it is written.
const commitGrace = 10 * time.Second

// commitManifest writes the manifest: to the primary store, which makes the snapshot
// exist, then to each mirror that has everything else; where mirrors must have
// it, to those first. Once begun it is
// brought to its end: an interruption in between would leave a snapshot in the
// primary and not in the mirrors, which hold all of it but these few bytes.
func commitManifest(ctx context.Context, w *catalog.Writer, m *manifest.Manifest) error {
	text, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, done := grace.Extend(ctx, commitGrace)
	defer done()
	_, err = w.Commit(ctx, catalog.ManifestName(m.Cluster, m.ID), bytes.NewReader(text))
	return err
}

// abort removes what was put, here and by agents: a manifest first, and nothing
// else where it may be stored and cannot be deleted.
func (r *run) abort(ctx context.Context, cause error) error {
	if ctx.Err() != nil && errors.Is(cause, context.DeadlineExceeded) {
		cause = context.Cause(ctx) // a connection that the limit ends knows of a deadline alone
	}
	left := r.writer.Abort(ctx)
	if !errors.Is(left, mirror.ErrUndecided) {
		left = errors.Join(left, r.drop(ctx))
	}
	return aborted(catalog.Folder(r.Cluster, r.id), cause, left)
}

// aborted says what could not be removed. It is no snapshot: it has no manifest.
func aborted(folder string, cause, left error) error {
	if left == nil {
		return cause
	}
	if errors.Is(left, mirror.ErrUndecided) {
		return hint.Left(fmt.Errorf("%w (and the manifest may be stored: %w)", cause, left),
			"Look with `slotark list` when the store answers again: what is listed is whole, anything else of "+folder+" is no snapshot.")
	}
	return hint.Left(fmt.Errorf("%w (and what was stored of it could not all be removed: %w)", cause, left),
		"What is left is no snapshot, but takes up room: remove "+folder+" from the stores.")
}

// topologyRecord turns the topology into what the manifest keeps of it.
func topologyRecord(t *cluster.Topology) manifest.Topology {
	record := manifest.Topology{CurrentEpoch: t.CurrentEpoch}
	for _, shard := range t.Shards {
		primary := nodeRecord(shard.Primary)
		primary.Slots = shard.Slots
		record.Nodes = append(record.Nodes, primary)
		for _, replica := range shard.Replicas {
			record.Nodes = append(record.Nodes, nodeRecord(replica))
		}
	}
	return record
}

func nodeRecord(m cluster.Member) manifest.Node {
	return manifest.Node{
		ID: m.ID, Address: m.Addr, BusPort: m.BusPort, Hostname: m.Hostname,
		Role: string(m.Role), Primary: m.PrimaryID, ConfigEpoch: m.ConfigEpoch,
	}
}
