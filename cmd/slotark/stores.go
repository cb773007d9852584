package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/limit"
	"github.com/slotark/slotark/storage/location"
)

// openStores opens the primary and the mirrors, and gives each a name of its
// own. It is the one place where stores are stacked.
func (a *app) openStores(ctx context.Context, c *config.Config) ([]storage.Named, error) {
	stores, err := a.openURLs(ctx, append([]string{c.Repository.Primary}, c.Repository.Mirrors...))
	if err != nil {
		return nil, err
	}
	for i, store := range stores {
		stores[i].Store = limit.New(store.Store, a.limits.of(store.Name))
	}
	if err := a.limits.apply(c.Repository.Limits); err != nil {
		return nil, usageError{err}
	}
	a.limits.watch(ctx, a)
	return stores, nil
}

func (a *app) openURLs(ctx context.Context, urls []string) ([]storage.Named, error) {
	var stores []storage.Named
	taken := map[string]bool{}
	for _, url := range urls {
		store, err := a.openStore(ctx, url)
		if err != nil {
			return nil, usageError{err}
		}
		for n := 2; taken[store.Name]; n++ {
			store.Name = fmt.Sprintf("%s-%d", strings.TrimSuffix(store.Name, fmt.Sprintf("-%d", n-1)), n)
		}
		taken[store.Name] = true
		stores = append(stores, store)
	}
	return stores, nil
}

// openStore opens one store, as it is now or as it was.
func (a *app) openStore(ctx context.Context, url string) (storage.Named, error) {
	l, err := location.Parse(url)
	if err != nil {
		return storage.Named{}, err
	}
	// Of what a bucket with a lock holds, only snapshots are locked, each from
	// the time at which it was begun.
	l.S3.LockSince = catalog.SnapshotTime
	if a.flags.asOf != "" {
		if l.Scheme != "s3" {
			return storage.Named{}, hint.Add(fmt.Errorf("--as-of: the folder %s keeps no versions of what was in it", l.Path),
				"name only buckets with --repo and --mirror; of a folder, restore an earlier state by your own means")
		}
		if l.AsOf, err = location.ParseInstant(a.flags.asOf); err != nil {
			return storage.Named{}, fmt.Errorf("--as-of: %w", err)
		}
	}
	return l.Open(ctx)
}
