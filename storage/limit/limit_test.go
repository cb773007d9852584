package limit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/limit"
	"github.com/slotark/slotark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for name, rate := range map[string]int64{"unlimited": 0, "limited": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storage.Store {
				rates := limit.NewRates()
				rates.Set(rate, rate)
				return limit.New(storagetest.NewMemory(t.Name()), rates)
			})
		})
	}
}

func TestFolders(t *testing.T) {
	byFolder, ok := limit.New(fs.Open(t.TempDir()), limit.NewRates()).(interface {
		Folders(context.Context, string) ([]string, error)
	})
	if !ok {
		t.Fatal("a folder cannot tell its folders any more")
	}
	if names, err := byFolder.Folders(t.Context(), ""); err != nil || len(names) > 0 {
		t.Errorf("got %q, %v", names, err)
	}
}

// Each direction has its own rate, which all objects share, and a new rate
// counts at once.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := limit.NewRates()
		s := limit.New(storagetest.NewMemory("m"), rates)
		took := func(do func()) time.Duration {
			start := clock.Now()
			do()
			return clock.Since(start).Round(time.Second)
		}
		data := make([]byte, 1<<20)
		if d := took(func() { storagetest.Put(t, s, "free", data) }); d != 0 {
			t.Errorf("without a limit it took %s", d)
		}
		rates.Set(64<<10, 256<<10)
		if d := took(func() { storagetest.Put(t, s, "a", data) }); d != 15*time.Second {
			t.Errorf("1 MiB at 64 KiB a second, less the first, took %s", d)
		}
		if d := took(func() {
			var wait sync.WaitGroup
			for range 2 {
				wait.Go(func() { storagetest.Read(t, s, "a") })
			}
			wait.Wait()
		}); d != 8*time.Second {
			t.Errorf("2 MiB at 256 KiB a second took %s", d)
		}
		rates.Set(1<<10, 0)
		time.AfterFunc(10*time.Second, func() { rates.Set(0, 0) })
		if d := took(func() { storagetest.Put(t, s, "b", data) }); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("1 MiB of which 10 s at 1 KiB a second took %s", d)
		}
		folder := limit.New(fs.Open(t.TempDir()), rates)
		rates.Set(64<<10, 0)
		if d := took(func() { storagetest.Put(t, folder, "written from where it lies", data) }); d != 15*time.Second {
			t.Errorf("1 MiB at 64 KiB a second into a folder took %s", d)
		}
		rates.Set(1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := s.Put(ctx, "c", io.MultiReader(bytes.NewReader(data))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at a byte a second: %v", err)
		}
		if names := storagetest.Names(t, s, "c"); len(names) > 0 {
			t.Errorf("it left %q", names)
		}
	})
}
