package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/snapshot/manifest"
)

// How a restore goes on where another was killed, on whatever machine: beside its
// first mark each says what it has done,
//
//	restores/<snapshot>/<id>-done-0001.json
//
// and whoever goes on says so before it touches a target,
//
//	restores/<snapshot>/<id>-taken-<its own id>.json
//
// so that a restore that was taken for dead, and only slept, does not undo what is
// another's now.

// Journal is what of an abandoned restore is done, as [Claim.Note] was told. An entry
// that no store gives back is left out: what it says is done once more.
func (s *Snapshot) Journal(ctx context.Context, a Abandoned) ([]json.RawMessage, error) {
	found, err := s.restoreMarks(ctx)
	if err != nil {
		return nil, err
	}
	entries := slices.Clone(a.Done)
	read := map[string]bool{}
	for i, names := range found {
		for _, n := range names {
			if n.record != a.ID || !strings.HasPrefix(n.state, done) || read[n.state] {
				continue
			}
			if mark, err := s.readMark(ctx, s.stores[i], a.ID, n.state); err == nil {
				read[n.state] = true
				entries = append(entries, mark.Done...)
			}
		}
	}
	return entries, ctx.Err()
}

// Note adds an entry to the journal of a restore, encoded as JSON: something is done,
// and need not be done again by whoever goes on with it. One store that has it is
// enough.
func (c *Claim) Note(ctx context.Context, entry any) error {
	text, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode an entry of the journal: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries++
	m := c.snapshot.Manifest
	took, err := putMark(ctx, c.snapshot.stores, restoresDir, m.Cluster, m.ID, c.id, fmt.Sprintf("%s%04d", done, c.entries), Work{Done: []json.RawMessage{text}})
	if len(took) > 0 {
		return nil
	}
	return err
}

// Taken tells whether another process goes on with this restore, and since when this
// one has nothing to say any more. A store that does not answer is passed over.
func (c *Claim) Taken(ctx context.Context) bool {
	found, _ := c.snapshot.restoreMarks(ctx) // no answer: nobody could have taken it over, either
	for _, names := range found {
		for _, n := range names {
			if n.record == c.id && strings.HasPrefix(n.state, taken) {
				return true
			}
		}
	}
	return false
}

// TakeOver says to a restore that may still be alive that it is over for it: it must
// not undo what the caller goes on with. To be called before its connections are
// ended, and followed by Forget.
func (s *Snapshot) TakeOver(ctx context.Context, a Abandoned) error {
	state := taken + string(manifest.NewID(clock.Now()))
	took, err := putMark(ctx, s.stores, restoresDir, s.Manifest.Cluster, s.Manifest.ID, a.ID, state, Work{})
	if len(took) == 0 {
		return fmt.Errorf("store that the restore begun at %s is taken over: %w", a.Begun.Format(time.RFC3339), err)
	}
	return nil
}

// Forget ends an abandoned restore's mark: nothing of it is left, or another's mark
// has it.
func (s *Snapshot) Forget(ctx context.Context, a Abandoned) error {
	took, err := putMark(ctx, s.stores, restoresDir, s.Manifest.Cluster, s.Manifest.ID, a.ID, ended, Work{})
	if len(took) > 0 {
		return nil
	}
	return err
}
