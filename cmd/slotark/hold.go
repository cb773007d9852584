package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/spf13/cobra"
)

type holdOptions struct {
	reason  string
	until   string
	release bool
}

func newHoldCommand(a *app) *cobra.Command {
	var o holdOptions
	cmd := &cobra.Command{
		Use:   "hold ID (--reason TEXT [--until DATE|SPAN] | --release)",
		Short: "Keep a snapshot whatever the retention rules say, with a reason",
		Long: `Keep a snapshot: no prune deletes it until the hold has expired or is released.
ID is an id, its beginning, or "latest". A hold replaces the one before it.
slotark list and slotark show print holds.
` + exitStatus,
		Example: `  slotark hold latest --reason 'before the migration' --until 90d --repo /var/backups/redis
  slotark hold 20260131T02 --reason 'audit 4711' --until 2027-01-01 --repo /var/backups/redis
  slotark hold 20260131T02 --release --repo /var/backups/redis`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			snapshot, hold, err := runHold(cmd.Context(), a, cmd, o, args[0])
			if err != nil {
				return err
			}
			a.printHold(snapshot, hold)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "why it is kept, for who comes after you: `TEXT`")
	cmd.Flags().StringVar(&o.until, "until", "", "how long: a `DATE` (2027-01-01, or 2027-01-01T15:04:05Z) or a span from now, such as 36h, 30d or 8w (default: until it is released)")
	cmd.Flags().BoolVar(&o.release, "release", false, "keep it no longer")
	return cmd
}

func runHold(ctx context.Context, a *app, cmd *cobra.Command, o holdOptions, ref string) (*catalog.Snapshot, *catalog.Hold, error) {
	hold, err := o.hold(clock.Now())
	if err != nil {
		return nil, nil, usageError{err}
	}
	s, err := a.settings(ctx, cmd, needStores|needWrites)
	if err != nil {
		return nil, nil, err
	}
	repository, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	stored, err := repository.Hold(ctx, snapshot, hold, clock.Now())
	return snapshot, stored, err
}

// hold is what the flags ask for.
func (o holdOptions) hold(now time.Time) (catalog.Hold, error) {
	if o.release {
		if o.reason != "" || o.until != "" {
			return catalog.Hold{}, errors.New("--release goes without --reason and --until")
		}
		return catalog.Hold{Released: true}, nil
	}
	if err := catalog.CheckReason(o.reason); err != nil {
		return catalog.Hold{}, fmt.Errorf("--reason: %w", err)
	}
	until, err := parseUntil(o.until, now)
	return catalog.Hold{Reason: o.reason, Until: until}, err
}

// parseUntil reads a date, which is its first moment in UTC, or a span from
// now; "" is the zero time.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	until := time.Time{}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			until = t.UTC()
		}
	}
	if until.IsZero() {
		span, err := config.ParseSpan(text)
		if err != nil {
			return until, fmt.Errorf("--until: %q is neither a date (2027-01-01) nor a span (36h, 30d, 8w)", text)
		}
		until = now.Add(span.Duration()).Truncate(time.Second)
	}
	if !until.After(now) {
		return until, fmt.Errorf("--until: %s is over already", text)
	}
	return until, nil
}

func (a *app) printHold(s *catalog.Snapshot, h *catalog.Hold) {
	switch {
	case a.json:
		a.emit(holdMessage{"hold", s.Manifest.Cluster, h})
	case h.Released:
		fmt.Fprintf(a.stdout, "%s is not held any more\n", h.Snapshot)
	default:
		fmt.Fprintf(a.stdout, "%s is %s\n", h.Snapshot, h)
	}
}

type holdMessage struct {
	Type    string `json:"message_type"` // "hold"
	Cluster string `json:"cluster"`
	*catalog.Hold
}
