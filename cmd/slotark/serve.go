package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/scheduler"
	"github.com/slotark/slotark/snapshot"
	"github.com/spf13/cobra"
)

type serveOptions struct {
	snapshot string
	drill    string
	prune    string
	drillOptions
	retention config.Retention
}

func newServeCommand(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take snapshots, hold drills and prune by schedule, until stopped",
		Long: `Take snapshots, hold drills and prune by cron expressions, one thing at a time: a
job that is due while another runs waits its turn, and one that is due while it
runs itself is skipped. SIGINT or SIGTERM stops what runs, cleanly.

Expressions have five fields (minute hour day month weekday), or are "@daily",
"@every 6h" and the like. A drill takes the latest snapshot, or the one that has
gone longest without (drill.pick: rotate). Passwords are read anew for each run.
` + exitStatus,
		Example: `  slotark serve --config slotark.yaml
  slotark serve --node 10.0.1.10:6379 --repo /var/backups/redis --snapshot-schedule '0 2 * * *' --drill-schedule '0 4 * * *'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd.Context(), a, cmd, o) },
	}
	cmd.Flags().StringVar(&o.snapshot, "snapshot-schedule", "", "when to take a snapshot: a cron `EXPRESSION`")
	cmd.Flags().StringVar(&o.drill, "drill-schedule", "", "when to drill the latest snapshot (or what drill.pick says): a cron `EXPRESSION`")
	cmd.Flags().StringVar(&o.prune, "prune-schedule", "", "when to delete what the retention rules do not keep: a cron `EXPRESSION`")
	addDrillFlags(cmd.Flags(), &o.drillOptions)
	addRetentionFlags(cmd.Flags(), &o.retention)
	a.addCaptureFlags(cmd.Flags())
	a.addIdentityFlag(cmd.Flags())
	return cmd
}

// server runs the scheduled jobs.
type server struct {
	*app
	cmd     *cobra.Command
	options serveOptions
	log     *slog.Logger
}

func runServe(ctx context.Context, a *app, cmd *cobra.Command, o serveOptions) error {
	srv := &server{app: a, cmd: cmd, options: o, log: a.logger()}
	s, err := srv.settings(ctx, needLocks)
	if err != nil {
		return err
	}
	location, err := s.Schedule.Location()
	if err != nil {
		return usageError{err}
	}
	var jobs []scheduler.Job
	if s.Schedule.Snapshot != "" {
		jobs = append(jobs, scheduler.Job{Name: "snapshot", Schedule: s.Schedule.Snapshot, Timeout: s.Config.Snapshot.Timeout, Run: srv.snapshot})
	}
	if s.Schedule.Drill != "" {
		if _, err := srv.settings(ctx, needRestorer); err != nil { // better now than at night
			return err
		}
		jobs = append(jobs, scheduler.Job{Name: "drill", Schedule: s.Schedule.Drill, Timeout: s.Config.Drill.Timeout, Run: srv.drill})
	}
	if s.Schedule.Prune != "" {
		if _, err := s.pruneOptions(); err != nil { // as above
			return err
		}
		jobs = append(jobs, scheduler.Job{Name: "prune", Schedule: s.Schedule.Prune, Timeout: pruneLimit, Run: srv.prune})
	}
	if _, err := s.probes(); err != nil {
		return err
	}
	if len(jobs) == 0 {
		return hint.Add(usageError{errors.New("nothing is scheduled")},
			"give --snapshot-schedule, --drill-schedule or --prune-schedule, or the schedule section in --config FILE")
	}
	schedule, err := scheduler.New(scheduler.Options{Jobs: jobs, Location: location, Logger: srv.log})
	if err != nil {
		return usageError{err}
	}
	srv.log.Info("serving", "version", version, "cluster", s.Cluster.Name, "repository", s.stores[0].String())
	err = schedule.Run(ctx)
	srv.log.Info("stopped")
	return err
}

// settings are read anew for each run: passwords rotate.
func (srv *server) settings(ctx context.Context, needs need) (*settings, error) {
	s, err := srv.app.settings(ctx, srv.cmd, needCluster|needStores|needWrites|needs)
	if err != nil {
		return nil, err
	}
	set := srv.cmd.Flags()
	if set.Changed("snapshot-schedule") {
		s.Schedule.Snapshot = srv.options.snapshot
	}
	if set.Changed("drill-schedule") {
		s.Schedule.Drill = srv.options.drill
	}
	if set.Changed("prune-schedule") {
		s.Schedule.Prune = srv.options.prune
	}
	if err := s.overrideRetention(set, srv.options.retention); err != nil {
		return nil, err
	}
	return s, s.overrideDrill(set, srv.options.drillOptions)
}

// snapshot is one scheduled snapshot.
func (srv *server) snapshot(ctx context.Context) error {
	s, err := srv.settings(ctx, needLocks)
	if err != nil {
		return err
	}
	options, err := s.snapshotOptions()
	if err != nil {
		return err
	}
	result, err := snapshot.Take(ctx, options)
	if err != nil {
		return err
	}
	m := result.Manifest
	for _, w := range result.Warnings {
		srv.log.Warn("snapshot", "cluster", m.Cluster, "snapshot", m.ID, "warning", w)
	}
	for _, o := range result.Outcomes {
		if o.Err != nil {
			srv.log.Error("store behind", "cluster", m.Cluster, "snapshot", m.ID, "store", o.Name, "error", oneLine(o.Err))
		}
	}
	srv.log.Info("snapshot is whole", "cluster", m.Cluster, "snapshot", m.ID, "keys", m.Keys(), "bytes", m.Bytes(),
		"skew", m.Skew().Round(time.Millisecond), "elapsed", result.Elapsed.Round(time.Millisecond))
	if !result.Complete() || result.Faulty() {
		return fmt.Errorf("snapshot %s: %w", m.ID, errFindings)
	}
	return nil
}

// drill is one scheduled drill, of the snapshot that the settings pick.
func (srv *server) drill(ctx context.Context) error {
	s, err := srv.settings(ctx, needRestorer)
	if err != nil {
		return err
	}
	s.warn = func(format string, args ...any) { srv.log.Warn(fmt.Sprintf(format, args...)) }
	repository, err := s.open(ctx)
	if err != nil {
		return err
	}
	// Without a name of its own a cluster is kept as "default": the drill takes
	// the snapshots that this server takes.
	s.named = s.Cluster.Name
	picked, err := s.pick(ctx, repository, "")
	if err != nil {
		return err
	}
	if err := s.unlock(srv.app, picked); err != nil {
		return err
	}
	options, err := s.drillOptions(picked)
	if err != nil {
		return err
	}
	options.Logger = srv.log
	report, err := srv.rehearse(ctx, repository, options)
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		srv.log.Error("finding", "drill", report.ID, "snapshot", report.Snapshot, "code", f.Code, "subject", f.Subject, "detail", f.Detail)
	}
	if !report.Proved {
		return fmt.Errorf("snapshot %s is not proved by drill %s: %w", report.Snapshot, report.ID, errFindings)
	}
	srv.log.Info("snapshot is proved", "cluster", report.Cluster, "snapshot", report.Snapshot, "drill", report.ID, "keys", report.Keys,
		"rto", report.RTO.Duration(), "rpo", report.RPO.Duration(), "nodes", report.Nodes)
	return nil
}

// pruneLimit bounds a scheduled prune, so that a store that hangs does not stop
// the snapshots. What is left the next one does.
const pruneLimit = time.Hour

// prune is one scheduled prune, of this server's cluster alone.
func (srv *server) prune(ctx context.Context) error {
	s, err := srv.settings(ctx, needLocks)
	if err != nil {
		return err
	}
	s.named = s.Cluster.Name
	result, err := s.prune(ctx, false)
	if err != nil {
		return err
	}
	for _, d := range result.plan.Drops() {
		word, note := result.outcome(d.Keep, d.Cluster, d.ID)
		srv.log.Info("snapshot "+word, "cluster", d.Cluster, "snapshot", d.ID, "reasons", strings.Join(d.Reasons, ", "), "detail", note)
	}
	sum := newPruneSummary(result)
	srv.log.Info("pruned", "cluster", s.Cluster.Name, "kept", sum.Kept, "dropped", sum.Dropped, "orphans", sum.Orphans, "failed", sum.Failed,
		"bytes", sum.Bytes, "elapsed", result.elapsed.Round(time.Millisecond))
	if result.failed() {
		return fmt.Errorf("%d could not be deleted: %w", sum.Failed, errFindings)
	}
	return nil
}

// logger writes to stderr, as JSON where --json asks for it.
func (a *app) logger() *slog.Logger {
	if a.json {
		return slog.New(slog.NewJSONHandler(a.stderr, nil))
	}
	return slog.New(slog.NewTextHandler(a.stderr, nil))
}
