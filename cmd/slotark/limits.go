package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage/limit"
)

// watchEvery is how often the configuration file is looked at for new limits.
const watchEvery = 2 * time.Second

// limits are the rates of the stores by their names. They outlast the stores:
// serve opens these anew for each job.
type limits struct {
	mu       sync.Mutex
	rates    map[string]*limit.Rates
	once     sync.Once
	watching sync.WaitGroup
}

// of returns the rates of one store.
func (l *limits) of(store string) *limit.Rates {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rates == nil {
		l.rates = map[string]*limit.Rates{}
	}
	if l.rates[store] == nil {
		l.rates[store] = limit.NewRates()
	}
	return l.rates[store]
}

// apply sets the rates, or none of them where a name is no store's.
func (l *limits) apply(to map[string]config.Limit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if l.rates[name] == nil {
			return hint.Add(fmt.Errorf("repository.limits: no store is called %q", name),
				"the stores are "+human.List(slices.Sorted(maps.Keys(l.rates))))
		}
	}
	for name, rates := range l.rates {
		rates.Set(int64(to[name].Put), int64(to[name].Get))
	}
	return nil
}

// watch looks for new limits in the configuration file until ctx ends.
func (l *limits) watch(ctx context.Context, a *app) {
	if a.flags.config == "" {
		return
	}
	l.once.Do(func() { l.watching.Go(func() { l.follow(ctx, a) }) })
}

func (l *limits) follow(ctx context.Context, a *app) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	known, _ := os.Stat(a.flags.config) // it was read just now; if it is gone, the first look says so
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := os.Stat(a.flags.config)
		if err == nil && known != nil && now.ModTime().Equal(known.ModTime()) && now.Size() == known.Size() || err != nil && known == nil {
			continue
		}
		known = now
		c, err := config.Load(a.flags.config)
		if err == nil {
			err = l.apply(c.Repository.Limits)
		}
		if err != nil {
			a.warn("the limits stay as they are: %s", oneLine(err))
		}
	}
}
