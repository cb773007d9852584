package snapshot

import (
	"errors"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/collect"
)

// TestFresh is the evidence that a dump belongs to this run: each way in which
// it can be another's is caused once.
func TestFresh(t *testing.T) {
	asked := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	source := &collect.Source{NotBefore: asked, ReplID: "ours"}
	cases := map[string]struct {
		report rdb.Report
		fresh  bool
	}{
		"made in the second it was asked for": {rdb.Report{Created: asked, ReplID: "ours"}, true},
		"made while we waited":                {rdb.Report{Created: asked.Add(30 * time.Second), ReplID: "ours"}, true},
		"without a replication id":            {rdb.Report{Created: asked}, true},
		"made a second before":                {rdb.Report{Created: asked.Add(-time.Second), ReplID: "ours"}, false},
		"made yesterday":                      {rdb.Report{Created: asked.Add(-24 * time.Hour), ReplID: "ours"}, false},
		"made after now":                      {rdb.Report{Created: asked.Add(33 * time.Second), ReplID: "ours"}, false},
		"made at no time":                     {rdb.Report{ReplID: "ours"}, false},
		"of another node":                     {rdb.Report{Created: asked, ReplID: "theirs"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := fresh(source, &c.report, 30*time.Second)
			if c.fresh && err != nil {
				t.Errorf("it is refused: %v", err)
			}
			if !c.fresh && !errors.Is(err, collect.ErrStale) {
				t.Errorf("got %v, want ErrStale", err)
			}
		})
	}
}
