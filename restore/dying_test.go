package restore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	storefs "github.com/slotark/slotark/storage/fs"
)

// dyingVariable makes the test's program a restore of a store's latest snapshot that
// kills itself at an event: "kind|store folder|event", and what the kind wants.
const dyingVariable = "SLOTARK_TEST_KILLED_RESTORE"

// whenLoaded is the first event after a replay's journal has an entry.
const whenLoaded = -1

// dying are the options of a restore that will kill itself, by kind.
var dying = map[string]func(s *catalog.Snapshot, told progress.Func, wants []string) restore.Options{
	"seed": func(s *catalog.Snapshot, told progress.Func, wants []string) restore.Options {
		return seedWays[wants[1]](seedOptions(s, wants[0], told)) // target folder|way
	},
	"replay": func(s *catalog.Snapshot, told progress.Func, wants []string) restore.Options {
		return replayOptions(s, strings.Split(wants[0], ","), told) // targets
	},
	"divide": func(s *catalog.Snapshot, told progress.Func, wants []string) restore.Options {
		return divideOptions(s, wants[0], wants[1], told) // way|where to
	},
}

func TestMain(m *testing.M) {
	order := os.Getenv(dyingVariable)
	if order == "" {
		os.Exit(m.Run())
	}
	parts := strings.Split(order, "|")
	if err := restoreAndDie(parts[0], parts[1], parts[2], parts[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// restoreAndDie restores and kills its process at an event, from 1 on, or at
// [whenLoaded].
func restoreAndDie(kind, store, event string, wants []string) error {
	at, err := strconv.Atoi(event)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := catalog.Open(ctx, []storage.Named{{Name: "here", Store: storefs.Open(store)}})
	if err != nil {
		return err
	}
	s, err := r.Find(ctx, "prod", catalog.Latest)
	if err != nil {
		return err
	}
	journal := func() int {
		entries, _ := filepath.Glob(filepath.Join(store, "prod", "restores", string(s.Manifest.ID), "*-done-0001.json"))
		return len(entries)
	}
	var mu sync.Mutex
	before, events := journal(), 0
	_, err = restore.Run(ctx, dying[kind](s, func(progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		if events++; events == at || at == whenLoaded && journal() > before {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not one step further
		}
	}, wants))
	return err
}

// dyingRestore is a restore as a process of its own, which kills itself at an event;
// 0: at none.
func dyingRestore(t *testing.T, s *source, kind string, event int, wants ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	order := append([]string{kind, s.roots[0], strconv.Itoa(event)}, wants...)
	cmd.Env = append(os.Environ(), dyingVariable+"="+strings.Join(order, "|"))
	return cmd
}

// wasKilled tells whether a process ended by SIGKILL.
func wasKilled(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}
