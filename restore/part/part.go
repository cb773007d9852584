package part

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Rule is what becomes of a key that the cluster has, and that differs.
type Rule string

const (
	Fail    Rule = "fail"    // one of them, and nothing is written
	Skip    Rule = "skip"    // it stays as it is
	Replace Rule = "replace" // it becomes the snapshot's
)

// ErrExisting is returned where keys are there, and the rule is Fail.
var ErrExisting = errors.New("keys are there already, and differ")

// Options says what to take, and where to.
type Options struct {
	Snapshot *catalog.Snapshot
	Selection
	Progress progress.Func
	Memory   int64 // bytes of values that are kept, so that dumps need not be read twice; 0 is 64 MiB

	// Into are nodes of a running cluster, of which one that answers is enough.
	Into     []string
	Access   *cluster.Access
	Existing Rule
	Compare  bool // only compare, and write nothing
}

// Result is what was done.
type Result struct {
	Selected uint64 // keys of the snapshot
	Equal    uint64 // that the cluster has, just as they were
	Missing  Keys   // that it has not; written, unless it was only compared
	Differ   Keys   // that it has otherwise; replaced, where the rule is Replace
	Expired  uint64 // whose expiry has passed
	Bytes    int64  // of their records in the dumps
	Written  uint64 // keys
	Findings []manifest.Finding
	Elapsed  time.Duration
}

// Keys are a number of keys, some of them by name.
type Keys struct {
	Count uint64
	Names []string // of the first of them, quoted and cut
}

const (
	shownNames = 10
	shownBytes = 80
)

func (k *Keys) add(name []byte) {
	if k.Count++; len(k.Names) < shownNames {
		k.Names = append(k.Names, quoted(name))
	}
}

func quoted(key []byte) string {
	if len(key) > shownBytes {
		return strconv.Quote(string(key[:shownBytes])) + "…"
	}
	return strconv.Quote(string(key))
}

// Restore puts keys of a snapshot into a running cluster.
func Restore(ctx context.Context, o Options) (*Result, error) {
	started := clock.Now()
	l, err := openLive(ctx, o.Access, o.Into)
	if err != nil {
		return nil, err
	}
	defer l.close()
	s, release, err := begin(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer release()
	// One pass that only compares, where that is all, or what it finds may refuse
	// the rest.
	if o.Compare || o.Existing == Fail {
		if err := s.each(ctx, l.passing(ctx, s, Rule(""))); err != nil {
			return nil, err
		}
		if s.result.Differ.Count > 0 && !o.Compare {
			return nil, hint.Refuse(fmt.Errorf("%w: %s, such as %s", ErrExisting, human.Plural(s.result.Differ.Count, "key"), s.result.Differ.Names[0]),
				"Say what becomes of them: --existing skip or --existing replace; --diff shows them.")
		}
	}
	if !o.Compare {
		s.restart()
		if err := s.each(ctx, l.passing(ctx, s, o.Existing)); err != nil {
			return nil, fmt.Errorf("%w (%s written; the same command goes on from there)", err, human.Plural(s.result.Written, "key"))
		}
	}
	s.result.Elapsed = clock.Since(started)
	return &s.result, nil
}
