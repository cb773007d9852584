package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/spf13/cobra"
)

func newDrillReportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "report DRILL",
		Short: "Print the evidence of one drill, to be handed on",
		Long: `Print the evidence of a drill as Markdown, for whoever wants to know that backups
restore: what was restored into what, what was compared, how long it took. With
--json it is the record as it was stored. DRILL is a drill's id, the beginning of
one, or "latest".
` + exitStatus,
		Example: `  slotark drill report latest --repo /var/backups/redis > drill.md`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return hint.Add(usageError{fmt.Errorf("%s takes one drill: its id, the beginning of it, or \"latest\"", cmd.CommandPath())}, "see which there are: slotark drill list")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runDrillReport(cmd.Context(), a, cmd, args[0]) },
	}
}

func runDrillReport(ctx context.Context, a *app, cmd *cobra.Command, ref string) error {
	_, found, err := a.drills(ctx, cmd)
	if err != nil {
		return err
	}
	if ref != catalog.Latest {
		found = slices.DeleteFunc(found, func(r drill.Report) bool { return !strings.HasPrefix(string(r.ID), ref) })
	}
	switch {
	case len(found) == 0:
		return hint.Add(fmt.Errorf("no such drill: %s", ref), "see which there are: slotark drill list")
	case len(found) > 1 && ref != catalog.Latest:
		return hint.Add(errors.New("that is the beginning of several drills' ids"), "give more of it; see which there are: slotark drill list")
	}
	if a.json {
		a.emit(drillMessage{"drill", &found[0]})
		return nil
	}
	writeDrillReport(a.stdout, &found[0])
	return nil
}

// writeDrillReport writes a drill's evidence as Markdown.
func writeDrillReport(to io.Writer, r *drill.Report) {
	verdict := fmt.Sprintf("**Proved.** Every one of %s in %d slots is equal%s.", human.Plural(r.Keys, "key"), r.Slots, expiredNote(r.Expired))
	if !r.Proved {
		verdict = fmt.Sprintf("**Not proved**: %s.", human.Plural(len(r.Findings), "finding"))
	}
	fmt.Fprintf(to, "# Restore drill %s\n\n%s\n\n", r.ID, verdict)
	rows := [][2]string{
		{"snapshot", fmt.Sprintf("%s of cluster %s", r.Snapshot, r.Cluster)},
		{"held", r.Started.UTC().Format(time.RFC3339) + " to " + r.Ended.UTC().Format(time.RFC3339)},
		{"restored into", fmt.Sprintf("%s, %s %s", r.Nodes, r.Engine, r.ServerVersion)},
		{"read from", "any store that had it whole"},
		{"time to recover (RTO)", human.Duration(r.RTO.Duration())},
		{"age of the data (RPO)", human.Duration(r.RPO.Duration())},
		{"bytes of the dumps", human.Size(r.Bytes)},
		{"fingerprint of the data", "`" + r.Fingerprint + "`"},
	}
	if r.From != "" {
		rows[3][1] = r.From + " alone, as if the other stores were lost"
	}
	if r.Shards > 0 {
		rows[2][1] += fmt.Sprintf("; the slots divided anew over %s", human.Plural(r.Shards, "shard"))
	}
	fmt.Fprint(to, "| | |\n|---|---|\n")
	for _, row := range rows {
		if row[1] != "``" {
			fmt.Fprintf(to, "| %s | %s |\n", row[0], row[1])
		}
	}
	fmt.Fprint(to, "\n## How long it took\n\n| step | |\n|---|---|\n")
	for _, p := range r.Phases {
		fmt.Fprintf(to, "| %s | %s |\n", p.Name, human.Duration(p.Elapsed.Duration()))
		if showsWaits(p) {
			fmt.Fprintf(to, "| of it fetch: waiting for the store | %s |\n| of it unseal: decrypting and decompressing | %s |\n", human.Duration(p.Fetch.Duration()), human.Duration(p.Unseal.Duration()))
		}
	}
	writeAnswers(to, r)
	writeChanges(to, r.Changes)
	if len(r.Findings) > 0 {
		fmt.Fprint(to, "\n## Findings\n\n| severity | code | of | |\n|---|---|---|---|\n")
		for _, f := range r.Findings {
			fmt.Fprintf(to, "| %s | %s | %s | %s |\n", f.Severity, f.Code, cell(f.Subject), cell(f.Detail))
		}
	}
	apart := "whose containers have no network but their own loopback"
	if r.Runtime == drill.Process {
		apart = "whose processes listen on their machine's loopback alone"
	}
	fmt.Fprintf(to, `
## How it was proved

The snapshot was restored by the same program as in an emergency, into a cluster made for it and removed afterwards, %s.
Then every slot and every key of that cluster was compared with the snapshot, by name, type, expiry and a digest of its value;
and the snapshot's dumps with the digests that were kept of each slot when it was taken. The time to recover runs from the first
node asked for to the last key compared.
`, apart)
	for _, note := range r.Notes {
		fmt.Fprintf(to, "\nNote: %s\n", note)
	}
}

// writeAnswers writes what a client was answered, by samples and by probes.
func writeAnswers(to io.Writer, r *drill.Report) {
	if r.Samples == nil {
		return
	}
	fmt.Fprintf(to, "\n## What a client was answered\n\nAfter the comparison %s.\n", sampled(r))
	if len(r.Probes) == 0 {
		return
	}
	fmt.Fprint(to, "\n| probe | passed | |\n|---|---|---|\n")
	for _, p := range r.Probes {
		passed := "yes"
		if !p.Passed {
			passed = "**NO**"
		}
		fmt.Fprintf(to, "| %s | %s | %s |\n", cell(p.Name), passed, cell(p.Detail))
	}
}

// cell is text in a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
