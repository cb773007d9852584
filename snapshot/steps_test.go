package snapshot_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// steps counts what is asked of the stores and does something at one of them.
type steps struct {
	mu    sync.Mutex
	count int
	at    int // 0: at none
	act   func() error
}

func (s *steps) step() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if s.count != s.at {
		return nil
	}
	return s.act()
}

// stepped is a store that counts: the beginning of each call, and its end.
type stepped struct {
	storage.Store
	*steps
}

func (s stepped) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := s.step(); err != nil {
		return storage.Object{}, err
	}
	object, err := s.Store.Put(ctx, name, body)
	if err != nil {
		return object, err
	}
	if err := s.step(); err != nil { // stored, but nobody is told so
		return storage.Object{}, errors.Join(err, s.Store.Delete(context.WithoutCancel(ctx), name))
	}
	return object, nil
}

func (s stepped) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name)
}

func (s stepped) Stat(ctx context.Context, name string) (storage.Object, error) {
	if err := s.step(); err != nil {
		return storage.Object{}, err
	}
	return s.Store.Stat(ctx, name)
}

func (s stepped) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return s.Store.List(ctx, prefix)
}

// held are a store's objects, less the repository's own mark.
func held(t *testing.T, s storage.Store) []string {
	t.Helper()
	var names []string
	for object, err := range s.List(context.WithoutCancel(t.Context()), "") {
		if err != nil && !errors.Is(err, storage.ErrNoStore) {
			t.Fatal(err)
		}
		if err == nil && object.Name != "slotark.json" {
			names = append(names, object.Name)
		}
	}
	return names
}

func hasManifest(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, "/manifest.json") })
}

// TestEveryStep ends or breaks a snapshot at each call to a store in turn: what
// is left is a whole snapshot, or nothing.
func TestEveryStep(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Primaries: 2})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: 200, Seed: 6}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the store broke")
	for _, test := range []struct {
		name            string
		primary, mirror bool // whose calls count
		cancel          bool // else the call fails
		check           func(t *testing.T, r *snapshot.Result, err error, primary, mirror []string)
	}{
		{"cancelled", true, true, true, func(t *testing.T, r *snapshot.Result, err error, primary, mirror []string) {
			switch {
			case err == nil && r.Complete() && hasManifest(primary) && slices.Equal(primary, mirror):
			case err != nil && errors.Is(err, context.Canceled) && len(primary)+len(mirror) == 0:
			default:
				t.Errorf("error %v, primary holds %v, mirror holds %v", err, primary, mirror)
			}
		}},
		{"primary breaks", true, false, false, func(t *testing.T, _ *snapshot.Result, err error, primary, mirror []string) {
			if !errors.Is(err, broken) || len(primary)+len(mirror) != 0 {
				t.Errorf("error %v, primary holds %v, mirror holds %v", err, primary, mirror)
			}
		}},
		{"mirror breaks", false, true, false, func(t *testing.T, r *snapshot.Result, err error, primary, mirror []string) {
			if err != nil || r.Complete() || !hasManifest(primary) || hasManifest(mirror) || !errors.Is(r.Outcomes[1].Err, broken) {
				t.Errorf("error %v, primary holds %v, mirror holds %v", err, primary, mirror)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// From the first call on, until a run has none to be ended at.
			for at, reached := 1, true; reached; at++ {
				reached = takeUntil(t, c, test.primary, test.mirror, at, func(cancel func()) error {
					if test.cancel {
						cancel()
						return nil
					}
					return broken
				}, test.check)
			}
		})
	}
}

// takeUntil takes a snapshot, acts at one call to the stores, checks what came
// of it, and tells whether there was such a call.
func takeUntil(t *testing.T, c *clustertest.Cluster, onPrimary, onMirror bool, at int, act func(cancel func()) error,
	check func(*testing.T, *snapshot.Result, error, []string, []string)) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	counted := &steps{at: at, act: func() error { return act(cancel) }}
	primary, mirror := storage.Store(fs.Open(t.TempDir())), storage.Store(fs.Open(t.TempDir()))
	stores := []storage.Named{{Name: "primary", Store: primary}, {Name: "mirror", Store: mirror}}
	if onPrimary {
		stores[0].Store = stepped{primary, counted}
	}
	if onMirror {
		stores[1].Store = stepped{mirror, counted}
	}
	r, err := snapshot.Take(ctx, snapshot.Options{
		Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: stores, Collect: snapshot.CollectStream, Build: "test",
	})
	if counted.count < at {
		if err != nil || !r.Complete() {
			t.Errorf("a run that nothing ends: %v", err)
		}
		return false
	}
	check(t, r, err, held(t, primary), held(t, mirror))
	if t.Failed() {
		t.Fatalf("at call %d", at)
	}
	return true
}
