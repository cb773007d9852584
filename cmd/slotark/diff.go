package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
	"github.com/spf13/cobra"
)

func newDiffCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff ID ID",
		Short: "Show which keys two snapshots hold differently",
		Long: `Compare two snapshots, the older one first: what was added, removed or changed.

Slots whose digests are equal are not read. Of the others the keys are compared by
name, type, expiry and value, as many as memory is bounded to; where slots hold
more, only these are named. A key whose expiry changed may have another value, too.

The exit status is 0 where they hold the same keys, and 3 where they do not. To
compare a snapshot with a running cluster: slotark verify ID --live
` + exitStatus,
		Example: `  slotark diff 20260130T02 20260131T02 --repo /var/backups/redis`,
		Args:    twoIDs,
		RunE:    func(cmd *cobra.Command, args []string) error { return runDiff(cmd.Context(), a, cmd, args) },
	}
	a.addIdentityFlag(cmd.Flags())
	return cmd
}

func twoIDs(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return hint.Add(usageError{fmt.Errorf("%s takes two snapshots, the older one first", cmd.CommandPath())}, "see which there are: slotark list")
	}
	return nil
}

func runDiff(ctx context.Context, a *app, cmd *cobra.Command, refs []string) error {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return err
	}
	var both [2]*catalog.Snapshot
	for i, ref := range refs {
		if _, both[i], err = s.find(ctx, ref); err != nil {
			return err
		}
		if err := s.unlock(a, both[i]); err != nil {
			return err
		}
	}
	diff, err := shown(a, func(show progress.Func) (*verify.Diff, error) {
		return verify.DiffSnapshots(ctx, verify.DiffOptions{From: both[0], To: both[1], Progress: show})
	})
	if err != nil {
		return err
	}
	a.printDiff(both[0].Manifest, both[1].Manifest, diff)
	if diff.Slots.Len() > 0 {
		return errFindings
	}
	return nil
}

type diffMessage struct {
	Type     string            `json:"message_type"` // "diff"
	From     manifest.ID       `json:"from"`
	To       manifest.ID       `json:"to"`
	Equal    bool              `json:"equal"`
	Slots    string            `json:"slots"`
	Unnamed  string            `json:"unnamed_slots,omitempty"`
	FromKeys uint64            `json:"from_keys"`
	ToKeys   uint64            `json:"to_keys"`
	Changes  []diffKindMessage `json:"changes"`
	Elapsed  catalog.Seconds   `json:"elapsed_seconds"`
}

type diffKindMessage struct {
	Kind  string   `json:"kind"`
	Keys  uint64   `json:"keys"`
	Slots string   `json:"slots"`
	Names []string `json:"names"`
}

// slotText is slots as ranges, "" for none.
func slotText(slots slot.Set) string {
	if slots.Len() == 0 {
		return ""
	}
	return slots.String()
}

func (a *app) printDiff(from, to *manifest.Manifest, d *verify.Diff) {
	if a.json {
		msg := diffMessage{"diff", from.ID, to.ID, d.Slots.Len() == 0, slotText(d.Slots), slotText(d.Unnamed), d.FromKeys, d.ToKeys, []diffKindMessage{}, catalog.Seconds(d.Elapsed)}
		for _, c := range d.Changes {
			msg.Changes = append(msg.Changes, diffKindMessage{c.Kind, c.Keys, c.Slots.String(), c.Names})
		}
		a.emit(msg)
		return
	}
	fmt.Fprint(a.stdout, table([][]string{
		{"from", string(from.ID), human.Moment(from.Started), human.Plural(d.FromKeys, "key")},
		{"to", string(to.ID), human.Moment(to.Started), human.Plural(d.ToKeys, "key")},
	}))
	if d.Slots.Len() == 0 {
		fmt.Fprintf(a.stdout, "equal: the same keys with the same values and expiries, in every slot; compared in %s\n", human.Duration(d.Elapsed))
		return
	}
	var rows [][]string
	for _, c := range d.Changes {
		names := strings.Join(c.Names, ", ")
		if more := c.Keys - uint64(len(c.Names)); more > 0 {
			names += fmt.Sprintf(" and %s more", human.Count(more))
		}
		rows = append(rows, []string{"  " + c.Kind, human.Plural(c.Keys, "key"), names})
	}
	if n := d.Unnamed.Len(); n > 0 {
		rows = append(rows, []string{"  not named", human.Plural(n, "slot"), "that differ, and hold more keys than are kept in memory"})
	}
	fmt.Fprintf(a.stdout, "different in %s; compared in %s\n%s", human.Plural(d.Slots.Len(), "slot"), human.Duration(d.Elapsed), table(rows))
}
