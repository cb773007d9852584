package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/spf13/cobra"
)

type restoreOptions struct {
	to       []string
	toDir    string
	at       []string
	replicas int
	fromAOF  bool
	shards   int
	slots    []string
	plan     bool
	resume   bool
	part     partOptions
}

func newRestoreCommand(a *app) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore ID (--to ADDR,... | --to-dir DIR | --into ADDR,... | --out FILE)",
		Short: "Rebuild a cluster from a snapshot, or take some keys out of one",
		Long: `Rebuild a cluster from a snapshot: with the same slots on as many shards, or with
--shards or --shard-slots on fewer or more.

--to ADDR,...  replays into running cluster nodes that are empty and know nobody.
               The first become the primaries, by slots; what is left, their
               replicas. Afterwards every slot and every key is compared.
               After a kill or a power cut: the same command with --resume.
--to-dir DIR   seeds one data folder for each node: a dump and a nodes.conf with a
               new node id, for servers that are started afterwards at the
               addresses of --at (without it: at the snapshot's own, if nobody
               answers there any more). Compare with: slotark verify ID --live
               After a kill or a power cut the same command begins anew.
               Dumps for other shards are cut anew, by slot.

With --plan nothing is done: it checks what a restore checks first, and says what
each step would do, onto what, with how much data and memory.

With --from-aof either is done from the snapshot's append-only files, where it was
taken with --aof: they end where the dumps begin, so the result is compared with
these. Seeded servers then start with appendonly yes. Onto other shards only the
dumps can be restored.

Keys alone, chosen by --key, --match, --slots and --type:

--into ADDR,... into a running cluster, whose other keys are not touched. What it
               has just as it was is left alone; of a key that differs --existing
               says what becomes of it. --diff only shows. What is written is
               compared afterwards; after an interruption the same command goes on.
--out FILE     into a file: a dump (FILE.rdb), or with --format resp the commands
               that redis-cli --pipe sends to a server. "-" is standard output.

The targets are reached with --user, --password-file and --tls... like any other
cluster. Nothing is restored over keys unless --existing replace says so.
` + exitStatus,
		Example: `  slotark restore latest --repo /var/backups/redis --to 10.0.2.10:6379,10.0.2.11:6379,10.0.2.12:6379
  slotark restore 20260131T02 --repo 's3://acme-us/redis?region=us-east-1' --to-dir /srv/restored
  slotark restore latest --repo /var/backups/redis --to-dir /srv/restored --at 10.0.2.10:6379,10.0.2.11:6379,10.0.2.12:6379
  slotark restore latest --repo /var/backups/redis --to 10.0.2.10:6379,10.0.2.11:6379 --shards 2
  slotark restore latest --repo /var/backups/redis --into 10.0.1.10:6379 --match 'cart:*' --diff
  slotark restore latest --repo /var/backups/redis --into 10.0.1.10:6379 --key user:1000 --existing replace
  slotark restore latest --repo /var/backups/redis --match 'user:*' --type hash --out users.rdb`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error { return runRestore(cmd.Context(), a, cmd, o, args[0]) },
	}
	cmd.Flags().StringSliceVar(&o.to, "to", nil, "running, empty cluster nodes, the primaries first: `ADDR,...`")
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().StringVar(&o.toDir, "to-dir", "", "a new or empty `FOLDER` to seed")
	cmd.Flags().StringSliceVar(&o.at, "at", nil, "with --to-dir: the addresses that the seeded nodes will have, the primaries first: `ADDR,...`")
	cmd.Flags().BoolVar(&o.fromAOF, "from-aof", false, "restore from the append-only files, where the snapshot was taken with --aof, and not from the dumps")
	cmd.Flags().BoolVar(&o.plan, "plan", false, "check, say what would be done, and change nothing")
	cmd.Flags().BoolVar(&o.resume, "resume", false, "with --to: begin anew where a restore of this snapshot into these nodes was killed; what they hold is removed")
	cmd.Flags().IntVar(&o.shards, "shards", 0, "divide the slots evenly over so many shards (0: the snapshot's own shards and slots)")
	cmd.Flags().StringArrayVar(&o.slots, "shard-slots", nil, "the slots of one shard, once for each: `RANGES` such as 0-99,200-8191")
	o.part.addFlags(cmd.Flags())
	cmd.Flags().IntVar(&o.replicas, "replicas", restore.AllReplicas, "how many replicas in all (-1: as many as there are addresses for)")
	return cmd
}

func runRestore(ctx context.Context, a *app, cmd *cobra.Command, o restoreOptions, ref string) error {
	if o.part.asked() {
		return runRestorePart(ctx, a, cmd, o, ref)
	}
	layout, err := o.check()
	if err != nil {
		return usageError{err}
	}
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return err
	}
	repository, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return err
	}
	options := restore.Options{Snapshot: snapshot, To: o.to, ToDir: o.toDir, At: o.at, Layout: layout, Replicas: o.replicas, AOF: o.fromAOF, Resume: o.resume, Access: s.access}
	if o.plan {
		plan, err := restore.MakePlan(ctx, options)
		if err != nil {
			return err
		}
		return a.printPlan(ctx, repository, snapshot, plan)
	}
	// Before anything is asked of a target.
	if err := s.unlock(a, snapshot); err != nil {
		return err
	}
	result, err := shown(a, func(show progress.Func) (*restore.Result, error) {
		options.Progress = show
		return restore.Run(ctx, options)
	})
	if err != nil {
		return err
	}
	a.printRestore(snapshot, result)
	if !result.Complete() {
		return errFindings
	}
	return nil
}

// check finds what contradicts itself, and returns the layout that is asked for.
func (o restoreOptions) check() ([]slot.Set, error) {
	switch {
	case (len(o.to) == 0) == (o.toDir == ""):
		return nil, errors.New("say where to: --to ADDR,... or --to-dir DIR; or of keys alone --into ADDR,... or --out FILE")
	case len(o.at) > 0 && o.toDir == "":
		return nil, errors.New("--at goes with --to-dir")
	case o.resume && o.toDir != "":
		return nil, errors.New("--resume goes with --to: a seed begins anew by itself")
	case o.resume && o.plan:
		return nil, errors.New("--plan changes nothing, and --resume empties nodes: give one of them")
	case o.shards != 0 && len(o.slots) > 0:
		return nil, errors.New("--shards divides the slots evenly, --shard-slots says which go where: give one of them")
	case o.replicas < restore.AllReplicas:
		return nil, fmt.Errorf("--replicas %d: want how many, or -1 for as many as there are addresses for", o.replicas)
	}
	return o.layout()
}

// layout is which slots each shard is to own; nil for the snapshot's.
func (o restoreOptions) layout() ([]slot.Set, error) {
	if o.shards < 0 || o.shards > slot.Count {
		return nil, fmt.Errorf("--shards %d: want 1 to %d, or 0 for the snapshot's", o.shards, slot.Count)
	}
	if o.shards > 0 {
		return restore.Balanced(o.shards), nil
	}
	var layout []slot.Set
	for _, text := range o.slots {
		slots, err := slot.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--shard-slots %s: %w", text, err)
		}
		layout = append(layout, slots)
	}
	return layout, nil
}

func (a *app) printRestore(s *catalog.Snapshot, r *restore.Result) {
	if a.json {
		a.emit(newRestoreMessage(s, r))
		return
	}
	m := s.Manifest
	fmt.Fprintf(a.stdout, "restore of %s as of %s (%s of writes since then are not in it)\n", m.Cluster, human.Moment(m.Started), human.Duration(clock.Since(m.Started)))
	rows := [][]string{}
	for _, shard := range r.Shards {
		rows = append(rows, []string{"  shard " + shard.Slots.String(), shard.Primary, replicaNote(shard.Replicas),
			human.Size(shard.Bytes), human.Count(shard.Keys) + " keys", "from " + strings.Join(shard.Stores, ", ")})
	}
	fmt.Fprint(a.stdout, table(rows))
	if len(r.Folders) > 0 {
		fmt.Fprintln(a.stdout)
		rows = rows[:0]
		for _, f := range r.Folders {
			rows = append(rows, []string{"  " + f.Path, roleName(f.Primary), f.Start})
		}
		fmt.Fprint(a.stdout, table(rows))
	}
	fmt.Fprintf(a.stdout, "\n%s\n", phaseLine(r.Phases))
	if r.Comparison != nil {
		fmt.Fprint(a.stdout, comparisonText(r.Comparison))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(a.stdout, "%s: %s: %s\n", f.Severity, f.Subject, f.Detail)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(a.stdout, note)
	}
	fmt.Fprintf(a.stdout, "restored %s in %s\n", m.ID, human.Duration(r.Elapsed))
}

func replicaNote(addresses []string) string {
	if len(addresses) == 0 {
		return ""
	}
	return "+ " + strings.Join(addresses, ", ")
}

// phaseLine is "check 12 ms, load 3.4 s, compare 1.9 s".
func phaseLine(phases []restore.Phase) string {
	parts := make([]string, len(phases))
	for i, p := range phases {
		parts[i] = p.Name + " " + human.Duration(p.Elapsed)
	}
	return strings.Join(parts, ", ")
}
