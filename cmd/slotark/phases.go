package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot/catalog"
)

// newPhases are the phases of a restore, as the record of a drill has them.
func newPhases(phases []restore.Phase) []drill.Phase {
	var all []drill.Phase
	for _, p := range phases {
		all = append(all, drill.PhaseOf(p))
	}
	return all
}

// phaseLine is "check 12 ms, load 3.4 s (fetch 1.2 s, unseal 400 ms), compare 1.9 s".
func phaseLine(phases []drill.Phase) string {
	parts := make([]string, len(phases))
	for i, p := range phases {
		parts[i] = p.Name + " " + human.Duration(p.Elapsed.Duration())
		if showsWaits(p) {
			parts[i] += fmt.Sprintf(" (fetch %s, unseal %s)", human.Duration(p.Fetch.Duration()), human.Duration(p.Unseal.Duration()))
		}
	}
	return strings.Join(parts, ", ")
}

// showsWaits tells whether a person wants to know for what a phase waited: always of
// those that read the dumps, of others where it is a tenth of their time; a millisecond
// is where records end.
func showsWaits(p drill.Phase) bool {
	waits := p.Fetch + p.Unseal
	return waits >= catalog.Seconds(time.Millisecond) && (p.Name == "load" || p.Name == "seed" || waits*10 >= p.Elapsed)
}
