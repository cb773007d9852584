package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
)

const (
	// settleLimit is how long views that differ may take to become one. Gossip
	// reaches every node within a few pings, of which each node sends one a
	// second; what lasts longer is not gossip.
	settleLimit = 5 * time.Second
	// settlePause is the first pause between two looks; it doubles.
	settlePause = 100 * time.Millisecond
	// askLimit is how many nodes are asked at once.
	askLimit = 16
)

// Discover asks the cluster that the seeds belong to for its topology. One
// living seed is enough.
//
// It returns [ErrNotCluster], [ErrAuth] or [ErrUnreachable] where the seeds do
// not lead to a cluster that may be asked, and an [UnhealthyError] where the
// cluster is not whole, not at rest, or not of one mind. It changes nothing.
func Discover(ctx context.Context, a *Access, seeds []string) (*Topology, error) {
	topology, problems, err := Examine(ctx, a, seeds)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if p.Cause != nil { // a refusal is for a person to mend, not a state of the cluster
			return nil, p.Cause
		}
	}
	if len(problems) > 0 {
		return nil, unhealthy(problems)
	}
	return topology, nil
}

// Examine is Discover for who wants to know all that is wrong: where there are
// problems, the topology is what the first node that answered believes, to be
// looked at and not to be worked on. That one node refuses us is a problem
// among others; an error is only that no seed leads to a cluster.
func Examine(ctx context.Context, a *Access, seeds []string) (*Topology, []Problem, error) {
	started, pause := clock.Now(), settlePause
	for {
		found, err := survey(ctx, a, seeds)
		if err != nil {
			return nil, nil, err
		}
		topology, problems := found.judge()
		if len(problems) == 0 || !mayPass(problems) || clock.Since(started)+pause > settleLimit {
			return topology, problems, nil
		}
		if err := wait(ctx, pause); err != nil {
			return nil, nil, fmt.Errorf("wait for the nodes to agree: %w", err)
		}
		pause *= 2
	}
}

// mayPass tells whether all problems are of the kind that gossip ends.
func mayPass(problems []Problem) bool {
	for _, p := range problems {
		switch p.Code {
		case CodeSuspected, CodeHandshake, CodeDisagree, CodeState:
		default:
			return false
		}
	}
	return true
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// surveyed is what all nodes said at about one instant.
type surveyed struct {
	first  *view            // the seed's, which named the nodes
	views  map[string]*view // by node id; with the first
	silent map[string]error // by node id: why it gave no view
}

// survey asks the first seed that answers, then every node it names.
func survey(ctx context.Context, a *Access, seeds []string) (*surveyed, error) {
	first, err := firstView(ctx, a, seeds)
	if err != nil {
		return nil, err
	}
	found := &surveyed{first: first, views: map[string]*view{first.self.ID: first}, silent: map[string]error{}}
	views := make([]*view, len(first.nodes))
	errs := make([]error, len(first.nodes))
	var group errgroup.Group
	group.SetLimit(askLimit)
	for i, node := range first.nodes {
		if node.ID == first.self.ID || node.Addr() == "" || node.Has("handshake") {
			continue
		}
		group.Go(func() error {
			views[i], errs[i] = look(ctx, a, node.Addr())
			return nil // what a node says or does not say is judged later
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("ask the nodes of the cluster: %w", err)
	}
	for i, node := range first.nodes {
		switch {
		case errs[i] != nil:
			found.silent[node.ID] = errs[i]
		case views[i] != nil:
			found.views[node.ID] = views[i]
		}
	}
	return found, nil
}

// firstView asks the seeds in turn. Where none gives a view, the error lists
// what each said.
func firstView(ctx context.Context, a *Access, seeds []string) (*view, error) {
	var errs []error
	for _, seed := range seeds {
		seen, err := look(ctx, a, seed)
		if err == nil && seen.loading != nil {
			err = hint.Add(seen.loading, advice[CodeLoading])
		}
		if err == nil {
			return seen, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	switch len(errs) {
	case 0:
		return nil, hint.Add(errors.New("discover cluster: no node was given to ask"), "Give the address of at least one node, as HOST:PORT.")
	case 1:
		return nil, fmt.Errorf("discover cluster: %w", errs[0])
	}
	return nil, &seedsError{errs}
}

// seedsError lists what each seed said, in one line.
type seedsError struct{ errs []error }

func (e *seedsError) Error() string {
	said := make([]string, len(e.errs))
	for i, err := range e.errs {
		said[i] = err.Error()
	}
	return fmt.Sprintf("discover cluster: none of %d nodes could be asked: %s", len(said), strings.Join(said, "; "))
}

func (e *seedsError) Unwrap() []error { return e.errs }
