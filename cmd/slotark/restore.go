package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/slotark/slotark/internal/human"
	"strings"

	"github.com/slotark/slotark/internal/clock"
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
}

func newRestoreCommand(a *app) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore ID (--to ADDR,... | --to-dir DIR)",
		Short: "Rebuild a cluster from a snapshot, with the same slot layout",
		Long: `Rebuild a cluster from a snapshot, with the same slots on as many shards.

--to ADDR,...  replays into running cluster nodes that are empty and know nobody.
               The first become the primaries, by slots; what is left, their
               replicas. Afterwards every slot and every key is compared.
--to-dir DIR   seeds one data folder for each node: a dump and a nodes.conf with a
               new node id, for servers that are started afterwards at the
               addresses of --at (without it: at the snapshot's own, if nobody
               answers there any more). Compare with: slotark verify ID --live
               After a kill or a power cut the same command begins anew.

With --from-aof either is done from the snapshot's append-only files, where it was
taken with --aof: they end where the dumps begin, so the result is compared with
these. Seeded servers then start with appendonly yes.

The targets are reached with --user, --password-file and --tls... like any other
cluster. Nothing is ever restored over keys.
` + exitStatus,
		Example: `  slotark restore latest --repo /var/backups/redis --to 10.0.2.10:6379,10.0.2.11:6379,10.0.2.12:6379
  slotark restore 20260131T02 --repo 's3://acme-us/redis?region=us-east-1' --to-dir /srv/restored
  slotark restore latest --repo /var/backups/redis --to-dir /srv/restored --at 10.0.2.10:6379,10.0.2.11:6379,10.0.2.12:6379`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			snapshot, result, err := runRestore(cmd.Context(), a, cmd, o, args[0])
			if err != nil {
				return err
			}
			a.printRestore(snapshot, result)
			if !result.Complete() {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&o.to, "to", nil, "running, empty cluster nodes, the primaries first: `ADDR,...`")
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().StringVar(&o.toDir, "to-dir", "", "a new or empty `FOLDER` to seed")
	cmd.Flags().StringSliceVar(&o.at, "at", nil, "with --to-dir: the addresses that the seeded nodes will have, the primaries first: `ADDR,...`")
	cmd.Flags().BoolVar(&o.fromAOF, "from-aof", false, "restore from the append-only files, where the snapshot was taken with --aof, and not from the dumps")
	cmd.Flags().IntVar(&o.replicas, "replicas", restore.AllReplicas, "how many replicas in all (-1: as many as there are addresses for)")
	return cmd
}

func runRestore(ctx context.Context, a *app, cmd *cobra.Command, o restoreOptions, ref string) (*catalog.Snapshot, *restore.Result, error) {
	if (len(o.to) == 0) == (o.toDir == "") {
		return nil, nil, usageError{errors.New("say where to: either --to ADDR,... or --to-dir DIR")}
	}
	if len(o.at) > 0 && o.toDir == "" {
		return nil, nil, usageError{errors.New("--at goes with --to-dir")}
	}
	if o.replicas < restore.AllReplicas {
		return nil, nil, usageError{fmt.Errorf("--replicas %d: want how many, or -1 for as many as there are addresses for", o.replicas)}
	}
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, nil, err
	}
	_, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	// Before anything is asked of a target.
	if err := s.unlock(a, snapshot); err != nil {
		return nil, nil, err
	}
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	result, err := restore.Run(ctx, restore.Options{
		Snapshot: snapshot, To: o.to, ToDir: o.toDir, At: o.at, Replicas: o.replicas, AOF: o.fromAOF,
		Access: s.access, Progress: show.Func(),
	})
	return snapshot, result, err
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
			human.Size(shard.Bytes), human.Count(shard.Keys) + " keys", "from " + shard.Store})
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
