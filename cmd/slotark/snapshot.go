package main

import (
	"context"
	"fmt"
	"github.com/slotark/slotark/internal/human"
	"strings"

	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
)

type snapshotOptions struct {
	dryRun bool
}

func newSnapshotCommand(a *app) *cobra.Command {
	var o snapshotOptions
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Take a snapshot of the whole cluster now",
		Long: `Take a snapshot: one dump for each shard, from a healthy replica where there is
one, inspected while it streams to the primary store and to every mirror. It
exists only when its manifest is written, last.

Dumps are compressed, and encrypted where recipients are given (--recipient, or
repository.seal in --config FILE): only public keys are needed here, and only
who has a private one can read them.

Nodes that share a machine do not fork together, unless --forks together asks
all to do so. A shard whose node fails is tried again (--tries), also on its other
nodes, and one that fails over or is resharded meanwhile is taken again.

Where the repository does not exist yet, it is made. The password is read from
--password-file, or from SLOTARK_PASSWORD or REDISCLI_AUTH in the environment.

With --aof the nodes' append-only files are taken, too, from the same nodes as
the dumps, cut off where these begin: restore --from-aof gives the same data.
They are read in the nodes' data folders. While they are linked, a moment, the
nodes' automatic rewrites are off; a run that is killed then leaves a record by
which the next one switches them on again.
` + exitStatus,
		Example: `  slotark snapshot --node 127.0.0.1:7001 --repo /var/backups/redis
  slotark snapshot --node 10.0.1.10:6379 --repo 's3://acme-eu/redis?region=eu-west-1' --mirror 's3://acme-us/redis?region=us-east-1'
  slotark snapshot --config slotark.yaml --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := runSnapshot(cmd.Context(), a, cmd, o)
			if err != nil {
				return err
			}
			a.printSnapshot(result, o.dryRun)
			if !result.Complete() || result.Faulty() {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be done: nothing is saved, nothing is stored")
	a.addCaptureFlags(cmd.Flags())
	return cmd
}

func runSnapshot(ctx context.Context, a *app, cmd *cobra.Command, o snapshotOptions) (*snapshot.Result, error) {
	s, err := a.settings(ctx, cmd, needCluster|needStores|needWrites|needLocks)
	if err != nil {
		return nil, err
	}
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	options, err := s.snapshotOptions()
	if err != nil {
		return nil, err
	}
	options.DryRun = o.dryRun
	options.Progress = show.Func()
	return snapshot.Take(ctx, options)
}

// snapshotOptions is what the settings say of taking snapshots; serve's
// scheduled ones are taken with the same.
func (s *settings) snapshotOptions() (snapshot.Options, error) {
	sealer, err := s.Repository.Seal.Sealer()
	if err != nil {
		return snapshot.Options{}, usageError{err}
	}
	clients, err := s.agents()
	if err != nil {
		return snapshot.Options{}, err
	}
	agents := map[string]snapshot.Agent{}
	for node, client := range clients {
		agents[node] = client
	}
	return snapshot.Options{
		Agents: agents, Sealer: sealer, Mirroring: s.mirroring(),
		Cluster: s.Cluster.Name, Seeds: s.Cluster.Nodes, Access: s.access, Stores: s.stores,
		Collect: s.Snapshot.Collect, AOF: s.Snapshot.AOF, Folders: s.Snapshot.DataDirs, Replicas: s.Snapshot.Preference(),
		Settings: s.Snapshot.Settings, MaxLag: int64(s.Snapshot.MaxLag), Forks: s.Snapshot.Forks, MaxSkew: s.Snapshot.MaxSkew, Parallel: s.Snapshot.Parallel,
		Tries: s.Snapshot.Tries, Bandwidth: int64(s.Snapshot.NodeBandwidth), Limit: s.Snapshot.Timeout, Build: "slotark " + version,
	}, nil
}

// mirroring is what the settings ask of the mirrors.
func (s *settings) mirroring() catalog.Mirroring {
	required, _ := s.Repository.Required() // checked with the rest of the configuration
	return catalog.Mirroring{Require: required, Patience: s.Repository.MirrorPatience}
}

// printSnapshot prints what a snapshot came to.
func (a *app) printSnapshot(r *snapshot.Result, dryRun bool) {
	if a.json {
		a.emit(newSnapshotMessage(r, dryRun))
		return
	}
	m := r.Manifest
	fmt.Fprintf(a.stdout, "%s  %s, %s, %s %s, %d of 16384 slots, epoch %d\n", m.Cluster,
		human.Plural(len(r.Plan), "shard"), human.Plural(len(m.Topology.Nodes), "node"), engineName(m.Server.Engine), m.Server.Version,
		r.Slots(), m.Topology.CurrentEpoch)
	rows := [][]string{}
	for i, p := range r.Plan {
		row := []string{"  shard " + p.Slots.String(), p.String()}
		if dryRun {
			row = append(row, "by "+p.Way)
		} else {
			s := m.Shards[i]
			row = append(row, "by "+s.Source.Collect, human.Size(s.Dump.Content().Bytes), human.Count(s.Dump.Keys)+" keys")
			if s.AOF != nil {
				row = append(row, fmt.Sprintf("+ append-only files, %s, %s commands", human.Size(s.AOF.Content()), human.Count(s.AOF.Commands)))
			}
		}
		rows = append(rows, row)
	}
	fmt.Fprint(a.stdout, table(rows))
	for _, w := range r.Warnings {
		fmt.Fprintf(a.stderr, "slotark: warning: %s\n", w)
	}
	if dryRun {
		fmt.Fprintln(a.stdout, "\nNothing was saved and nothing stored. To take it: the same command without --dry-run")
		return
	}
	fmt.Fprintf(a.stdout, "\nsnapshot %s is whole: %s keys in %d slots, %s, skew %s, in %s\n", m.ID,
		human.Count(m.Keys()), r.Slots(), human.Size(m.Bytes()), human.Duration(m.Skew()), human.Duration(r.Elapsed))
	fmt.Fprintf(a.stdout, "  %s   %s\n", storeLine(r), sealLine(m.Seal))
	if len(r.Withheld) > 0 {
		fmt.Fprint(a.stdout, wrapped(fmt.Sprintf("settings without %s: they are kept where the snapshot is encrypted (--recipient), or with --keep-settings full", human.List(r.Withheld)), "  "))
	}
	for _, o := range r.Outcomes {
		if o.Err != nil {
			fmt.Fprintf(a.stderr, "slotark: warning: %s does not have this snapshot: %s\n", o.Name, oneLine(o.Err))
		}
	}
}

// storeLine is "eu-west-1 stored   us-east-1 behind".
func storeLine(r *snapshot.Result) string {
	var parts []string
	for _, o := range r.Outcomes {
		state := "stored"
		if o.Err != nil {
			state = "BEHIND"
		}
		parts = append(parts, o.Name+" "+state)
	}
	return strings.Join(parts, "   ")
}

func engineName(engine string) string {
	if engine == "valkey" {
		return "Valkey"
	}
	return "Redis"
}

// dumpLine names what a dump is: "RDB 10, Redis 7.0.15".
func dumpLine(m *manifest.Manifest) string {
	return fmt.Sprintf("%s %s", engineName(m.Server.Engine), m.Server.Version)
}
