package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/slotark/slotark/internal/human"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
)

func newShowCommand(a *app) *cobra.Command {
	var slots bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one snapshot, whole",
		Long: `Show one snapshot: its shards, where their dumps came from and what they hold,
and which stores have it. ID is an id, its beginning, or "latest".
` + exitStatus,
		Example: `  slotark show latest --repo /var/backups/redis
  slotark show 20260131T02 --slots --repo /var/backups/redis
  slotark show latest --repo /var/backups/redis --json`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			repository, s, err := runShow(cmd.Context(), a, cmd, args[0])
			if err != nil {
				return err
			}
			if slots {
				return a.printSlots(cmd.Context(), s)
			}
			hold, uses, err := repository.Wanted(cmd.Context(), s)
			if err != nil {
				return err
			}
			a.printShow(s, hold, uses)
			return nil
		},
	}
	cmd.Flags().BoolVar(&slots, "slots", false, "print each slot that holds keys: slot, keys, keys with an expiry")
	return cmd
}

func runShow(ctx context.Context, a *app, cmd *cobra.Command, ref string) (*catalog.Repository, *catalog.Snapshot, error) {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, nil, err
	}
	return s.find(ctx, ref)
}

// find opens the repository and one snapshot of it.
func (s *settings) find(ctx context.Context, ref string) (*catalog.Repository, *catalog.Snapshot, error) {
	repository, err := catalog.Open(ctx, s.stores)
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := repository.Find(ctx, s.named, ref)
	return repository, snapshot, err
}

func (a *app) printShow(s *catalog.Snapshot, hold *catalog.Hold, uses []catalog.Use) {
	m := s.Manifest
	if a.json {
		a.emit(newShowMessage(s, hold, uses))
		return
	}
	present, note := presence(s)
	rows := [][]string{
		{"snapshot", string(m.ID)},
		{"cluster", fmt.Sprintf("%s, %s, %s, epoch %d", m.Cluster, human.Plural(len(m.Shards), "shard"), dumpLine(m), m.Topology.CurrentEpoch)},
		{"taken", fmt.Sprintf("%s (%s ago), in %s, skew %s", human.Moment(m.Started), human.Age(clock.Since(m.Started)), human.Duration(m.Finished.Sub(m.Started)), human.Duration(m.Skew()))},
		{"holds", fmt.Sprintf("%s keys, %s of them expiring, %s", human.Count(m.Keys()), human.Count(m.Expiring()), human.Size(m.Bytes()))},
		{"stores", present + storeNames(s)},
	}
	if note != "" {
		rows = append(rows, []string{"", note})
	}
	for _, why := range wanted(hold, uses, clock.Now()) {
		rows = append(rows, []string{"wanted", why})
	}
	for _, f := range m.Findings {
		rows = append(rows, []string{f.Severity, f.Subject + ": " + f.Detail})
	}
	fmt.Fprint(a.stdout, table(rows)+"\n")
	fmt.Fprint(a.stdout, table(shardRows(m)))
}

func storeNames(s *catalog.Snapshot) string {
	names := ""
	for _, store := range s.Stores() {
		names += fmt.Sprintf("   %s (%s)", store.Name, store)
	}
	return names
}

func shardRows(m *manifest.Manifest) [][]string {
	rows := [][]string{{"SLOTS", "KEYS", "EXPIRING", "DUMP", "FROM", "BY", "OFFSET", "OBJECT"}}
	for _, s := range m.Shards {
		rows = append(rows, []string{
			s.Slots.String(), human.Count(s.Dump.Keys), human.Count(s.Dump.Expiring),
			fmt.Sprintf("%s, RDB %d", human.Size(s.Dump.Bytes), s.Dump.RDBVersion),
			fmt.Sprintf("%s (%s)", s.Source.Address, s.Source.Role), s.Source.Collect,
			fmt.Sprintf("%d", s.Replication.Offset), s.Dump.Object,
		})
	}
	return rows
}

// printSlots prints the slot indexes, shard by shard.
func (a *app) printSlots(ctx context.Context, s *catalog.Snapshot) error {
	for _, shard := range s.Manifest.Shards {
		counts, err := readIndex(ctx, s, shard)
		if err != nil {
			return err
		}
		for n := range shard.Slots.All() {
			c := counts[n]
			if c.Keys == 0 {
				continue
			}
			if a.json {
				a.emit(slotMessage{"slot", n, c.Keys, c.Expiring})
				continue
			}
			fmt.Fprintf(a.stdout, "%5d %10d %10d\n", n, c.Keys, c.Expiring)
		}
	}
	return nil
}

func readIndex(ctx context.Context, s *catalog.Snapshot, shard manifest.Shard) (*manifest.SlotCounts, error) {
	body, err := s.Open(ctx, shard.SlotIndex.Object)
	if err != nil {
		return nil, err
	}
	_, counts, err := manifest.DecodeSlotIndex(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Object(shard.SlotIndex.Object), err)
	}
	return counts, nil
}
