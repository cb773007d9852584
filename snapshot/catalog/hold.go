package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Hold is the record by which a person keeps a snapshot, or keeps it no
// longer. Of several the newest counts.
type Hold struct {
	ID       manifest.ID `json:"id"`
	Snapshot manifest.ID `json:"snapshot"`
	Reason   string      `json:"reason,omitempty"`
	Until    time.Time   `json:"until,omitzero"` // zero: until it is released
	Released bool        `json:"released,omitempty"`
}

// String is "held until 2027-01-01 00:00:00 UTC: audit".
func (h *Hold) String() string {
	if h.Until.IsZero() {
		return "held: " + h.Reason
	}
	return "held until " + human.Moment(h.Until) + ": " + h.Reason
}

// InForce tells whether the hold keeps its snapshot at an instant. A nil one
// does not.
func (h *Hold) InForce(now time.Time) bool {
	return h != nil && !h.Released && (h.Until.IsZero() || now.Before(h.Until))
}

// maxReason bounds what is shown in a table.
const maxReason = 200

// CheckReason checks the reason of a hold: one line, neither empty nor long.
func CheckReason(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return errors.New("a hold has a reason: who comes after you has to know whether it still counts")
	case len(reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes, of at most %d", len(reason), maxReason)
	case strings.ContainsFunc(reason, unicode.IsControl):
		return errors.New("the reason has control characters in it: want one line of text")
	}
	return nil
}

// Hold stores a hold, or a release, of a snapshot in every store. It returns
// the record, and ErrNoSnapshot where a prune was faster. The record counts
// when one store has it; what the others said is an error too.
func (r *Repository) Hold(ctx context.Context, s *Snapshot, h Hold, now time.Time) (*Hold, error) {
	cluster, snapshot := s.Manifest.Cluster, s.Manifest.ID
	idx, err := r.index(ctx, recordsOf(holdsDir, cluster, snapshot))
	if err != nil {
		return nil, err
	}
	// Ids count seconds: of two records within one, the later has to be the
	// newest all the same.
	if known := idx.records[named{cluster: cluster, kind: holdsDir, snapshot: snapshot}]; len(known) > 0 {
		if after := slices.Max(known).Time().Add(time.Second); now.Before(after) {
			now = after
		}
	}
	h.ID, h.Snapshot = manifest.NewID(now), snapshot
	took, err := putEverywhere(ctx, r.stores, holdName(cluster, snapshot, h.ID), h)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("store the hold: %w", err), "Where one store has it, it counts; say it again when all of them answer.")
	}
	if h.Released {
		return &h, nil
	}
	// Now a prune that has not looked at the holds yet will see this one. One
	// that has may have been about to delete.
	return &h, s.outlast(ctx, took)
}

// Wanted says who keeps one snapshot from being pruned: its newest hold, nil
// for none, and the restores and drills of it that go on. A hold that cannot be
// read is an error.
func (r *Repository) Wanted(ctx context.Context, s *Snapshot) (*Hold, []Use, error) {
	e := Entry{Cluster: s.Manifest.Cluster, ID: s.Manifest.ID}
	holds, err := r.index(ctx, recordsOf(holdsDir, e.Cluster, e.ID))
	if err != nil {
		return nil, nil, err
	}
	restores, err := r.index(ctx, recordsOf(restoresDir, e.Cluster, e.ID))
	if err != nil {
		return nil, nil, err
	}
	hold := newestRecord[Hold](ctx, r, holds, &e, holdsDir)
	if len(e.unread) > 0 {
		return nil, nil, fmt.Errorf("the newest hold of %s cannot be read", e.ID)
	}
	return hold, restores.usesOf(&e), nil
}
