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
	"github.com/slotark/slotark/storage/s3"
)

// openStores opens the primary and the mirrors, and gives each a name of its
// own. It is the one place where stores are stacked.
func (a *app) openStores(ctx context.Context, c *config.Config, needs need) ([]storage.Named, error) {
	stores, err := a.openURLs(ctx, append([]string{c.Repository.Primary}, c.Repository.Mirrors...), c, needs)
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

func (a *app) openURLs(ctx context.Context, urls []string, c *config.Config, needs need) ([]storage.Named, error) {
	var stores []storage.Named
	taken := map[string]bool{}
	for _, url := range urls {
		store, err := a.openStore(ctx, url, c, needs)
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
func (a *app) openStore(ctx context.Context, url string, c *config.Config, needs need) (storage.Named, error) {
	l, err := location.Parse(url)
	if err != nil {
		return storage.Named{}, err
	}
	if needs&needRestorer != 0 && c.Drill.Credentials != "" {
		l.S3.Profile = c.Drill.Credentials
	}
	// Of what a bucket with a lock holds, only snapshots are locked, each from
	// the time at which it was begun.
	l.S3.LockSince = catalog.SnapshotTime
	if err := lockAsKept(&l.S3, c.Retention, needs); err != nil {
		return storage.Named{}, fmt.Errorf("store %s: %w", l, err)
	}
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

// lockAsKept gives a lock that has no time of its own the one for which the rules
// keep every snapshot for sure. Who stores no snapshot needs no lock.
func lockAsKept(o *s3.Options, rules config.Retention, needs need) error {
	policy, err := policyOf(rules)
	if err != nil {
		return err
	}
	o.Kept = policy.Sure()
	switch {
	case o.Lock == "" || o.LockFor > 0:
	case o.Kept > 0:
		o.LockFor = o.Kept
	case needs&needLocks == 0:
		o.Lock = ""
	default:
		return hint.Add(fmt.Errorf("lock=%s says nothing for how long, and no retention rule keeps a snapshot for a time that is sure", o.Lock),
			"add keep_within: 30d to the retention section in --config FILE, or lock_for=30d to the store's URL")
	}
	return nil
}
