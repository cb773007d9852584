package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	keep     bool
	replace  restore.Replacing
	zones    []string
	one      oneNodeOptions
	apply    restore.Apply
	logical  bool
	through  bool // agents
	part     partOptions
}

const restoreLong = `Rebuild a cluster from a snapshot: with the same slots on as many shards, or with
--shards or --shard-slots on fewer or more.

--to ADDR,...  replays into running cluster nodes that are empty and know nobody.
               The first become the primaries, by slots; what is left, their
               replicas, on other hosts and in other zones than their primaries
               (--zone) wherever that can be. Afterwards every slot and every key is compared.
               After a kill or a power cut: the same command with --resume, on this
               machine or another, goes on with what is done.
               Nodes that hold anything are refused, unless --replace NAME says
               that it may be lost: then these are emptied first, after all other
               checks. NAME is the name of the snapshot's cluster, typed out. Of a
               cluster all nodes have to be given, or none. The very cluster that
               the snapshot was taken from needs --replace-live-source as well.
               --plan says what would be lost.
--to-dir DIR   seeds one data folder for each node: a dump and a nodes.conf with a
               new node id, for servers that are started afterwards at the
               addresses of --at (without it: at the snapshot's own, if nobody
               answers there any more). Compare with: slotark verify ID --live
               After a kill or a power cut the same command goes on; on another machine,
               which cannot tell whether the first is over, with --resume.
               Dumps for other shards are cut anew, by slot. --append-only is for servers
               with appendonly yes, which read no dump; --node seeds one node alone, into
               DIR itself, as an init container does (docs/kubernetes.md).

--through-agents, with --to, has the agent beside each node (--agent, docs/agent.md)
               seed its data, and when all is there stop the nodes, put it in the place
               of what they have, and start them: no byte passes through here, and the
               nodes need not run before. What they had is moved aside, brought back
               if anything fails, and removed when all was found equal.

What stops a restore, an error or Ctrl-C, undoes it: the nodes are empty again. With
--keep-partial what is done stays, for --resume.

With --plan nothing is done: it checks what a restore checks first, and says what
each step would do, onto what, with how much data and memory.

With --from-aof either is done from the snapshot's append-only files, where it was
taken with --aof: they end where the dumps begin, so the result is compared with
these. Seeded servers then start with appendonly yes. Onto other shards each command
goes to where its keys are; one that could belong to any shard, such as a module's
of its own, is refused and named.

A server reads dumps of its own version and of older ones; Valkey and Redis read each
other's up to RDB 11. Others are refused by the check. With --logical values are sent
to them as the commands that make them (SET, HSET, XADD, ...), which takes longer;
what no command can make (values of modules) is refused before anything is changed.

With --apply-config and --apply-users the last step, after the comparison and only
where that found everything equal, gives the nodes the snapshot's configuration and
ACL users. What belongs to a node (addresses, files, TLS, passwords of the nodes
themselves) is never applied; what cannot be is a finding.

Keys alone, chosen by --key, --match, --slots and --type:

--into ADDR,... into a running cluster, whose other keys are not touched. What it
               has just as it was is left alone; of a key that differs --existing
               says what becomes of it. --diff only shows. What is written is
               compared afterwards; after an interruption the same command goes on.
--out FILE     into a file: a dump (FILE.rdb), or with --format resp the commands
               that redis-cli --pipe sends to a server. "-" is standard output.

The targets are reached with --user, --password-file and --tls... like any other
cluster. Nothing is restored over keys unless --existing replace or --replace says so.
` + exitStatus

func newRestoreCommand(a *app) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore ID (--to ADDR,... | --to-dir DIR | --into ADDR,... | --out FILE)",
		Short: "Rebuild a cluster from a snapshot, or take some keys out of one",
		Long:  restoreLong,
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
	o.addFlags(cmd.Flags())
	a.addIdentityFlag(cmd.Flags())
	a.addAgentFlags(cmd.Flags())
	return cmd
}

func (o *restoreOptions) addFlags(set *pflag.FlagSet) {
	set.StringSliceVar(&o.to, "to", nil, "running, empty cluster nodes, the primaries first: `ADDR,...`")
	o.one.addFlags(set, &o.toDir, &o.at)
	set.BoolVar(&o.fromAOF, "from-aof", false, "restore from the append-only files, where the snapshot was taken with --aof, and not from the dumps")
	set.BoolVar(&o.plan, "plan", false, "check, say what would be done, and change nothing")
	set.BoolVar(&o.resume, "resume", false, "go on where a restore of this snapshot into these nodes, or this folder, was killed or left; where that one did something else, what it has left is removed first")
	set.BoolVar(&o.keep, "keep-partial", false, "when something stops the restore, leave what is done, for --resume, and do not undo it")
	set.StringVar(&o.replace.Name, "replace", "", "with --to: EMPTY the nodes that hold anything; `NAME` is the snapshot's cluster, typed out")
	set.BoolVar(&o.replace.LiveSource, "replace-live-source", false, "with --replace: also where the nodes are the running cluster that the snapshot was taken from")
	set.StringSliceVar(&o.zones, "zone", nil, "the zone that a host is in, `HOST=ZONE`: a shard's nodes go to different ones wherever that can be; may be given again")
	set.StringSliceVar(&o.apply.Config, "apply-config", nil, "when all was found equal, set these `PARAMETERS` as the snapshot's nodes had them; all: every one that does not belong to a machine")
	set.BoolVar(&o.apply.Users, "apply-users", false, "when all was found equal, make the snapshot's ACL users: applications get in only then")
	set.BoolVar(&o.logical, "logical", false, "with --to: send values as commands, to servers that do not read the dumps")
	set.IntVar(&o.shards, "shards", 0, "divide the slots evenly over so many shards (0: the snapshot's own shards and slots)")
	set.StringArrayVar(&o.slots, "shard-slots", nil, "the slots of one shard, once for each: `RANGES` such as 0-99,200-8191")
	set.BoolVar(&o.through, "through-agents", false, "with --to: have the agents beside the nodes seed, stop and start them, whether they run or not; no data passes through here")
	o.part.addFlags(set)
	set.IntVar(&o.replicas, "replicas", restore.AllReplicas, "how many replicas in all (-1: as many as there are addresses for)")
}

func runRestore(ctx context.Context, a *app, cmd *cobra.Command, o restoreOptions, ref string) error {
	if o.part.asked() {
		return runRestorePart(ctx, a, cmd, o, ref)
	}
	layout, err := o.check()
	if err != nil {
		return usageError{err}
	}
	node, err := o.one.place(o)
	if err != nil {
		return usageError{err}
	}
	if node > 0 && !o.plan {
		if done, err := a.alreadySeeded(o, node, ref); done || err != nil {
			return err
		}
	}
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return err
	}
	zones, err := o.zonesOf(s.Config)
	if err != nil {
		return usageError{err}
	}
	repository, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return err
	}
	options := restore.Options{Snapshot: snapshot, To: o.to, ToDir: o.toDir, At: o.at, Layout: layout, Replicas: o.replicas, AOF: o.fromAOF, Resume: o.resume, KeepPartial: o.keep, Replacing: o.replace, Zones: zones, Apply: o.apply, Logical: o.logical, Access: s.access,
		Node: node, Name: o.one.name, NamesLimit: o.one.limit, AppendOnly: o.one.bases}
	if o.through {
		if options.Hosts, err = s.restorers(); err != nil {
			return err
		}
	}
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
	case o.one.bases && (o.toDir == "" || o.fromAOF):
		return nil, errors.New("--append-only goes with --to-dir, and without --from-aof: what that seeds is for appendonly yes in any case")
	case o.resume && o.plan:
		return nil, errors.New("--plan changes nothing, and --resume empties nodes: give one of them")
	case o.replace != (restore.Replacing{}) && o.toDir != "":
		return nil, errors.New("--replace goes with --to: a folder that holds anything is never seeded")
	case o.replace.LiveSource && o.replace.Name == "":
		return nil, errors.New("--replace-live-source goes with --replace and the cluster's name")
	case o.through && (o.toDir != "" || o.logical):
		return nil, errors.New("--through-agents goes with --to, and without --logical")
	case o.logical && (o.toDir != "" || o.fromAOF):
		return nil, errors.New("--logical goes with --to, and without --from-aof")
	case o.shards != 0 && len(o.slots) > 0:
		return nil, errors.New("--shards divides the slots evenly, --shard-slots says which go where: give one of them")
	case o.replicas < restore.AllReplicas:
		return nil, fmt.Errorf("--replicas %d: want how many, or -1 for as many as there are addresses for", o.replicas)
	}
	return o.layout()
}

// zonesOf are the zones of hosts: the file's, and over them those of flags.
func (o restoreOptions) zonesOf(c *config.Config) (map[string]string, error) {
	zones := map[string]string{}
	maps.Copy(zones, c.Restore.Zones)
	for _, pair := range o.zones {
		host, zone, ok := strings.Cut(pair, "=")
		if !ok || host == "" || zone == "" {
			return nil, fmt.Errorf("--zone %q: want HOST=ZONE", pair)
		}
		zones[host] = zone
	}
	return zones, nil
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
	fmt.Fprintf(a.stdout, "\n%s\n", phaseLine(newPhases(r.Phases)))
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
