package drill

import (
	"errors"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/verify"
)

// Report is the evidence of one drill. As JSON it is the record that the catalog
// keeps and reads ([catalog.Drill]).
type Report struct {
	ID       manifest.ID `json:"id"`
	Snapshot manifest.ID `json:"snapshot"`
	Cluster  string      `json:"cluster"`

	From   string `json:"from,omitempty"`   // the one store that everything was read from; "": any
	Shards int    `json:"shards,omitempty"` // over which the slots were divided evenly; 0: as they were

	Runtime       Runtime `json:"runtime"`         // docker or process
	Image         string  `json:"image,omitempty"` // of docker
	Nodes         string  `json:"nodes"`           // "3 + 3 containers of redis:7.0.15"
	Engine        string  `json:"engine"`          // of the nodes: "redis" or "valkey"
	ServerVersion string  `json:"server_version"`  // of the nodes, as they say

	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Phases  []Phase   `json:"phases"`

	// RTO is the measured time to recover: from the first node asked for to the
	// last replica attached and the last key compared. What is done once
	// (making or pulling the image) and what a recovery does not do (sweeping,
	// tearing down) is not in it.
	RTO catalog.Seconds `json:"rto_seconds"`
	// RPO is the measured age of the data: from the snapshot's oldest dump to
	// the drill's start, as if the cluster had been lost then.
	RPO catalog.Seconds `json:"rpo_seconds"`

	Keys    uint64 `json:"keys"`    // compared and, where proved, equal
	Expired uint64 `json:"expired"` // keys of the snapshot that had expired by then
	Slots   int    `json:"slots"`   // compared
	Bytes   int64  `json:"bytes"`   // of the dumps restored
	// Fingerprint is the digest of all keys of the dumps that the cluster was
	// compared with (rdb.Digest): what was proved.
	Fingerprint string `json:"fingerprint,omitempty"`

	Proved   bool               `json:"proved"` // every key and slot is equal, nothing else was found
	Findings []manifest.Finding `json:"findings,omitempty"`
	Notes    []string           `json:"notes,omitempty"` // what a real recovery would have to do besides
}

// Phase is how long one part of a drill took: "sweep", "image", "provision",
// then the restore's own ("check", "assign", "join", "load", "functions",
// "replicas", "compare"), and "remove". A dump is fetched and loaded in one
// stream, so there is no phase of fetching.
type Phase struct {
	Name    string          `json:"name"`
	Elapsed catalog.Seconds `json:"elapsed_seconds"`
}

func newReport(id manifest.ID, m *manifest.Manifest, started time.Time) *Report {
	r := &Report{ID: id, Snapshot: m.ID, Cluster: m.Cluster, Started: started}
	if len(m.Shards) > 0 {
		oldest := slices.MinFunc(m.Shards, func(a, b manifest.Shard) int { return a.Taken.Compare(b.Taken) })
		r.RPO = catalog.Seconds(max(0, started.Sub(oldest.Taken)))
	}
	return r
}

// add takes over what a restore did.
func (r *Report) add(done *restore.Result) {
	for _, p := range done.Phases {
		r.Phases = append(r.Phases, Phase{p.Name, catalog.Seconds(p.Elapsed)})
	}
	r.Bytes, r.Notes = done.Bytes, done.Notes
	r.Findings = append(r.Findings, done.Findings...)
	if c := done.Comparison; c != nil {
		r.Slots, r.Keys, r.Expired, r.Fingerprint = c.Slots, c.Keys, c.Expired, c.Digest.String()
		r.Findings = append(r.Findings, c.Findings...)
	}
	// Without a comparison nothing is proved, however smoothly it went.
	r.Proved = done.Comparison != nil && done.Complete()
}

// damage turns a restore that failed because the snapshot is damaged into a
// finding: to find that is what drills are for. It reports whether it was that.
func (r *Report) damage(err error) bool {
	var damage *rdb.Damage
	code := ""
	switch {
	case errors.As(err, &damage):
		code = damage.Code
	case errors.Is(err, verify.ErrDamaged):
		code = "damaged" // whole as a dump, but not what the manifest says
	case errors.Is(err, storage.ErrNotFound):
		code = "missing"
	default:
		return false
	}
	r.Findings = append(r.Findings, manifest.Finding{
		Code: code, Severity: "error", Subject: string(r.Snapshot), Detail: err.Error(),
	})
	return true
}
