package drill

import (
	"errors"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/drill/probe"
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

	Samples *probe.Samples `json:"samples,omitempty"` // what a client of the cluster was answered
	Probes  []probe.Result `json:"probes,omitempty"`  // how the probes that were asked for ended

	before, after map[string]uint64 // keys by encoding, in the dumps and in the restored cluster

	Changes *Changes `json:"changes,omitempty"` // where the server is not the snapshot's own

	Proved   bool               `json:"proved"` // every key and slot is equal, nothing else was found
	Findings []manifest.Finding `json:"findings,omitempty"`
	Notes    []string           `json:"notes,omitempty"` // what a real recovery would have to do besides
}

// Phase is how long one part of a drill took: "sweep", "image", "provision",
// then the restore's own ("check", "assign", "join", "load", "functions",
// "replicas", "compare"), "probe" and "remove". A dump is fetched, unsealed and loaded
// in one stream, so these are no phases of their own but parts of those that read the
// snapshot: for how long it waited for a store, and for decryption and decompression.
// What is not either is the phase's own work. See [catalog.Waits].
type Phase struct {
	Name    string          `json:"name"`
	Elapsed catalog.Seconds `json:"elapsed_seconds"`
	Fetch   catalog.Seconds `json:"fetch_seconds,omitempty"`
	Unseal  catalog.Seconds `json:"unseal_seconds,omitempty"`
}

// PhaseOf is a phase of a restore.
func PhaseOf(p restore.Phase) Phase {
	return Phase{p.Name, catalog.Seconds(p.Elapsed), catalog.Seconds(p.Waits.Fetch), catalog.Seconds(p.Waits.Unseal)}
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
		r.Phases = append(r.Phases, PhaseOf(p))
	}
	r.Bytes, r.Notes = done.Bytes, done.Notes
	r.Findings = append(r.Findings, done.Findings...)
	if c := done.Comparison; c != nil {
		r.before, r.after = done.Encodings.ByName(), c.Encodings.ByName()
		r.Slots, r.Keys, r.Expired, r.Fingerprint = c.Slots, c.Keys, c.Expired, c.Digest.String()
		r.Findings = append(r.Findings, c.Findings...)
	}
	// Without a comparison nothing is proved, however smoothly it went.
	r.Proved = done.Comparison != nil && done.Complete()
}

// find adds something that was found: whatever it is, nothing is proved.
func (r *Report) find(code, subject, detail string) {
	r.Findings = append(r.Findings, manifest.Finding{Code: code, Severity: "error", Subject: subject, Detail: detail})
	r.Proved = false
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
	r.find(code, string(r.Snapshot), err.Error())
	return true
}
