package catalog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// A verification that could not reach a store, or found one copy of two damaged,
// speaks for the snapshot: a sound copy was read. It was counted as damaged, and
// a night on which a region was gone cost its snapshots their place.
func TestWhatAVerificationSaysOfASnapshot(t *testing.T) {
	of := func(code string) []catalog.Finding {
		return []catalog.Finding{{Finding: manifest.Finding{Code: code, Severity: "error", Subject: "eu"}}}
	}
	for name, c := range map[string]struct {
		v    catalog.Verification
		kept bool
	}{
		"sound":                         {catalog.Verification{Stores: []string{"eu", "us"}, Sound: true, SoundIn: []string{"eu", "us"}}, true},
		"one store does not answer":     {catalog.Verification{Stores: []string{"us"}, SoundIn: []string{"us"}, Findings: of(catalog.Unreachable)}, true},
		"one store lacks it":            {catalog.Verification{Stores: []string{"us"}, SoundIn: []string{"us"}, Findings: of(catalog.Behind)}, true},
		"the same, of an older slotark": {catalog.Verification{Stores: []string{"us"}, Findings: of(catalog.Unreachable)}, true},
		"one copy is damaged":           {catalog.Verification{Stores: []string{"eu", "us"}, SoundIn: []string{"us"}, Findings: of("checksum")}, true},
		"each copy is damaged":          {catalog.Verification{Stores: []string{"eu", "us"}, Findings: of("checksum")}, false},
		"none was read":                 {catalog.Verification{Findings: of(catalog.Unreachable)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait(time.Until(noon))
				k := inMemory(t)
				k.add(1)
				k.add(2)
				newest := daysOld(1).ID
				c.v.ID, c.v.Snapshot, c.v.Level = newest, newest, "checksum"
				if err := k.PutRecord(t.Context(), catalog.VerificationName("prod", newest, newest), c.v); err != nil {
					t.Fatal(err)
				}
				plan, err := k.PlanPrune(t.Context(), catalog.PruneOptions{Cluster: "prod", Policy: keepOne})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range plan.Decisions {
					if d.ID == newest && (d.Flaw == "") != c.kept || d.ID != newest && d.Keep == c.kept {
						t.Errorf("%s: keep %t, flaw %q, %v", d.ID, d.Keep, d.Flaw, d.Reasons)
					}
				}
			})
		})
	}
}
