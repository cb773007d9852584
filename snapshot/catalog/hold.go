package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	// Unreadable is of a record that no store gives as it was stored: it may have
	// been a hold, so it is one. It is never stored itself.
	Unreadable bool `json:"unreadable,omitempty"`
}

// storedHold is a hold as it is stored. One bit more or less in a date would end
// it, so it has a sum; those that were stored before there was one have none.
type storedHold struct {
	Hold
	SHA256 string `json:"sha256,omitempty"` // of the hold's own JSON, without blanks
}

func (h Hold) stored() (storedHold, error) {
	text, err := json.Marshal(h)
	sum := sha256.Sum256(text)
	return storedHold{h, hex.EncodeToString(sum[:])}, err
}

// decodeHold reads the record of a snapshot's hold, and refuses one that is not as
// it was stored. What it does not know may be what rot has made of a name.
func decodeHold(text []byte, snapshot, id manifest.ID) (Hold, error) {
	var have storedHold
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&have); err != nil {
		return Hold{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Hold{}, errors.New("something follows its closing brace")
	}
	want, err := have.Hold.stored()
	switch {
	case err != nil:
		return Hold{}, err
	case have.ID != id || have.Snapshot != snapshot:
		return Hold{}, errors.New("it is another's")
	case have.SHA256 != "" && have.SHA256 != want.SHA256:
		return Hold{}, errors.New("it does not fit its SHA-256")
	}
	return have.Hold, nil
}

// readHold reads one hold, or its release, from the first store that gives it as
// it was stored. What none gives so is a hold.
func (r *Repository) readHold(ctx context.Context, cluster string, snapshot, id manifest.ID) *Hold {
	name := holdName(cluster, snapshot, id)
	var hold Hold
	read := r.readRecord(ctx, name, func(text []byte) (err error) {
		hold, err = decodeHold(text, snapshot, id)
		return err
	})
	if !read {
		hold = Hold{ID: id, Snapshot: snapshot, Reason: name + " cannot be read, and counts as a hold", Unreadable: true}
	}
	return &hold
}

// newestHold is nil where there is none.
func (r *Repository) newestHold(ctx context.Context, idx *index, e *Entry) *Hold {
	id := idx.newest(e, holdsDir)
	if id == "" {
		return nil
	}
	return r.readHold(ctx, e.Cluster, e.ID, id)
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
	h.ID, h.Snapshot, h.Reason = manifest.NewID(now), snapshot, strings.ToValidUTF8(h.Reason, "?")
	record, err := h.stored()
	if err != nil {
		return nil, err
	}
	took, err := putEverywhere(ctx, r.stores, holdName(cluster, snapshot, h.ID), record)
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
// for none, and the restores and drills of it that go on.
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
	return r.newestHold(ctx, holds, &e), restores.usesOf(&e), nil
}
