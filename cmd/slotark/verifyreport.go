package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// printVerification says of each shard what came of it in each store, and then
// of the whole snapshot.
func (a *app) printVerification(s *catalog.Snapshot, r *verify.Report) {
	if a.json {
		a.emit(newVerificationMessage(s, r))
		return
	}
	m := s.Manifest
	fmt.Fprintf(a.stdout, "%s  %s, %s, taken %s, %s keys, %s\n",
		m.ID, m.Cluster, dumpLine(m), human.Moment(m.Started), human.Count(m.Keys()), human.Size(m.Bytes()))
	fmt.Fprint(a.stdout, table(shardVerdicts(m, r)))
	if !r.Record.Damaged() {
		read := ""
		if r.Read > 0 {
			read = fmt.Sprintf(", %s read in %s", human.Size(r.Read), human.Duration(r.Record.Ended.Sub(r.Record.Started)))
		}
		fmt.Fprintf(a.stdout, "  sound at level %s in %s: %s%s\n", r.Record.Level, human.List(r.Record.Stores), human.Plural(r.Objects, "object"), read)
	}
	fmt.Fprint(a.stdout, table(remarkRows(r)))
	if r.Record.Sound {
		return
	}
	if !r.Record.Damaged() {
		fmt.Fprintf(a.stdout, "  not verified everywhere: %s\n%s", human.Plural(len(r.Record.Findings), "finding"), placedRows(r.Record.Findings, "    ", true))
		fmt.Fprintln(a.stdout, "What could be read is sound. See which store lacks what: slotark mirror status")
		return
	}
	fmt.Fprintf(a.stdout, "  damaged at level %s: %s\n%s", r.Record.Level, human.Plural(len(r.Record.Findings), "finding"),
		placedRows(r.Record.Findings, "    ", true))
	fmt.Fprintln(a.stdout, "Restore from a store without findings, or from another snapshot: slotark list")
}

// shardVerdicts are a line for each shard, with a column for each store.
func shardVerdicts(m *manifest.Manifest, r *verify.Report) [][]string {
	header := []string{"  SLOTS", "KEYS", "SIZE"}
	for _, store := range r.Record.Stores {
		header = append(header, "IN "+store)
	}
	rows := [][]string{header}
	for i, shard := range m.Shards {
		row := []string{"  " + shard.Slots.String(), human.Count(shard.Dump.Keys), human.Size(shard.Dump.Bytes)}
		for store := range r.Record.Stores {
			row = append(row, shardVerdict(&r.Shards[store*len(m.Shards)+i]))
		}
		rows = append(rows, row)
	}
	return rows
}

func shardVerdict(s *verify.ShardResult) string {
	if len(s.Findings) > 0 {
		return "damaged: " + s.Findings[0].Code
	}
	if s.Unverifiable {
		return "sound, unverifiable"
	}
	return "sound"
}

// remarkRows say what is to be known of a snapshot beside what is wrong with it.
func remarkRows(r *verify.Report) [][]string {
	var rows [][]string
	if r.Fingerprint != nil {
		rows = append(rows, factRows("fingerprint", []string{r.Fingerprint.String()})...)
	}
	some := func(is func(verify.ShardResult) bool) bool { return slices.ContainsFunc(r.Shards, is) }
	if some(func(s verify.ShardResult) bool { return s.Unverifiable }) {
		rows = append(rows, factRows("unverifiable", strings.Fields(
			"a dump has no CRC64 (rdbchecksum no): a bit that was flipped before it was stored could not be seen"))...)
	}
	if some(func(s verify.ShardResult) bool { return s.DuplicatesUnchecked }) {
		rows = append(rows, factRows("unchecked", strings.Fields(uncheckedText))...)
	}
	seen := map[string]bool{}
	for _, s := range r.Shards {
		for _, n := range s.Notes {
			text := fmt.Sprintf("shard %s: %s", s.Shard.Slots, n)
			if !seen[text] {
				rows = append(rows, factRows("note", strings.Fields(text))...)
			}
			seen[text] = true
		}
	}
	return rows
}
