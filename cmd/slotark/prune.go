package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type pruneOptions struct {
	retention config.Retention
	dryRun    bool
}

func newPruneCommand(a *app) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the snapshots that the retention rules do not keep",
		Long: `Delete the snapshots that no rule keeps, from every store, and what failed runs
have left. The rules come from the retention section of --config or from flags;
each snapshot that one of them wants is kept, and the table says why.

Whatever the rules say, these stay: the newest whole snapshot, the newest that
was verified, the newest that a drill proved, a minimum of the newest whole ones,
what is held (slotark hold), and what is being restored. Only whole snapshots
count. Nothing is deleted unless every store answers, and none while the clocks
of a store and of this machine differ by more than 5 minutes.
` + exitStatus,
		Example: `  slotark prune --dry-run --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --repo /var/backups/redis
  slotark prune --config slotark.yaml
  slotark prune --keep-within 30d --json --repo /var/backups/redis`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := runPrune(cmd.Context(), a, cmd, o)
			if result != nil {
				a.printPrune(result)
			}
			if err != nil {
				return err
			}
			if result.failed() {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be deleted, and why; delete nothing")
	addRetentionFlags(cmd.Flags(), &o.retention)
	return cmd
}

// retentionFlags lays each flag that is given over its place in the
// configuration.
var retentionFlags = []struct {
	name string
	take func(from, into *config.Retention)
}{
	{"keep-last", func(from, into *config.Retention) { into.KeepLast = from.KeepLast }},
	{"keep-within", func(from, into *config.Retention) { into.KeepWithin = from.KeepWithin }},
	{"keep-hourly", func(from, into *config.Retention) { into.KeepHourly = from.KeepHourly }},
	{"keep-daily", func(from, into *config.Retention) { into.KeepDaily = from.KeepDaily }},
	{"keep-weekly", func(from, into *config.Retention) { into.KeepWeekly = from.KeepWeekly }},
	{"keep-monthly", func(from, into *config.Retention) { into.KeepMonthly = from.KeepMonthly }},
	{"keep-yearly", func(from, into *config.Retention) { into.KeepYearly = from.KeepYearly }},
	{"keep-minimum", func(from, into *config.Retention) { into.KeepMinimum = from.KeepMinimum }},
	{"orphans-older", func(from, into *config.Retention) { into.OrphansOlder = from.OrphansOlder }},
	{"time-zone", func(from, into *config.Retention) { into.TimeZone = from.TimeZone }},
}

func addRetentionFlags(set *pflag.FlagSet, r *config.Retention) {
	set.IntVar(&r.KeepLast, "keep-last", 0, "keep the newest `N`")
	set.Var(&r.KeepWithin, "keep-within", "keep all that are not older than this `SPAN`, such as 36h, 30d or 8w")
	set.IntVar(&r.KeepHourly, "keep-hourly", 0, "keep the newest of each of the newest `N` hours that have one")
	set.IntVar(&r.KeepDaily, "keep-daily", 0, "the same of `N` days")
	set.IntVar(&r.KeepWeekly, "keep-weekly", 0, "the same of `N` weeks, which begin on Monday")
	set.IntVar(&r.KeepMonthly, "keep-monthly", 0, "the same of `N` months")
	set.IntVar(&r.KeepYearly, "keep-yearly", 0, "the same of `N` years")
	set.IntVar(&r.KeepMinimum, "keep-minimum", 0, "keep `N` of the newest whole ones, whatever the rules say (default 3, at least 1)")
	set.Var(&r.OrphansOlder, "orphans-older", "remove what has no manifest and is older than this `SPAN` (default 1d)")
	set.StringVar(&r.TimeZone, "time-zone", "", "the `ZONE` in which hours, days, weeks, months and years begin (default UTC)")
}

// overrideRetention lays the flags that were given over the configuration.
func (s *settings) overrideRetention(set *pflag.FlagSet, r config.Retention) error {
	for _, f := range retentionFlags {
		if set.Changed(f.name) {
			f.take(&r, &s.Retention)
		}
	}
	if err := byFlag(s.Validate(), set.Changed); err != nil {
		return usageError{err}
	}
	return nil
}

// pruneOptions is what the settings say of pruning; serve's scheduled ones are
// done with the same.
func (s *settings) pruneOptions() (catalog.PruneOptions, error) {
	policy, err := policyOf(s.Retention)
	if err != nil {
		return catalog.PruneOptions{}, usageError{err}
	}
	// A snapshot may be under way for as long as one is allowed to take.
	older := max(s.Retention.OrphansOlder.Duration(), s.Snapshot.Timeout+time.Hour)
	policy.Margin = older
	o := catalog.PruneOptions{Cluster: s.named, OrphansOlder: older, Policy: policy}
	if o.Policy.Empty() {
		return o, hint.Add(usageError{errors.New("no retention rule was given: nothing says what to keep")},
			"give one, such as --keep-daily 7, or the retention section in --config FILE; see first with --dry-run")
	}
	return o, nil
}

// policyOf are the rules of a configuration. They know of no margin yet.
func policyOf(r config.Retention) (catalog.Policy, error) {
	location, err := r.Location()
	return catalog.Policy{
		Last: r.KeepLast, Within: r.KeepWithin.Duration(), Hourly: r.KeepHourly, Daily: r.KeepDaily, Weekly: r.KeepWeekly,
		Monthly: r.KeepMonthly, Yearly: r.KeepYearly, Minimum: r.KeepMinimum, Location: location,
	}, err
}

// pruneResult is a plan and what came of it.
type pruneResult struct {
	plan     *catalog.Plan
	removals map[string]catalog.Removal // by cluster and id; empty after a dry run
	dryRun   bool
	elapsed  time.Duration
}

func (r *pruneResult) failed() bool {
	for _, removal := range r.removals {
		if removal.Err != nil {
			return true
		}
	}
	return false
}

func runPrune(ctx context.Context, a *app, cmd *cobra.Command, o pruneOptions) (*pruneResult, error) {
	s, err := a.settings(ctx, cmd, needStores|needWrites)
	if err != nil {
		return nil, err
	}
	if err := s.overrideRetention(cmd.Flags(), o.retention); err != nil {
		return nil, err
	}
	return s.prune(ctx, o.dryRun)
}

// prune plans, and does it. Where it was interrupted, the result says what was
// done until then.
func (s *settings) prune(ctx context.Context, dryRun bool) (*pruneResult, error) {
	started := clock.Now()
	options, err := s.pruneOptions()
	if err != nil {
		return nil, err
	}
	repository, err := catalog.Open(ctx, s.stores)
	if err != nil {
		return nil, err
	}
	plan, err := repository.PlanPrune(ctx, options)
	if err != nil {
		return nil, err
	}
	result := &pruneResult{plan: plan, removals: map[string]catalog.Removal{}, dryRun: dryRun}
	if !dryRun {
		err = repository.Prune(ctx, plan, func(r catalog.Removal) { result.removals[removalKey(r.Cluster, r.ID)] = r })
		if err != nil && len(result.removals) == 0 {
			return nil, err
		}
	}
	result.elapsed = clock.Since(started)
	return result, err
}

func removalKey(cluster string, id manifest.ID) string { return cluster + "/" + string(id) }

// outcome is what became of one snapshot or orphan: "kept", "dropped", "failed",
// "would be dropped" after a dry run, or "not reached".
func (r *pruneResult) outcome(keep bool, cluster string, id manifest.ID) (word, note string) {
	removal, done := r.removals[removalKey(cluster, id)]
	switch {
	case keep:
		return "kept", ""
	case r.dryRun:
		return "would be dropped", ""
	case !done:
		return "not reached", ""
	case removal.Kept != "":
		return "kept", removal.Kept
	case removal.Err != nil:
		return "failed", oneLine(removal.Err)
	}
	return "dropped", ""
}

func (a *app) printPrune(r *pruneResult) {
	if a.json {
		for _, message := range newPruneMessages(r) {
			a.emit(message)
		}
		return
	}
	now := clock.Now()
	rows := [][]string{{"SNAPSHOT", "CLUSTER", "AGE", "SIZE", "", "WHY"}}
	for _, d := range r.plan.Decisions {
		size := "-"
		if s := r.plan.Entries[d.Cluster][d.ID].Summary; s != nil {
			size = human.Size(s.Bytes)
		}
		word, note := r.outcome(d.Keep, d.Cluster, d.ID)
		rows = append(rows, []string{string(d.ID), d.Cluster, human.Age(now.Sub(d.Time)), size, word, pruneNote(d.Reasons, note)})
	}
	for _, o := range r.plan.Orphans {
		word, note := r.outcome(o.Keep, o.Cluster, o.ID)
		rows = append(rows, []string{string(o.ID), o.Cluster, human.Age(now.Sub(o.ID.Time())), human.Size(o.Bytes), word, pruneNote([]string{o.Reason}, note)})
	}
	if len(rows) > 1 {
		fmt.Fprint(a.stdout, table(rows))
	}
	sum := newPruneSummary(r)
	if r.dryRun {
		fmt.Fprintf(a.stdout, "%s would be kept, %d dropped, and %s removed. Nothing was deleted.\n",
			human.Plural(sum.Kept, "snapshot"), sum.Dropped, human.Plural(sum.Orphans, "orphan"))
		return
	}
	fmt.Fprintf(a.stdout, "%s kept, %d dropped, %s removed, %d failed: %s given back in %s\n", human.Plural(sum.Kept, "snapshot"),
		sum.Dropped, human.Plural(sum.Orphans, "orphan"), sum.Failed, human.Size(sum.Bytes), human.Duration(r.elapsed))
}

func pruneNote(reasons []string, note string) string {
	if note != "" {
		return note
	}
	return strings.Join(reasons, ", ")
}

type retentionMessage struct {
	Type    string      `json:"message_type"` // "retention"
	ID      manifest.ID `json:"id"`
	Cluster string      `json:"cluster"`
	Orphan  bool        `json:"orphan,omitempty"` // it has no manifest in any store
	Taken   time.Time   `json:"taken"`
	Bytes   int64       `json:"bytes"`
	Keep    bool        `json:"keep"`
	Reasons []string    `json:"reasons"`
	Outcome string      `json:"outcome"`
	Detail  string      `json:"detail,omitempty"`
}

type pruneSummary struct {
	Type    string          `json:"message_type"` // "prune"
	DryRun  bool            `json:"dry_run,omitempty"`
	Kept    int             `json:"kept"`
	Dropped int             `json:"dropped"`
	Failed  int             `json:"failed"`
	Orphans int             `json:"orphans"`
	Bytes   int64           `json:"bytes"`
	Elapsed catalog.Seconds `json:"elapsed_seconds"`
}

// newPruneMessages are a line for each snapshot and orphan, and one for the whole.
func newPruneMessages(r *pruneResult) []any {
	var messages []any
	for _, d := range r.plan.Decisions {
		msg := retentionMessage{Type: "retention", ID: d.ID, Cluster: d.Cluster, Taken: d.Time, Keep: d.Keep, Reasons: d.Reasons}
		if s := r.plan.Entries[d.Cluster][d.ID].Summary; s != nil {
			msg.Bytes = s.Bytes
		}
		msg.Outcome, msg.Detail = r.outcome(d.Keep, d.Cluster, d.ID)
		messages = append(messages, msg)
	}
	for _, o := range r.plan.Orphans {
		msg := retentionMessage{Type: "retention", ID: o.ID, Cluster: o.Cluster, Orphan: true, Taken: o.ID.Time(), Bytes: o.Bytes, Keep: o.Keep, Reasons: []string{o.Reason}}
		msg.Outcome, msg.Detail = r.outcome(o.Keep, o.Cluster, o.ID)
		messages = append(messages, msg)
	}
	return append(messages, newPruneSummary(r))
}

func newPruneSummary(r *pruneResult) pruneSummary {
	sum := pruneSummary{Type: "prune", DryRun: r.dryRun, Elapsed: catalog.Seconds(r.elapsed)}
	for _, removal := range r.removals {
		sum.Bytes += removal.Bytes
	}
	for _, d := range r.plan.Decisions {
		switch word, _ := r.outcome(d.Keep, d.Cluster, d.ID); word {
		case "dropped", "would be dropped":
			sum.Dropped++
		case "failed":
			sum.Failed++
		default:
			sum.Kept++
		}
	}
	for _, o := range r.plan.Orphans {
		switch word, _ := r.outcome(o.Keep, o.Cluster, o.ID); word {
		case "dropped", "would be dropped":
			sum.Orphans++
		case "failed":
			sum.Failed++
		}
	}
	return sum
}
