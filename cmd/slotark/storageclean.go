package main

import (
	"context"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/spf13/cobra"
)

type cleanOptions struct {
	older config.Span
	apply bool
}

func newStorageCleanCommand(a *app) *cobra.Command {
	o := cleanOptions{older: config.Span(7 * 24 * time.Hour)}
	cmd := &cobra.Command{
		Use:   "clean [STORE ...]",
		Short: "Remove the unfinished uploads that killed runs have left in buckets",
		Long: `Remove unfinished multipart uploads from buckets: their parts are no objects, are
listed nowhere, and cost money. Only those below the store's prefix are looked at.
Without --apply they are only listed. Objects that failed runs have left are
removed by slotark prune.
` + exitStatus,
		Example: `  slotark storage clean --config slotark.yaml
  slotark storage clean 's3://acme-eu/redis?region=eu-west-1' --older 2d --apply`,
		RunE: func(cmd *cobra.Command, args []string) error { return runStorageClean(cmd.Context(), a, cmd, args, o) },
	}
	cmd.Flags().Var(&o.older, "older", "only those that were begun longer ago than this `SPAN`, which is at least as long as a snapshot may take")
	cmd.Flags().BoolVar(&o.apply, "apply", false, "remove them")
	return cmd
}

func runStorageClean(ctx context.Context, a *app, cmd *cobra.Command, urls []string, o cleanOptions) error {
	s, stores, err := a.storesOf(ctx, cmd, urls, 0)
	if err != nil {
		return err
	}
	// One may belong to a snapshot that is under way.
	older := max(o.older.Duration(), s.Snapshot.Timeout+time.Hour)
	failed := false
	for _, store := range stores {
		bucket, ok := storage.As[*s3.Store](store)
		if !ok {
			continue // a folder has none
		}
		uploads, err := bucket.Uploads(ctx, older)
		if err != nil {
			return err
		}
		for _, u := range uploads {
			outcome := "would be removed"
			if o.apply {
				outcome = "removed"
				if err := bucket.AbortUpload(ctx, u); err != nil {
					outcome, failed = "failed: "+oneLine(err), true
				}
			}
			a.printUpload(store.Name, u, outcome)
		}
		if !a.json {
			fmt.Fprintf(a.stdout, "%s: %s begun more than %s ago\n", store.Name, human.Plural(len(uploads), "unfinished upload"), human.Age(older))
		}
	}
	if failed {
		return errFindings
	}
	return nil
}

func (a *app) printUpload(store string, u s3.Upload, outcome string) {
	if a.json {
		a.emit(uploadMessage{"upload", store, u.Name, u.Begun, outcome})
		return
	}
	fmt.Fprintf(a.stdout, "%s: %s, begun %s ago: %s\n", store, u.Name, human.Age(clock.Since(u.Begun)), outcome)
}

type uploadMessage struct {
	Type    string    `json:"message_type"` // "upload"
	Store   string    `json:"store"`
	Object  string    `json:"object"`
	Begun   time.Time `json:"begun"`
	Outcome string    `json:"outcome"` // "removed", "would be removed", or "failed: ..."
}
