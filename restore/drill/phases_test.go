package drill

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
)

// lateStore takes its time to give a dump.
type lateStore struct {
	storage.Store
	delay time.Duration
}

func (s lateStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if strings.Contains(name, "/dump.rdb") {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return s.Store.Open(ctx, name)
}

// TestFetchAndUnseal drills a snapshot whose store takes two seconds before it gives a
// dump: the load says that it waited for that, and not for decryption.
func TestFetchAndUnseal(t *testing.T) {
	private(t)
	plain, root := takeSnapshot(t)
	encrypted := encrypt(t, plain, root)
	const delay = 2 * time.Second
	for name, test := range map[string]struct {
		source       *catalog.Snapshot
		slow, sealed bool
	}{
		"as it is, from a slow store":   {plain, true, false},
		"as it is, from a quick store":  {plain, false, false},
		"encrypted, from a slow store":  {encrypted, true, true},
		"encrypted, from a quick store": {encrypted, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			source := test.source
			if test.slow {
				source = source.In(storage.Named{Name: "slow", Store: lateStore{source.Stores()[0].Store, delay}})
			}
			report, err := Run(t.Context(), Options{Snapshot: source, Runtime: Process})
			if err != nil || !report.Proved {
				t.Fatalf("%+v, %v", report, err)
			}
			if len(report.Notes) > 0 {
				t.Errorf("of nodes that are thrown away a person is told %q", report.Notes)
			}
			load, all := Phase{}, time.Duration(0)
			for _, p := range report.Phases {
				if p.Name == "load" {
					load = p
				}
				if p.Fetch < 0 || p.Unseal < 0 || p.Fetch+p.Unseal > p.Elapsed {
					t.Errorf("the parts of a phase are more than it: %+v", p)
				}
				all += p.Elapsed.Duration()
			}
			t.Logf("%+v", load)
			if test.slow != (load.Fetch.Duration() >= delay) || load.Fetch == 0 {
				t.Errorf("of a load of %s the store was waited for %s", load.Elapsed.Duration(), load.Fetch.Duration())
			}
			if test.sealed != (load.Unseal > 0) || test.slow && load.Unseal > load.Fetch {
				t.Errorf("of a load of %s the unsealing was waited for %s", load.Elapsed.Duration(), load.Unseal.Duration())
			}
			if held := report.Ended.Sub(report.Started); all > held {
				t.Errorf("all phases take %s, the whole drill %s", all, held)
			}
		})
	}
}

// encrypt returns a snapshot of the same dumps, encrypted, in the same repository.
func encrypt(t *testing.T, plain *catalog.Snapshot, root string) *catalog.Snapshot {
	t.Helper()
	key := sealtest.NewKey(t)
	sealer, err := seal.New(seal.Options{Recipients: []seal.Recipient{key.Recipient}})
	if err != nil {
		t.Fatal(err)
	}
	stores := []storage.Named{{Name: "primary", Store: fs.Open(root)}}
	done, err := snapshot.Reseal(t.Context(), snapshot.ResealOptions{Snapshot: plain, Stores: stores, Sealer: sealer, Build: "slotark test"})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	found, err := repository.Find(t.Context(), "prod", string(done.Manifest.ID))
	if err == nil {
		err = found.Unlock(key.Identities)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}
