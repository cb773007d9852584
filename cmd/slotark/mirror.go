package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
)

func newMirrorCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Say how far the mirrors are behind, and bring them up",
		Long: `Say how far the stores of a repository are behind, and copy to them what they
lack.
` + exitStatus,
		Args: unknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMirrorStatusCommand(a), newMirrorSyncCommand(a))
	return cmd
}

func newMirrorStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say of each store what it has and how far it is behind",
		Long: `Say of each store whether it answers, how many of the snapshots it has whole, the
newest of these, and how far it is behind: the age of the oldest snapshot that it
lacks, and how many bytes. Sizes are compared, not bytes: those slotark verify
reads. With --cluster, of this cluster alone.
` + exitStatus,
		Example: `  slotark mirror status --config slotark.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			survey, err := runMirrorStatus(cmd.Context(), a, cmd)
			if err != nil {
				return err
			}
			return a.printMirrorStatus(survey, clock.Now())
		},
	}
}

func runMirrorStatus(ctx context.Context, a *app, cmd *cobra.Command) (*catalog.Survey, error) {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, err
	}
	repository, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	repository.UseCache(manifestCache())
	return repository.Survey(ctx, s.named)
}

type mirrorStatusMessage struct {
	Type        string          `json:"message_type"` // "mirror_status"
	Store       string          `json:"store"`
	Place       string          `json:"place"`
	Primary     bool            `json:"primary"`
	Reachable   bool            `json:"reachable"`
	Error       string          `json:"error,omitempty"`
	Behind      bool            `json:"behind"`
	Snapshots   int             `json:"snapshots"`
	Of          int             `json:"of"`
	Newest      manifest.ID     `json:"newest,omitempty"`
	Oldest      manifest.ID     `json:"oldest_missing,omitempty"`
	Lag         catalog.Seconds `json:"lag_seconds"`
	BytesBehind int64           `json:"bytes_missing"`
}

// printMirrorStatus prints a line for each store. That one is behind is a
// finding.
func (a *app) printMirrorStatus(survey *catalog.Survey, now time.Time) error {
	rows := [][]string{{"STORE", "SNAPSHOTS", "NEWEST", "BEHIND", "MISSING", ""}}
	behind := false
	for i, s := range survey.Stores {
		behind = behind || s.Behind()
		row := []string{s.Store, fmt.Sprintf("%d of %d", s.Snapshots, s.Of), dash(string(s.Newest)), "-", "-", s.Place}
		msg := mirrorStatusMessage{Type: "mirror_status", Store: s.Store, Place: s.Place, Primary: i == 0, Reachable: s.Err == nil, Behind: s.Behind(),
			Snapshots: s.Snapshots, Of: s.Of, Newest: s.Newest, Oldest: s.Oldest, BytesBehind: s.Bytes}
		if s.Oldest != "" {
			lag := now.Sub(s.Oldest.Time())
			msg.Lag = catalog.Seconds(lag)
			row[3], row[4] = human.Age(lag), human.Size(s.Bytes)
		}
		if s.Err != nil {
			msg.Error = oneLine(s.Err)
			row[1], row[3], row[5] = "?", "?", "does not answer: "+msg.Error
		}
		rows = append(rows, row)
		if a.json {
			a.emit(msg)
		}
	}
	if !a.json {
		fmt.Fprint(a.stdout, table(rows))
		for _, l := range survey.Leftover {
			fmt.Fprintf(a.stdout, "%s: %s is left, %s\n", human.List(l.Stores), l.ID, l.Why)
		}
		if behind {
			fmt.Fprintln(a.stdout, "To bring them up: slotark mirror sync")
		}
	}
	if behind {
		return errFindings
	}
	return nil
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type mirrorSyncOptions struct {
	from, to string
	dryRun   bool
}

func newMirrorSyncCommand(a *app) *cobra.Command {
	var o mirrorSyncOptions
	cmd := &cobra.Command{
		Use:   "sync [ID...]",
		Short: "Copy to the mirrors what they lack",
		Long: `Copy to every mirror the snapshots that it lacks, each one's manifest last, and
the records of verifications and drills, and holds. What is copied is held
against the manifest's SHA-256 on its way; where a store's copy is bad, another's
is taken, and that is a finding. What is there already is read back. A sync that
was interrupted or killed goes on where it was.

The primary is brought up only by its name, --to NAME: look first why it has lost
something. What a prune has dropped is not brought back.
` + exitStatus,
		Example: `  slotark mirror sync --config slotark.yaml
  slotark mirror sync latest --to us-east-1 --config slotark.yaml
  slotark mirror sync --dry-run --config slotark.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			report, err := runMirrorSync(cmd.Context(), a, cmd, o, ids)
			if report != nil {
				a.printMirrorSync(report, o.dryRun)
			}
			switch {
			case err != nil:
				return err
			case !report.Complete():
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.from, "from", "", "take copies from the store of this `NAME` alone (default: the first that has a good one)")
	cmd.Flags().StringVar(&o.to, "to", "", "bring up the store of this `NAME` alone (default: every mirror)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be copied: nothing is stored")
	return cmd
}

func runMirrorSync(ctx context.Context, a *app, cmd *cobra.Command, o mirrorSyncOptions, ids []string) (*catalog.SyncReport, error) {
	s, err := a.settings(ctx, cmd, needStores|needLocks)
	if err != nil {
		return nil, err
	}
	repository, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	report, err := shown(a, func(show progress.Func) (*catalog.SyncReport, error) {
		return repository.Sync(ctx, catalog.SyncOptions{Cluster: s.named, Snapshots: ids, From: o.from, To: o.to, DryRun: o.dryRun,
			Now: clock.Now(), Progress: show})
	})
	if errors.Is(err, catalog.ErrNoSuchStore) {
		err = usageError{err}
	}
	return report, err
}

type mirrorCopyMessage struct {
	Type     string             `json:"message_type"` // "mirror_copy"
	ID       manifest.ID        `json:"id"`
	Cluster  string             `json:"cluster"`
	Store    string             `json:"store"`
	Outcome  string             `json:"outcome"`
	Missing  int                `json:"missing_objects"`
	Size     int64              `json:"missing_bytes"`
	Copied   int                `json:"copied_objects"`
	Bytes    int64              `json:"copied_bytes"`
	Checked  int                `json:"checked_objects"`
	Findings []manifest.Finding `json:"findings,omitempty"`
	Error    string             `json:"error,omitempty"`
}

type mirrorSyncMessage struct {
	Type     string             `json:"message_type"` // "mirror_sync"
	DryRun   bool               `json:"dry_run,omitempty"`
	Copied   int                `json:"copied"`
	Behind   int                `json:"behind"`
	Records  int                `json:"records"`
	Bytes    int64              `json:"bytes"`
	Findings []manifest.Finding `json:"findings,omitempty"`
}

func newMirrorCopyMessage(c catalog.Copy, dryRun bool) mirrorCopyMessage {
	msg := mirrorCopyMessage{Type: "mirror_copy", ID: c.ID, Cluster: c.Cluster, Store: c.Store, Outcome: "behind", Missing: c.Gap.Objects,
		Size: c.Gap.Bytes, Copied: c.Copied, Bytes: c.Bytes, Checked: c.Checked, Findings: c.Findings}
	switch {
	case dryRun && c.Gap.Err == nil:
		msg.Outcome = "would be copied"
	case dryRun:
		msg.Error = oneLine(c.Gap.Err)
	case c.Whole:
		msg.Outcome = "copied"
	case c.Failed != nil:
		msg.Error = oneLine(c.Failed)
	}
	return msg
}

func (a *app) printMirrorSync(r *catalog.SyncReport, dryRun bool) {
	sum := mirrorSyncMessage{Type: "mirror_sync", DryRun: dryRun, Records: r.Records, Findings: r.Findings}
	rows := [][]string{{"SNAPSHOT", "STORE", "", "COPIED", "SIZE", "CHECKED"}}
	var notes []string
	for _, c := range r.Copies {
		msg := newMirrorCopyMessage(c, dryRun)
		if msg.Outcome == "behind" {
			sum.Behind++
		} else {
			sum.Copied++
		}
		sum.Bytes += c.Bytes
		objects, size := human.Plural(c.Copied, "object"), human.Size(c.Bytes)
		if dryRun {
			objects, size = human.Plural(c.Gap.Objects, "object"), human.Size(c.Gap.Bytes)
		}
		rows = append(rows, []string{string(c.ID), c.Store, msg.Outcome, objects, size, human.Plural(c.Checked, "object")})
		if msg.Error != "" {
			notes = append(notes, fmt.Sprintf("error: %s: %s: %s", c.Store, c.ID, msg.Error))
		}
		notes = append(notes, findingLines(c.Findings, string(c.ID)+": ")...)
		if a.json {
			a.emit(msg)
		}
	}
	notes = append(notes, findingLines(r.Findings, "")...)
	if a.json {
		a.emit(sum)
		return
	}
	if len(rows) > 1 {
		fmt.Fprint(a.stdout, table(rows))
	}
	for _, note := range notes {
		fmt.Fprintln(a.stdout, note)
	}
	if dryRun {
		fmt.Fprintf(a.stdout, "%s and %s would be copied. Nothing was stored.\n", human.Plural(sum.Copied, "snapshot"), human.Plural(sum.Records, "record"))
		return
	}
	fmt.Fprintf(a.stdout, "%s copied, %d still behind, %s: %s\n", human.Plural(sum.Copied, "snapshot"), sum.Behind, human.Plural(sum.Records, "record"), human.Size(sum.Bytes))
}

func findingLines(findings []manifest.Finding, prefix string) []string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, fmt.Sprintf("%s: %s%s: %s", f.Severity, prefix, f.Subject, f.Detail))
	}
	return lines
}
