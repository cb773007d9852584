package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
	"github.com/spf13/cobra"
)

func newResealCommand(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "reseal ID|--all",
		Short: "Encrypt a snapshot to other recipients",
		Long: `Write a new snapshot that holds the dumps of another, encrypted to the given
recipients and to nobody else. Its id has the same time and sorts after the
other's. What is read is checked as it is stored and as it is opened, and what was
stored is read back, before the manifest makes it a snapshot: in every store, or
with exit status 3 in those that did not fail.

The old snapshot stays, and opens with the old identity, until it is removed. With
--all every snapshot is sealed again that is not yet sealed to these recipients,
the newest first.
` + exitStatus,
		Example: `  slotark reseal latest --identity old.key --recipient age1… --repo /var/backups/redis
  slotark reseal --all --identity old.key --recipients-file new.txt --config slotark.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return hint.Add(usageError{fmt.Errorf("%s takes one snapshot, or --all", cmd.CommandPath())}, "see which there are: slotark list")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runReseal(cmd.Context(), a, cmd, args) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "every snapshot that is not yet sealed to these recipients")
	a.addRecipientFlags(cmd.Flags())
	a.addIdentityFlag(cmd.Flags())
	return cmd
}

// runReseal seals the snapshots one after the other, and prints each. With no
// args it is all of them.
func runReseal(ctx context.Context, a *app, cmd *cobra.Command, args []string) error {
	s, err := a.settings(ctx, cmd, needStores|needLocks)
	if err != nil {
		return err
	}
	sealer, err := s.Repository.Seal.Sealer()
	if err != nil {
		return usageError{err}
	}
	if sealer.Lock().Encryption != seal.Age {
		return hint.Add(usageError{errors.New("no recipient was named")}, "name who is to read it: --recipient KEY, --recipients-file FILE, or repository.seal in --config FILE")
	}
	repository, all, err := s.toReseal(ctx, args, sealer.Lock().Recipients)
	if err != nil {
		return err
	}
	complete := true
	for _, c := range all {
		old, err := repository.Find(ctx, c.cluster, c.ref)
		if err != nil {
			return err
		}
		if err := s.unlock(a, old); err != nil {
			return err
		}
		result, err := s.reseal(ctx, a, old, sealer)
		if err != nil {
			return fmt.Errorf("reseal %s: %w", old.Manifest.ID, err)
		}
		a.printResealed(result)
		for _, o := range result.Outcomes {
			complete = complete && o.Err == nil
		}
	}
	if len(all) == 0 && !a.json {
		fmt.Fprintln(a.stdout, "nothing to do: every snapshot is sealed to these recipients")
	}
	if !complete {
		return errFindings
	}
	return nil
}

func (s *settings) reseal(ctx context.Context, a *app, old *catalog.Snapshot, sealer *seal.Sealer) (*snapshot.Resealed, error) {
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	return snapshot.Reseal(ctx, snapshot.ResealOptions{
		Snapshot: old, Stores: s.stores, Sealer: sealer, Mirroring: s.mirroring(), Build: "slotark " + version, Progress: show.Func(),
	})
}

// chosen is one snapshot to be resealed, which is found when its turn comes.
type chosen struct{ cluster, ref string }

// toReseal is the snapshot that was named, or all that are not sealed to these
// recipients and of which no copy is.
func (s *settings) toReseal(ctx context.Context, args, recipients []string) (*catalog.Repository, []chosen, error) {
	if len(args) == 1 {
		repository, err := s.open(ctx)
		return repository, []chosen{{s.named, args[0]}}, err
	}
	repository, err := catalog.Open(ctx, s.stores)
	if err != nil {
		return nil, nil, err
	}
	entries, err := repository.List(ctx, s.named)
	if err != nil {
		return nil, nil, err
	}
	origin, done := map[manifest.ID]manifest.ID{}, map[manifest.ID]bool{}
	for _, e := range entries {
		if e.Err != nil {
			return nil, nil, e.Err // what cannot be read cannot be said to be done
		}
		origin[e.ID] = e.Summary.ResealedFrom
	}
	for _, e := range entries {
		if sameRecipients(e.Summary.Seal.Recipients, recipients) {
			// With it are done those it was made from, one after the other.
			for id := e.ID; id != "" && !done[id]; id = origin[id] {
				done[id] = true
			}
		}
	}
	var left []chosen
	for _, e := range entries {
		if !done[e.ID] {
			left = append(left, chosen{e.Cluster, string(e.ID)})
		}
	}
	return repository, left, nil
}

func sameRecipients(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func (a *app) printResealed(r *snapshot.Resealed) {
	m := r.Manifest
	if a.json {
		a.emit(newResealedMessage(r))
		return
	}
	fmt.Fprintf(a.stdout, "snapshot %s holds the dumps of %s: %s keys, %s, %s, in %s\n", m.ID, m.ResealedFrom,
		human.Count(m.Keys()), human.Size(m.Bytes()), sealLine(m.Seal), human.Duration(r.Elapsed))
	for _, o := range r.Outcomes {
		if o.Err != nil {
			fmt.Fprintf(a.stderr, "slotark: warning: %s does not have this snapshot: %s\n", o.Name, oneLine(o.Err))
		}
	}
}
