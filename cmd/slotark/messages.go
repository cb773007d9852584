package main

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/verify"
)

// The objects that --json prints, one a line. docs/json.md is their contract:
// what is here is added to, never renamed or removed.

type exitError struct {
	Type  string   `json:"message_type"` // "exit_error"
	Code  int      `json:"code"`
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

type storeMessage struct {
	Store  string `json:"store"`
	Stored bool   `json:"stored"`
	Error  string `json:"error,omitempty"`
}

type snapshotMessage struct {
	Type     string          `json:"message_type"` // "snapshot"
	DryRun   bool            `json:"dry_run,omitempty"`
	ID       manifest.ID     `json:"id,omitempty"`
	Cluster  string          `json:"cluster"`
	Keys     uint64          `json:"keys"`
	Bytes    int64           `json:"bytes"`
	Slots    int             `json:"slots"`
	Skew     catalog.Seconds `json:"skew_seconds"`
	Elapsed  catalog.Seconds `json:"elapsed_seconds"`
	Sources  []sourceMessage `json:"sources"`
	Stores   []storeMessage  `json:"stores"`
	Warnings []string        `json:"warnings,omitempty"`
	AOF      bool            `json:"aof,omitempty"`      // it holds the append-only files of every shard
	Withheld []string        `json:"withheld,omitempty"` // secrets that its settings lack, for nothing encrypts them
}

type sourceMessage struct {
	Slots    string `json:"slots"`
	Address  string `json:"address"`
	Role     string `json:"role"`
	LagBytes int64  `json:"lag_bytes"`
	Collect  string `json:"collect,omitempty"` // of a plan
}

func newSnapshotMessage(r *snapshot.Result, dryRun bool) snapshotMessage {
	m := r.Manifest
	msg := snapshotMessage{
		Type: "snapshot", DryRun: dryRun, Cluster: m.Cluster, Keys: m.Keys(), Bytes: m.Bytes(), Slots: r.Slots(),
		Skew: catalog.Seconds(m.Skew()), Elapsed: catalog.Seconds(r.Elapsed), Warnings: r.Warnings,
		Sources: []sourceMessage{}, AOF: m.HasAOF(), Withheld: r.Withheld,
	}
	if !dryRun {
		msg.ID = m.ID
	}
	for _, p := range r.Plan {
		msg.Sources = append(msg.Sources, sourceMessage{p.Slots.String(), p.Address, string(p.Role), p.LagBytes, p.Way})
	}
	msg.Stores = outcomeMessages(r.Outcomes)
	return msg
}

// outcomeMessages says which store has what was written.
func outcomeMessages(outcomes []mirror.Outcome) []storeMessage {
	stores := []storeMessage{}
	for _, o := range outcomes {
		store := storeMessage{Store: o.Name, Stored: o.Err == nil}
		if o.Err != nil {
			store.Error = oneLine(o.Err)
		}
		stores = append(stores, store)
	}
	return stores
}

type resealedMessage struct {
	Type         string          `json:"message_type"` // "resealed"
	ID           manifest.ID     `json:"id"`
	ResealedFrom manifest.ID     `json:"resealed_from"`
	Cluster      string          `json:"cluster"`
	Keys         uint64          `json:"keys"`
	Bytes        int64           `json:"bytes"`
	Seal         manifest.Seal   `json:"seal"`
	Elapsed      catalog.Seconds `json:"elapsed_seconds"`
	Stores       []storeMessage  `json:"stores"`
}

func newResealedMessage(r *snapshot.Resealed) resealedMessage {
	m := r.Manifest
	return resealedMessage{
		Type: "resealed", ID: m.ID, ResealedFrom: m.ResealedFrom, Cluster: m.Cluster, Keys: m.Keys(), Bytes: m.Bytes(), Seal: m.Seal,
		Elapsed: catalog.Seconds(r.Elapsed), Stores: outcomeMessages(r.Outcomes),
	}
}

type entryMessage struct {
	Type     string                `json:"message_type"` // "snapshot_entry"
	ID       manifest.ID           `json:"id"`
	Cluster  string                `json:"cluster"`
	Taken    time.Time             `json:"taken"`
	Keys     uint64                `json:"keys"`
	Bytes    int64                 `json:"bytes"`
	Stores   []storeMessage        `json:"stores"`
	Verified *catalog.Verification `json:"verified,omitempty"`
	Drilled  *catalog.Drill        `json:"drilled,omitempty"`
	Hold     *catalog.Hold         `json:"hold,omitempty"`
	Restores int                   `json:"restores,omitempty"` // restores and drills that go on
	AOF      bool                  `json:"aof,omitempty"`      // it holds the append-only files of every shard
	Error    string                `json:"error,omitempty"`    // why its manifest cannot be read
}

func newEntryMessage(e catalog.Entry) entryMessage {
	msg := entryMessage{
		Type: "snapshot_entry", ID: e.ID, Cluster: e.Cluster, Taken: e.ID.Time(),
		Verified: e.Verified, Drilled: e.Drilled, Hold: e.Hold, Restores: len(e.Uses), Stores: []storeMessage{},
	}
	if e.Summary == nil {
		msg.Error = oneLine(e.Err)
		return msg
	}
	msg.Keys, msg.Bytes, msg.AOF = e.Summary.Keys, e.Summary.Bytes, e.Summary.AOF
	msg.Stores = storeMessages(e.Summary.Presence)
	return msg
}

func storeMessages(all []catalog.Presence) []storeMessage {
	var stores []storeMessage
	for _, p := range all {
		store := storeMessage{Store: p.Store, Stored: p.Present}
		if p.Err != nil {
			store.Error = oneLine(p.Err)
		}
		stores = append(stores, store)
	}
	return stores
}

type showMessage struct {
	Type     string             `json:"message_type"` // "manifest"
	Manifest *manifest.Manifest `json:"manifest"`
	Stores   []storeMessage     `json:"stores"`
	Hold     *catalog.Hold      `json:"hold,omitempty"`
	Restores int                `json:"restores,omitempty"`
	Drilled  json.RawMessage    `json:"drilled,omitempty"` // the newest, as it was stored
}

func newShowMessage(s *catalog.Snapshot, hold *catalog.Hold, uses []catalog.Use, drilled json.RawMessage) showMessage {
	return showMessage{"manifest", s.Manifest, storeMessages(s.Presence), hold, len(uses), drilled}
}

type slotMessage struct {
	Type     string `json:"message_type"` // "slot"
	Slot     int    `json:"slot"`
	Keys     uint32 `json:"keys"`
	Expiring uint32 `json:"expiring"`
	// Not of a slot index of version 1.
	Digest        *rdb.Digest `json:"digest,omitempty"`
	DigestVersion int         `json:"digest_version,omitempty"`
	// Not where the slot's keys lie in more than one piece.
	Offset int64 `json:"offset,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
}

func newSlotMessage(n int, x *manifest.SlotIndex) slotMessage {
	entry := &x.Slots[n]
	msg := slotMessage{Type: "slot", Slot: n, Keys: entry.Keys, Expiring: entry.Expiring,
		DigestVersion: x.DigestVersion, Offset: entry.Offset, Bytes: entry.Bytes}
	if x.DigestVersion > 0 {
		msg.Digest = &entry.Digest
	}
	return msg
}

type fingerprintMessage struct {
	Type          string     `json:"message_type"` // "fingerprint"
	Fingerprint   rdb.Digest `json:"fingerprint"`
	DigestVersion int        `json:"digest_version"`
}

type comparisonMessage struct {
	Type     string             `json:"message_type"` // "comparison"
	Equal    bool               `json:"equal"`
	Slots    int                `json:"slots"`
	Keys     uint64             `json:"keys"`
	Expired  uint64             `json:"expired"`
	Elapsed  catalog.Seconds    `json:"elapsed_seconds"`
	Findings []manifest.Finding `json:"findings,omitempty"`
}

func newComparisonMessage(c *verify.Comparison) comparisonMessage {
	return comparisonMessage{"comparison", c.Equal(), int(c.Slots), c.Keys, c.Expired, catalog.Seconds(c.Elapsed), c.Findings}
}

// emit prints one message as a line of JSON.
func (a *app) emit(message any) { writeJSON(a.stdout, message) }

func writeJSON(to io.Writer, message any) {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		// Standard output is gone; the exit code still tells the result.
		return
	}
}

// oneLine is an error's text as one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

type restoreMessage struct {
	Type       string                `json:"message_type"` // "restore"
	Snapshot   manifest.ID           `json:"snapshot"`
	Cluster    string                `json:"cluster"`
	Shards     []restoreShardMessage `json:"shards"`
	Folders    []folderMessage       `json:"folders,omitempty"`
	Phases     []drill.Phase         `json:"phases"`
	Comparison *comparisonMessage    `json:"comparison,omitempty"`
	Findings   []manifest.Finding    `json:"findings,omitempty"`
	Notes      []string              `json:"notes,omitempty"`
	Elapsed    catalog.Seconds       `json:"elapsed_seconds"`
}

type restoreShardMessage struct {
	Slots    string   `json:"slots"`
	Primary  string   `json:"primary"`
	Replicas []string `json:"replicas"`
	Stores   []string `json:"stores"`
	Keys     uint64   `json:"keys"`
	Bytes    int64    `json:"bytes"`
}

type folderMessage struct {
	Path    string `json:"path"`
	Address string `json:"address"`
	Role    string `json:"role"`
	Start   string `json:"start"` // the command that starts its server
}

func roleName(primary bool) string {
	if primary {
		return "primary"
	}
	return "replica"
}

func newRestoreMessage(s *catalog.Snapshot, r *restore.Result) restoreMessage {
	msg := restoreMessage{
		Type: "restore", Snapshot: s.Manifest.ID, Cluster: s.Manifest.Cluster,
		Phases: newPhases(r.Phases), Findings: r.Findings, Notes: r.Notes, Elapsed: catalog.Seconds(r.Elapsed),
	}
	for _, shard := range r.Shards {
		msg.Shards = append(msg.Shards, restoreShardMessage{shard.Slots.String(), shard.Primary,
			append([]string{}, shard.Replicas...), append([]string{}, shard.Stores...), shard.Keys, shard.Bytes})
	}
	for _, f := range r.Folders {
		msg.Folders = append(msg.Folders, folderMessage{f.Path, f.Address, roleName(f.Primary), f.Start})
	}
	if r.Comparison != nil {
		c := newComparisonMessage(r.Comparison)
		msg.Comparison = &c
	}
	return msg
}

type drillMessage struct {
	Type string `json:"message_type"` // "drill"
	*drill.Report
}
