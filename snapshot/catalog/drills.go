package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
)

// LeastProved is the entry whose snapshot has gone longest without a drill: of
// those that never had one the newest, else the one whose last is the longest
// ago. A snapshot that nobody can read is none to be proved. nil: there is none.
func LeastProved(entries []Entry) *Entry {
	var least *Entry
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Summary == nil:
		case least == nil, longerAgo(e, least):
			least = e
		}
	}
	return least
}

func longerAgo(a, b *Entry) bool {
	switch {
	case a.Drilled == nil && b.Drilled == nil:
		return a.ID > b.ID
	case a.Drilled == nil || b.Drilled == nil:
		return a.Drilled == nil
	}
	return a.Drilled.Ended.Before(b.Drilled.Ended)
}

// Drills are the records of all drills of a cluster, or with "" of all clusters,
// as they were stored, the newest first. One that no store gives is left out, and
// counted.
func (r *Repository) Drills(ctx context.Context, cluster string) (records []json.RawMessage, unread int, err error) {
	idx, err := r.index(ctx, under(cluster))
	if err != nil {
		return nil, 0, err
	}
	var all []named
	for key, ids := range idx.records {
		if key.kind != drillsDir {
			continue
		}
		slices.Sort(ids) // one of each store
		for _, id := range slices.Compact(ids) {
			key.record = id
			all = append(all, key)
		}
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(b.record, a.record) })
	for _, n := range all {
		var record json.RawMessage
		if r.readRecord(ctx, DrillName(n.cluster, n.snapshot, n.record), into(&record)) {
			records = append(records, record)
		} else if unread++; ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
	}
	return records, unread, nil
}

// DrillRecord is the whole record of a drill, as it was stored; nil where no store gives
// it.
func (r *Repository) DrillRecord(ctx context.Context, cluster string, d *Drill) json.RawMessage {
	var record json.RawMessage
	if !r.readRecord(ctx, DrillName(cluster, d.Snapshot, d.ID), into(&record)) {
		return nil
	}
	return record
}

// LastDrill is the record of a snapshot's newest drill, as it was stored; nil where there
// is none or no store gives it.
func (r *Repository) LastDrill(ctx context.Context, s *Snapshot) (json.RawMessage, error) {
	e := Entry{Cluster: s.Manifest.Cluster, ID: s.Manifest.ID}
	idx, err := r.index(ctx, recordsOf(drillsDir, e.Cluster, e.ID))
	if err != nil {
		return nil, err
	}
	if record := newestRecord[json.RawMessage](ctx, r, idx, &e, drillsDir); record != nil {
		return *record, nil
	}
	return nil, nil
}
