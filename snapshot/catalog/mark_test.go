package catalog_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
)

var keepOne = catalog.Policy{Last: 1}

func (k *keeping) find(days int) *catalog.Snapshot {
	k.t.Helper()
	s, err := k.Find(k.t.Context(), "prod", string(daysOld(days).ID))
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k *keeping) claim(days int) *catalog.Claim {
	k.t.Helper()
	c, err := k.find(days).Claim(k.t.Context(), catalog.Work{})
	if err != nil || c.Warning != "" {
		k.t.Fatal(err, c)
	}
	return c
}

// once calls do at the first call of a verb on a name that holds part.
func (k *keeping) once(verb, part string, do func()) {
	var once sync.Once
	before := func(v, name string) error {
		if v == verb && strings.Contains(name, part) {
			once.Do(do)
		}
		return nil
	}
	k.stores[0].before, k.stores[1].before = before, before
}

func TestPruneKeepsWhatIsBeingRestored(t *testing.T) {
	k := newKeeping(t)
	k.add(1)
	k.add(2)
	c := k.claim(2)
	p, err := k.plan(keepOne)
	if err != nil || !p.Decisions[1].Keep || !strings.HasPrefix(p.Decisions[1].Reasons[0], "being restored since ") {
		t.Fatalf("got %+v, %v", p, err)
	}
	if _, uses, err := k.Wanted(t.Context(), k.find(2)); err != nil || len(uses) != 1 {
		t.Errorf("wanted by %v, %v", uses, err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines, err := k.prune(keepOne)
	wantLines(t, lines, err, "20260613")
}

// The plan was made before the restore began: the prune looks once more, after
// its own mark, and withdraws.
func TestRestoreBeforeThePruneLooks(t *testing.T) {
	k := inMemory(t)
	k.add(1)
	k.add(2)
	s := k.find(2)
	began := make(chan error, 1)
	k.stores[0].before = func() func(verb, name string) error {
		var once sync.Once
		return func(verb, name string) error {
			if verb == "list" && strings.Contains(name, "/restores/") {
				once.Do(func() {
					// The restore's mark is written while the prune's is there
					// already: both see each other.
					go func() {
						c, err := s.Claim(t.Context(), catalog.Work{})
						if err == nil {
							err = c.Release(t.Context())
						}
						began <- err
					}()
					for !k.has("/restores/", "-begun.json") {
						runtime.Gosched()
					}
				})
			}
			return nil
		}
	}()
	lines, err := k.prune(keepOne)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "kept: being restored since") {
		t.Errorf("the prune gave %q, %v", lines, err)
	}
	if err := <-began; err != nil {
		t.Errorf("the restore, which the prune made way for: %v", err)
	}
	wantLines(t, k.listed(), nil, "20260614", "20260613")
}

// wait lets the clock of a synctest bubble go on.
func wait(d time.Duration) { <-time.After(d) }

// has tells whether both stores hold an object whose name has both parts.
func (k *keeping) has(parts ...string) bool {
	for _, store := range k.stores {
		found := false
		for o, err := range store.Store.List(k.t.Context(), "prod/") {
			found = found || err == nil && strings.Contains(o.Name, parts[0]) && strings.Contains(o.Name, parts[1])
		}
		if !found {
			return false
		}
	}
	return true
}

// The prune has looked already: the restore sees its mark and waits until the
// manifest is gone.
func TestRestoreAfterThePruneHasLooked(t *testing.T) {
	for _, store := range []string{"the mirror", "the primary"} {
		k := inMemory(t)
		k.add(1)
		k.add(2)
		s := k.find(2)
		began := make(chan error, 1)
		at := map[string]int{"the primary": 0, "the mirror": 1}[store]
		var once sync.Once
		k.stores[at].before = func(verb, name string) error {
			if verb == "delete" && strings.HasSuffix(name, "manifest.json") {
				once.Do(func() {
					go func() {
						_, err := s.Claim(t.Context(), catalog.Work{})
						began <- err
					}()
					for !k.has("/restores/", "-begun.json") {
						runtime.Gosched()
					}
				})
			}
			return nil
		}
		lines, err := k.prune(keepOne)
		wantLines(t, lines, err, "20260613")
		if err := <-began; !errors.Is(err, catalog.ErrNoSnapshot) || len(hint.Of(err)) == 0 {
			t.Errorf("before %s's manifest goes: the restore gave %v", store, err)
		}
	}
}

// A prune that was killed with its mark set holds restores up for ten minutes,
// by the store's clock, and a killed restore a prune for a day.
func TestMarksOfTheKilledEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait(time.Until(noon)) // a bubble's clock begins in the year 2000
		k := inMemory(t)
		k.add(1)
		k.add(2)
		s := k.find(2)
		killed := false
		k.once("list", "/restores/", func() { killed = true })
		stop := k.stores[0].before
		k.stores[0].before = func(verb, name string) error {
			_ = stop(verb, name)
			if killed {
				return errDown
			}
			return nil
		}
		if lines, err := k.prune(keepOne); err == nil && !strings.Contains(strings.Join(lines, ""), "failed") {
			t.Fatalf("the prune was not killed: %v, %v", lines, err)
		}
		k.stores[0].before, k.stores[1].before = nil, nil
		// The mirror took the withdrawal; as if it had not:
		for o := range k.stores[1].List(t.Context(), "prod/prunes/") {
			if strings.HasSuffix(o.Name, "withdrawn.json") {
				if err := k.stores[1].Delete(t.Context(), o.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Claim(t.Context(), catalog.Work{}); !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "about to be dropped by prune") {
			t.Errorf("soon after: %v", err)
		}
		wait(10 * time.Minute)
		if c, err := s.Claim(t.Context(), catalog.Work{}); err != nil || c.Warning != "" {
			t.Errorf("ten minutes after: %v", err)
		} else if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestClaimLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait(time.Until(noon)) // a bubble's clock begins in the year 2000
		k := inMemory(t)
		k.add(1)
		k.add(2)
		c := k.claim(2)
		uses := func() int {
			_, uses, err := k.Wanted(t.Context(), k.find(2))
			if err != nil {
				t.Fatal(err)
			}
			return len(uses)
		}
		wait(70 * time.Hour) // longer than a mark lasts: it is renewed
		if uses() != 1 {
			t.Error("a restore of three days is not protected any more")
		}
		// Killed: nobody renews it, nobody ends it.
		for _, store := range k.stores {
			store.before = func(verb, _ string) error {
				if verb == "put" {
					return errDown
				}
				return nil
			}
		}
		if err := c.Release(t.Context()); err == nil {
			t.Error("no store took the end, and nobody was told")
		}
		wait(17 * time.Hour)
		if uses() != 1 {
			t.Error("a restore that was silent for less than a day is not protected")
		}
		wait(8 * time.Hour)
		if uses() != 0 {
			t.Error("a dead restore still keeps the snapshot")
		}
	})
}

// A recovery is not stopped by credentials that cannot write; it says what
// that costs.
func TestClaimWithoutTheRightToWrite(t *testing.T) {
	k := inMemory(t)
	k.add(1)
	s := k.find(1)
	denied := func(verb, _ string) error {
		if verb == "put" {
			return storage.ErrDenied
		}
		return nil
	}
	k.stores[0].before = denied
	if c, err := s.Claim(t.Context(), catalog.Work{}); err != nil || c.Warning != "" {
		t.Errorf("one store took it: %+v, %v", c, err)
	}
	k.stores[1].before = denied
	c, err := s.Claim(t.Context(), catalog.Work{})
	if err != nil || !strings.Contains(c.Warning, "a prune could delete it") {
		t.Fatalf("got %+v, %v", c, err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRestoreAndPruneAtOnce lets both go at one snapshot, many times, with each
// call to a store held up at random. Whoever wins: a restore that was let in
// keeps all of its objects until it ends.
func TestRestoreAndPruneAtOnce(t *testing.T) {
	won := map[string]int{}
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			wait(time.Until(noon))
			k := inMemory(t)
			k.add(1)
			k.add(2)
			s := k.find(2)
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 4))
			jitter := func(string, string) error {
				mu.Lock()
				pause := time.Duration(r.IntN(100)) * time.Millisecond
				mu.Unlock()
				wait(pause)
				return nil
			}
			for _, store := range k.stores {
				store.before = jitter
			}
			var group sync.WaitGroup
			group.Go(func() {
				if _, err := k.prune(keepOne); err != nil {
					t.Errorf("seed %d: prune: %v", seed, err)
				}
			})
			var claimed error
			group.Go(func() {
				wait(time.Duration(seed) * 5 * time.Millisecond)
				var c *catalog.Claim
				if c, claimed = s.Claim(t.Context(), catalog.Work{}); claimed != nil {
					return
				}
				wait(5 * time.Second) // reading; the prune is long over
				for _, store := range k.stores {
					for _, name := range []string{"shard-0/dump.rdb", "shard-0/slots.idx", "manifest.json"} {
						if _, err := store.Store.Stat(context.WithoutCancel(t.Context()), s.Object(name)); err != nil {
							t.Errorf("seed %d: pruned under the restore: %v", seed, err)
						}
					}
				}
				if err := c.Release(t.Context()); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			})
			group.Wait()
			if claimed != nil && !errors.Is(claimed, catalog.ErrNoSnapshot) {
				t.Errorf("seed %d: %v", seed, claimed)
			}
			won[map[bool]string{true: "restore", false: "prune"}[claimed == nil]]++
		})
	}
	if won["restore"] < 10 || won["prune"] < 10 {
		t.Errorf("the race was no race: %v", won)
	}
}

func TestHold(t *testing.T) {
	k := newKeeping(t)
	k.add(1)
	k.add(2)
	now := time.Now().UTC()
	held := func(h catalog.Hold) *catalog.Hold {
		t.Helper()
		stored, err := k.Hold(t.Context(), k.find(2), h, now)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := k.Wanted(t.Context(), k.find(2)); err != nil || got.ID != stored.ID {
			t.Errorf("the newest hold is %+v, want %+v (%v)", got, stored, err)
		}
		return stored
	}
	dropped := func() bool {
		t.Helper()
		p, err := k.plan(keepOne)
		if err != nil {
			t.Fatal(err)
		}
		return !p.Decisions[1].Keep
	}
	// Several within one second: the one that was said last counts.
	held(catalog.Hold{Reason: "audit", Until: now.Add(time.Hour)})
	if dropped() {
		t.Error("a held snapshot is dropped")
	}
	held(catalog.Hold{Released: true})
	if !dropped() {
		t.Error("a released hold still holds")
	}
	held(catalog.Hold{Reason: "audit", Until: now.Add(-time.Second)})
	if !dropped() {
		t.Error("an expired hold still holds")
	}
	last := held(catalog.Hold{Reason: "for good"})
	if dropped() {
		t.Error("a hold without an end is over")
	}
	if e := list(t, k.Repository, "prod")[1]; e.Hold == nil || e.Hold.Reason != "for good" {
		t.Errorf("listed with %+v", e.Hold)
	}
	// What cannot be read may be a hold.
	for _, store := range k.stores {
		store.before = func(verb, name string) error {
			if verb == "open" && strings.Contains(name, string(last.ID)) {
				return errDown
			}
			return nil
		}
	}
	if dropped() {
		t.Error("dropped, though its hold could not be read")
	}
}

// A hold that comes while a prune is at work either keeps the snapshot or says
// that it came too late.
func TestHoldDuringAPrune(t *testing.T) {
	for _, test := range []struct {
		verb, part string
		kept       bool
	}{{"list", "/restores/", true}, {"delete", "manifest.json", false}} {
		k := inMemory(t)
		k.add(1)
		k.add(2)
		s := k.find(2)
		held := make(chan error, 1)
		k.once(test.verb, test.part, func() {
			go func() {
				_, err := k.Hold(t.Context(), s, catalog.Hold{Reason: "audit"}, time.Now())
				held <- err
			}()
			for !k.has("/holds/", ".json") {
				runtime.Gosched()
			}
		})
		lines, err := k.prune(keepOne)
		if err != nil || strings.Contains(lines[0], "kept: held: audit") != test.kept {
			t.Errorf("%s: prune gave %v, %v", test.verb, lines, err)
		}
		if err := <-held; (err == nil) != test.kept || !test.kept && !errors.Is(err, catalog.ErrNoSnapshot) {
			t.Errorf("%s: hold gave %v", test.verb, err)
		}
	}
}

func TestCheckReason(t *testing.T) {
	for reason, good := range map[string]bool{"audit 4711": true, "": false, "  ": false, "a\nb": false, strings.Repeat("x", 201): false, "vor dem Umzug – Größe": true} {
		if err := catalog.CheckReason(reason); (err == nil) != good {
			t.Errorf("%q: %v", reason, err)
		}
	}
}
