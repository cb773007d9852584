package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
)

func newShowCommand(a *app) *cobra.Command {
	var o showOptions
	var key keyFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one snapshot, whole",
		Long: `Show one snapshot: its shards, where their dumps came from and what they hold,
which stores have it, and how its newest drill ended. ID is an id, its beginning, or "latest".

With --key the key's value is printed as JSON. The dump of its shard is read
twice: as a whole, to prove it sound, and as far as the key. docs/json.md says
how types and strings that are no text are written.

With --settings what the nodes were set up with is printed: configuration, ACL
users, functions, modules, builds, and where nodes differ. Passwords and their
hashes, which are stored where the snapshot is encrypted, need --reveal-secrets.
` + exitStatus,
		Example: `  slotark show latest --repo /var/backups/redis
  slotark show 20260131T02 --slots --repo /var/backups/redis
  slotark show latest --key user:1000 --repo /var/backups/redis
  slotark show latest --settings --repo /var/backups/redis
  slotark show latest --repo /var/backups/redis --json`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			name, given, err := key.key(cmd)
			if err != nil {
				return err
			}
			if given {
				return runShowKey(cmd.Context(), a, cmd, args[0], name, key.db)
			}
			repository, s, err := runShow(cmd.Context(), a, cmd, args[0], o.slots || o.settings)
			if err != nil {
				return err
			}
			switch {
			case o.settings:
				return a.printSettings(cmd.Context(), s, o.reveal)
			case o.slots:
				return a.printSlots(cmd.Context(), s)
			}
			hold, uses, err := repository.Wanted(cmd.Context(), s)
			if err != nil {
				return err
			}
			drilled, err := repository.LastDrill(cmd.Context(), s)
			if err != nil {
				return err
			}
			a.printShow(s, hold, uses, drilled)
			return nil
		},
	}
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().BoolVar(&o.slots, "slots", false, "print each slot that holds keys: keys, keys with an expiry, digest, where they lie in the dump; and the fingerprint of all")
	cmd.Flags().BoolVar(&o.settings, "settings", false, "print what the nodes were set up with: configuration, ACL users, functions, modules, builds")
	cmd.Flags().BoolVar(&o.reveal, "reveal-secrets", false, "with --settings: print passwords and their hashes too")
	key.add(cmd)
	return cmd
}

type showOptions struct {
	slots, settings bool
	reveal          bool // passwords too
}

func (o showOptions) check() error {
	switch {
	case o.slots && o.settings:
		return usageError{errors.New("--slots and --settings are two things to show: give one of them")}
	case o.reveal && !o.settings:
		return usageError{errors.New("--reveal-secrets shows those of the settings: give it with --settings")}
	}
	return nil
}

func runShow(ctx context.Context, a *app, cmd *cobra.Command, ref string, opened bool) (*catalog.Repository, *catalog.Snapshot, error) {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, nil, err
	}
	repository, snapshot, err := s.find(ctx, ref)
	if err == nil && opened {
		err = s.unlock(a, snapshot)
	}
	return repository, snapshot, err
}

// open opens the repository for reading, and says which stores do not answer.
func (s *settings) open(ctx context.Context) (*catalog.Repository, error) {
	repository, err := catalog.Open(ctx, s.stores)
	if err != nil {
		return nil, err
	}
	for _, p := range repository.Silent() {
		s.warn("%s does not answer, and what is read comes from the other stores: %s", p.Store, oneLine(p.Err))
	}
	return repository, nil
}

// find opens the repository and one snapshot of it.
func (s *settings) find(ctx context.Context, ref string) (*catalog.Repository, *catalog.Snapshot, error) {
	repository, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := repository.Find(ctx, s.named, ref)
	return repository, snapshot, err
}

func (a *app) printShow(s *catalog.Snapshot, hold *catalog.Hold, uses []catalog.Use, drilled json.RawMessage) {
	m := s.Manifest
	if a.json {
		a.emit(newShowMessage(s, hold, uses, drilled))
		return
	}
	present, note := presence(s.Presence)
	rows := [][]string{
		{"snapshot", string(m.ID)},
		{"cluster", fmt.Sprintf("%s, %s, %s, epoch %d", m.Cluster, human.Plural(len(m.Shards), "shard"), dumpLine(m), m.Topology.CurrentEpoch)},
		{"taken", fmt.Sprintf("%s (%s ago), in %s, skew %s", human.Moment(m.Started), human.Age(clock.Since(m.Started)), human.Duration(m.Finished.Sub(m.Started)), human.Duration(m.Skew()))},
		{"holds", fmt.Sprintf("%s keys, %s of them expiring, %s", human.Count(m.Keys()), human.Count(m.Expiring()), human.Size(m.Bytes()))},
		{"sealed", sealLine(m.Seal)},
		{"stores", present + storeNames(s)},
	}
	if m.HasAOF() {
		rows = slices.Insert(rows, 4, []string{"and", setLine(m)})
	}
	if m.ResealedFrom != "" {
		rows = append(rows, []string{"", "the dumps of " + string(m.ResealedFrom) + ", sealed again"})
	}
	if note != "" {
		rows = append(rows, []string{"", note})
	}
	rows = append(rows, drilledRows(drilled)...)
	for _, why := range wanted(hold, uses, clock.Now()) {
		rows = append(rows, []string{"wanted", why})
	}
	for _, f := range m.Findings {
		rows = append(rows, []string{f.Severity, f.Subject + ": " + f.Detail})
	}
	fmt.Fprint(a.stdout, table(rows)+"\n")
	fmt.Fprint(a.stdout, table(shardRows(m)))
}

// setLine is "append-only files, 12 MB, 140,000 commands, ending where the dumps begin".
func setLine(m *manifest.Manifest) string {
	var bytes int64
	var commands uint64
	where := "ending where the dumps begin"
	for _, s := range m.Shards {
		if s.AOF == nil {
			continue
		}
		bytes += s.AOF.Content()
		commands += s.AOF.Commands
		if !s.AOF.Aligned {
			where = "not all ending where the dumps begin"
		}
	}
	return fmt.Sprintf("append-only files, %s, %s commands, %s", human.Size(bytes), human.Count(commands), where)
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
			fmt.Sprintf("%s, RDB %d", human.Size(s.Dump.Content().Bytes), s.Dump.RDBVersion),
			fmt.Sprintf("%s (%s)", s.Source.Address, s.Source.Role), s.Source.Collect,
			fmt.Sprintf("%d", s.Replication.Offset), s.Dump.Object,
		})
	}
	return rows
}
