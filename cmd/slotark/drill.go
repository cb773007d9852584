package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/restore/drill/probe"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type drillOptions struct {
	runtime string
	image   string
	program string
	probes  string
	keep    bool
	rotate  bool

	from             string
	shards, replicas int
}

func newDrillCommand(a *app) *cobra.Command {
	var o drillOptions
	cmd := &cobra.Command{
		Use:   "drill [ID|latest|--rotate]",
		Short: "Restore a snapshot into a throw-away cluster, compare every key, remove it",
		Long: `Rehearse a recovery: restore a snapshot into a throw-away cluster by the code of
slotark restore, compare every slot and every key, print how long it took, and
remove it all. The evidence is kept in the repository and shown by slotark list.

The nodes run in containers where a Docker engine answers, cut off from every
network, and as local processes otherwise. Without --image the containers' image
is made from the redis-server that is installed on this machine. An image of a registry
that wants a password is pulled with what docker login has kept for this user.

Then a client that has to be redirected reads some of the keys, writes some of its
own and calls functions that write nothing; and it asks what a file of --probes says:
keys that must exist, values, lengths, lifetimes, counts, results of scripts.

What a real incident would need can be rehearsed: that a region is lost (--from the
other one), that only a smaller cluster is to be had (--shards, --replicas), that
yesterday's data loads into tomorrow's version (--image), that the credentials and
the key of whoever restores are good (--credentials, --identity). With --rotate the
snapshot is drilled that has gone longest without it.
` + exitStatus,
		Example: `  slotark drill --repo /var/backups/redis
  slotark drill 20260131T02 --runtime process --repo /var/backups/redis
  slotark drill latest --image redis:8.0 --repo /var/backups/redis
  slotark drill --from us-east-1 --shards 1 --replicas 0 --config slotark.yaml
  slotark drill --probes probes.yaml --repo /var/backups/redis
  slotark drill list --repo /var/backups/redis`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one snapshot at most, got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) == 1 {
				ref = args[0]
			}
			if o.rotate && ref != "" {
				return usageError{errors.New("--rotate chooses the snapshot, and one was named: give one of them")}
			}
			report, err := runDrill(cmd.Context(), a, cmd, o, ref)
			if err != nil {
				return err
			}
			a.printDrill(report)
			if !report.Proved {
				return errFindings
			}
			return nil
		},
	}
	addDrillFlags(cmd.Flags(), &o)
	cmd.Flags().BoolVar(&o.rotate, "rotate", false, "drill the snapshot that has gone longest without it, not the latest")
	cmd.Flags().StringVar(&o.from, "from", "", "read from this `STORE` alone, as if the others were lost")
	cmd.Flags().IntVar(&o.shards, "shards", 0, "divide the slots evenly over so many shards (0: the snapshot's own shards and slots)")
	cmd.Flags().IntVar(&o.replicas, "replicas", drill.AsTaken, "how many replicas in all (-1: one for each shard that had any)")
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().StringVar(&a.flags.credentials, "credentials", "", "`PROFILE` of the shared AWS configuration whose credentials the buckets are opened with, in place of all others (drill.credentials)")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "keep the throw-away cluster until Ctrl-C, to look around in it")
	cmd.AddCommand(newDrillListCommand(a), newDrillReportCommand(a))
	return cmd
}

func addDrillFlags(set *pflag.FlagSet, o *drillOptions) {
	set.StringVar(&o.runtime, "runtime", "", "docker, process, or auto: docker where an engine answers (default auto)")
	set.StringVar(&o.image, "image", "", "container `IMAGE` (default: of the snapshot's own server and version)")
	set.StringVar(&o.probes, "probes", "", "`FILE` of what the restored cluster must answer besides (docs/config.md)")
	set.StringVar(&o.program, "program", "", "server that local processes run, a `FILE` (default: this machine's redis-server)")
}

func runDrill(ctx context.Context, a *app, cmd *cobra.Command, o drillOptions, ref string) (*drill.Report, error) {
	s, err := a.settings(ctx, cmd, needStores|needRestorer)
	if err != nil {
		return nil, err
	}
	if o.rotate {
		s.Drill.Pick = pickRotate
	}
	for name, lay := range map[string]func(){
		"from":     func() { s.Drill.From = o.from },
		"shards":   func() { s.Drill.Shards = o.shards },
		"replicas": func() { s.Drill.Replicas = o.replicas },
	} {
		if cmd.Flags().Changed(name) {
			lay()
		}
	}
	if err := s.overrideDrill(cmd.Flags(), o); err != nil {
		return nil, err
	}
	if _, err := s.probes(); err != nil { // before anything is asked or read
		return nil, err
	}
	repository, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.pick(ctx, repository, ref)
	if err != nil {
		return nil, err
	}
	if err := s.unlock(a, snapshot); err != nil {
		return nil, err
	}
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	options, err := s.drillOptions(snapshot)
	if err != nil {
		return nil, err
	}
	options.Progress = show.Func()
	options.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if o.keep {
		options.Hold = a.hold
	}
	return a.rehearse(ctx, repository, options)
}

// pick is the snapshot of a name, or without one what the settings say of drills.
func (s *settings) pick(ctx context.Context, repository *catalog.Repository, ref string) (*catalog.Snapshot, error) {
	if ref == "" && s.Drill.Pick == pickRotate {
		entries, err := repository.List(ctx, s.named)
		if err != nil {
			return nil, err
		}
		if least := catalog.LeastProved(entries); least != nil {
			return repository.Find(ctx, least.Cluster, string(least.ID))
		}
	}
	return repository.Find(ctx, s.named, cmp.Or(ref, catalog.Latest))
}

// pickRotate is config.Drill.Pick for the snapshot that has gone longest without
// a drill.
const pickRotate = "rotate"

// rehearse holds a drill within its time limit and keeps its evidence.
func (a *app) rehearse(ctx context.Context, repository *catalog.Repository, o drill.Options) (*drill.Report, error) {
	report, err := drill.Run(ctx, o)
	if report != nil {
		m := o.Snapshot.Manifest
		a.keepRecord(ctx, repository, catalog.DrillName(m.Cluster, m.ID, report.ID), report)
	}
	return report, err
}

func (s *settings) overrideDrill(set *pflag.FlagSet, o drillOptions) error {
	if set.Changed("runtime") {
		s.Drill.Runtime = o.runtime
	}
	if set.Changed("image") {
		s.Drill.Image = o.image
	}
	if set.Changed("program") {
		s.Drill.Program = o.program
	}
	if set.Changed("probes") {
		s.Drill.Probes = o.probes
	}
	if err := byFlag(s.Validate(), set.Changed); err != nil {
		return usageError{err}
	}
	return nil
}

// drillOptions is what the settings say of drills; serve's scheduled ones are
// held with the same.
func (s *settings) drillOptions(snapshot *catalog.Snapshot) (drill.Options, error) {
	runtime, err := drill.ParseRuntime(s.Drill.Runtime)
	if err != nil {
		return drill.Options{}, usageError{err}
	}
	probes, err := s.probes()
	return drill.Options{
		Snapshot: snapshot, Runtime: runtime, Image: s.Drill.Image, Program: s.Drill.Program, Probes: probes,
		From: s.Drill.From, Shards: s.Drill.Shards, Replicas: s.Drill.Replicas,
	}, err
}

// probes are those of the file that the settings name, if they do.
func (s *settings) probes() ([]probe.Probe, error) {
	if s.Drill.Probes == "" {
		return nil, nil
	}
	probes, err := config.LoadProbes(s.Drill.Probes)
	if err != nil {
		return nil, usageError{err}
	}
	return probes, nil
}

// hold keeps the throw-away cluster until the person has seen enough. The
// password goes into a file that only this user can read.
func (a *app) hold(ctx context.Context, sandbox drill.Sandbox, report *drill.Report) error {
	access := sandbox.Access()
	file, err := os.CreateTemp("", "slotark-drill-password-") // private: made 0600, removed below
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(access.Password.Reveal()); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	reach := make([]string, 0, len(sandbox.Nodes()))
	for _, addr := range sandbox.Nodes() {
		if to, mapped := access.NAT[addr]; mapped {
			addr = to
		}
		reach = append(reach, addr)
	}
	fmt.Fprintf(a.stderr, "drill %s: %s at %s, password in %s. Ctrl-C removes it.\n", report.ID, sandbox.Describe(), strings.Join(reach, " "), file.Name())
	enough, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	defer stop()
	select {
	case <-enough.Done():
	case <-ctx.Done():
	}
	return nil
}

func (a *app) printDrill(r *drill.Report) {
	if a.json {
		a.emit(drillMessage{"drill", r})
		return
	}
	verdict := "NOT proved."
	if r.Proved {
		verdict = "Proved."
	}
	fmt.Fprintf(a.stdout, "%s %s, restored into %s", verdict, r.Snapshot, r.Nodes)
	if r.From != "" {
		fmt.Fprintf(a.stdout, " from %s alone", r.From)
	}
	if r.Proved {
		fmt.Fprintf(a.stdout, ": every one of %s is equal%s\n", human.Plural(r.Keys, "key"), expiredNote(r.Expired))
	} else {
		fmt.Fprintf(a.stdout, ": %s\n%s", human.Plural(len(r.Findings), "finding"), findingRows(r.Findings))
	}
	fmt.Fprintf(a.stdout, "  %s\n", phaseLine(r.Phases))
	if r.Proved {
		fmt.Fprintf(a.stdout, "  RTO %s, RPO %s\n", human.Duration(r.RTO.Duration()), human.Duration(r.RPO.Duration()))
	}
	if r.Samples != nil {
		fmt.Fprintf(a.stdout, "  %s\n", sampled(r))
	}
	if r.Changes != nil {
		fmt.Fprintf(a.stdout, "  %s; see slotark drill report\n", changed(r.Changes))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(a.stdout, "  %s\n", note)
	}
}

// sampled says in a line what a client of the cluster was answered.
func sampled(r *drill.Report) string {
	s := r.Samples
	text := fmt.Sprintf("a client read %s of %s by way of %s, and wrote on %s", human.Plural(s.Reads, "key"), human.Plural(s.Slots, "slot"),
		human.Plural(s.Moved, "redirection"), human.Plural(s.MultiKey, "shard"))
	if s.Functions > 0 {
		text += fmt.Sprintf("; %s of %s called", human.Count(s.Called), human.Plural(s.Functions, "function"))
	}
	if len(r.Probes) > 0 {
		passed := 0
		for _, p := range r.Probes {
			if p.Passed {
				passed++
			}
		}
		text += fmt.Sprintf("; %d of %s passed", passed, human.Plural(len(r.Probes), "probe"))
	}
	return text
}

// findingRows is a line for each finding.
func findingRows(findings []manifest.Finding) string {
	var rows [][]string
	for _, f := range findings {
		rows = append(rows, []string{"  " + f.Code, f.Subject, f.Detail})
	}
	return table(rows)
}
