package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/spf13/cobra"
)

func newListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the snapshots, newest first",
		Long: `List the snapshots of a repository: how old and how big each is, which of the
stores have it, what was last verified, and whether a drill proved it.
` + exitStatus,
		Example: `  slotark list --repo /var/backups/redis
  slotark list --config slotark.yaml --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, entries, err := runList(cmd.Context(), a, cmd)
			if err != nil {
				return err
			}
			a.printList(s, entries, clock.Now())
			return nil
		},
	}
}

func runList(ctx context.Context, a *app, cmd *cobra.Command) (*settings, []catalog.Entry, error) {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return nil, nil, err
	}
	repository, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	cache := manifestCache()
	repository.UseCache(cache)
	entries, err := repository.List(ctx, s.named)
	if trimErr := cache.Trim(); trimErr != nil && err == nil {
		fmt.Fprintf(a.stderr, "slotark: warning: the cache of manifests is larger than it should be: %s\n", oneLine(trimErr))
	}
	return s, entries, err
}

// manifestCache is in the user's cache folder; nil where there is none.
func manifestCache() *catalog.Cache {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	return catalog.OpenCache(filepath.Join(dir, "slotark", "manifests"), catalog.DefaultCacheBytes)
}

func (a *app) printList(s *settings, entries []catalog.Entry, now time.Time) {
	if a.json {
		for _, e := range entries {
			a.emit(newEntryMessage(e))
		}
		return
	}
	if len(entries) == 0 {
		fmt.Fprintf(a.stdout, "no snapshots in %s\n", s.stores[0])
		return
	}
	several := false
	for _, e := range entries {
		several = several || e.Cluster != entries[0].Cluster
	}
	rows := [][]string{{"SNAPSHOT", "CLUSTER", "AGE", "KEYS", "SIZE", "STORES", "VERIFIED", "DRILLED", ""}}
	for _, e := range entries {
		rows = append(rows, entryRow(e, now))
	}
	if !several {
		for i, row := range rows {
			rows[i] = append(row[:1:1], row[2:]...)
		}
	}
	fmt.Fprint(a.stdout, table(rows))
}

func entryRow(e catalog.Entry, now time.Time) []string {
	row := []string{string(e.ID), e.Cluster, human.Age(now.Sub(e.ID.Time()))}
	if e.Summary == nil {
		return append(row, "-", "-", "-", "-", "-", noted(append(wanted(e.Hold, e.Uses, now), "unreadable: "+oneLine(e.Err))))
	}
	note := ""
	if e.Summary.AOF {
		note = "with append-only files"
	}
	present, lacking := presence(e.Summary.Presence)
	return append(row, human.Count(e.Summary.Keys), human.Size(e.Summary.Bytes), present, verified(e.Verified, now), drilled(e.Drilled), noted(append(wanted(e.Hold, e.Uses, now), lacking, note)))
}

// wanted says who keeps a snapshot from being pruned: a hold, restores.
func wanted(hold *catalog.Hold, uses []catalog.Use, now time.Time) []string {
	var notes []string
	if hold.InForce(now) {
		notes = append(notes, hold.String())
	}
	for _, use := range uses {
		notes = append(notes, use.String())
	}
	return notes
}

// noted joins those notes that say something.
func noted(notes []string) string {
	return strings.Join(slices.DeleteFunc(notes, func(note string) bool { return note == "" }), ", ")
}

// presence is "2 of 2", or "1 of 2 !" with which stores lack the snapshot.
func presence(all []catalog.Presence) (stores, note string) {
	var lacking []string
	having := 0
	for _, p := range all {
		if p.Present {
			having++
		}
		switch {
		case p.Err != nil:
			lacking = append(lacking, p.Store+" does not answer")
		case !p.Present:
			lacking = append(lacking, p.Store+" does not have it")
		}
	}
	stores = fmt.Sprintf("%d of %d", having, len(all))
	if len(lacking) > 0 {
		stores += " !"
	}
	return stores, strings.Join(lacking, ", ")
}

func verified(v *catalog.Verification, now time.Time) string {
	switch {
	case v == nil:
		return "-"
	case !v.Sound && !v.Damaged(): // a store could not be asked, or has no copy
		return fmt.Sprintf("%s in %d of %d, %s ago", v.Level, len(v.Stores), len(v.Stores)+len(v.Findings), human.Age(now.Sub(v.Ended)))
	case !v.Sound:
		return fmt.Sprintf("%s FOUND DAMAGE, %s ago", v.Level, human.Age(now.Sub(v.Ended)))
	}
	return fmt.Sprintf("%s, %s ago", v.Level, human.Age(now.Sub(v.Ended)))
}

func drilled(d *catalog.Drill) string {
	switch {
	case d == nil:
		return "-"
	case !d.Proved:
		return "NOT PROVED"
	}
	return "proved, RTO " + human.Duration(d.RTO.Duration())
}
