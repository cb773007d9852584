package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore/drill"
)

// drilledRows say of a snapshot how its newest drill ended, how long that took, and what
// was another on the drill's server.
func drilledRows(record json.RawMessage) [][]string {
	var r drill.Report
	if record == nil {
		return nil
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return [][]string{{"drilled", "its record cannot be read: " + oneLine(err)}}
	}
	verdict := "NOT PROVED, " + human.Plural(len(r.Findings), "finding")
	if r.Proved {
		verdict = "proved, RTO " + human.Duration(r.RTO.Duration())
	}
	rows := [][]string{{"drilled", fmt.Sprintf("%s ago into %s: %s", human.Age(clock.Since(r.Ended)), r.Nodes, verdict)}}
	main := slices.DeleteFunc(slices.Clone(r.Phases), func(p drill.Phase) bool {
		return !slices.Contains([]string{"provision", "join", "load", "compare"}, p.Name)
	})
	if len(main) > 0 {
		rows = append(rows, []string{"", phaseLine(main)})
	}
	if r.Changes != nil {
		rows = append(rows, []string{"", changed(r.Changes)})
	}
	return rows
}
