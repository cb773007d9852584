package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore/drill"
	"github.com/spf13/cobra"
)

func newDrillListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the drills that were held, newest first",
		Long: `List the drills of a repository: what was restored into what, whether it was
proved, how long the recovery took and how old the data was. With --json each is
given whole, as its evidence was stored.
` + exitStatus,
		Example: `  slotark drill list --repo /var/backups/redis`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDrillList(cmd.Context(), a, cmd) },
	}
}

// drills are the reports of all drills of a repository, the newest first. Those
// that cannot be read are told of.
func (a *app) drills(ctx context.Context, cmd *cobra.Command) (*settings, []drill.Report, error) {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, nil, err
	}
	repository, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	repository.UseCache(manifestCache())
	records, unread, err := repository.Drills(ctx, s.named)
	if err != nil {
		return nil, nil, err
	}
	var reports []drill.Report
	for _, text := range records {
		var r drill.Report
		if json.Unmarshal(text, &r) != nil {
			unread++
			continue
		}
		reports = append(reports, r)
	}
	if unread > 0 {
		fmt.Fprintf(a.stderr, "slotark: warning: %s cannot be read\n", human.Plural(unread, "drill's record"))
	}
	return s, reports, nil
}

func runDrillList(ctx context.Context, a *app, cmd *cobra.Command) error {
	s, reports, err := a.drills(ctx, cmd)
	if err != nil {
		return err
	}
	rows := [][]string{{"DRILL", "SNAPSHOT", "AGE", "PROVED", "RTO", "RPO", "INTO"}}
	for _, r := range reports {
		if a.json {
			a.emit(drillMessage{"drill", &r})
			continue
		}
		proved := "yes"
		if !r.Proved {
			proved = "NO: " + human.Plural(len(r.Findings), "finding")
		}
		into := r.Nodes
		if r.From != "" {
			into += ", from " + r.From + " alone"
		}
		rows = append(rows, []string{string(r.ID), string(r.Snapshot), human.Age(clock.Since(r.Started)), proved,
			human.Duration(r.RTO.Duration()), human.Duration(r.RPO.Duration()), into})
	}
	switch {
	case a.json:
	case len(rows) == 1:
		fmt.Fprintf(a.stdout, "no drills in %s\n", s.stores[0])
	default:
		fmt.Fprint(a.stdout, table(rows))
	}
	return nil
}
