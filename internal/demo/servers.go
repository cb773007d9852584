package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
	"golang.org/x/sync/errgroup"
)

// clusterLimit is how long six servers on one machine may take to agree.
const clusterLimit = 30 * time.Second

// servers are the demo's redis-server processes.
type servers struct {
	password string
	detached bool // they outlive the demo: KEEP=1
	running  []*redisproc.Process
}

// start starts a server in each folder, all at once. Without ports each picks
// one that is free.
func (s *servers) start(ctx context.Context, folders []string, ports []int) error {
	s.running = make([]*redisproc.Process, len(folders))
	group, ctx := errgroup.WithContext(ctx)
	for i, folder := range folders {
		o := redisproc.Options{
			Dir: folder, Password: s.password, Detached: s.detached,
			// appendonly stays off: a server with it on would not load dump.rdb.
			Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--appendonly", "no", "--save", ""},
		}
		if ports != nil {
			o.Port = ports[i]
		}
		group.Go(func() (err error) {
			s.running[i], err = redisproc.Start(ctx, o)
			return err
		})
	}
	return group.Wait()
}

// kill ends all servers as a power failure would.
func (s *servers) kill() error {
	var failures []error
	for _, p := range s.running {
		if p != nil {
			failures = append(failures, p.Kill())
		}
	}
	s.running = nil
	return errors.Join(failures...)
}

func (s *servers) addresses() []string {
	var addresses []string
	for _, p := range s.running {
		addresses = append(addresses, p.Addr())
	}
	return addresses
}

func (s *servers) port(i int) int { return s.running[i].Port() }

// pids are the process ids, as an argument list for kill.
func (s *servers) pids() string {
	var pids []string
	for _, p := range s.running {
		pids = append(pids, fmt.Sprint(p.PID()))
	}
	return strings.Join(pids, " ")
}

// awaitCluster waits until every node finds the cluster whole and every
// replica follows its primary.
func (s *servers) awaitCluster(ctx context.Context, access *cluster.Access) error {
	ctx, cancel := context.WithTimeout(ctx, clusterLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	started := clock.Now()
	for {
		topology, err := cluster.Discover(ctx, access, s.addresses())
		if err == nil {
			err = following(topology)
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %s the cluster is not whole: %w", clock.Since(started).Round(time.Second), err)
		}
	}
}

// following checks that each shard's replicas are in step.
func following(t *cluster.Topology) error {
	found := 0
	for _, shard := range t.Shards {
		for _, r := range shard.Replicas {
			if !r.LinkUp || r.SyncInProgress {
				return fmt.Errorf("replica %s does not follow its primary yet", r.Addr)
			}
			found++
		}
	}
	if found != replicas {
		return fmt.Errorf("%d replicas of %d are there", found, replicas)
	}
	return nil
}
