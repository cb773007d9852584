package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
)

// So many objects are deleted at once, and so many names of those that stay
// are told.
const (
	tidyAtOnce = 8
	namesTold  = 3
)

// tidy removes all that the examination has put. It works on after ctx has
// ended.
func (e *examination) tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	left, err := e.deleteAll(ctx)
	if eraser, ok := storage.As[Eraser](e.s); ok && len(left) == 0 {
		var versions int
		versions, eraseErr := eraser.Erase(ctx, e.o.Folder)
		if err = errors.Join(err, eraseErr); versions > 0 {
			left = append(left, human.Plural(versions, "old version"))
		}
	}
	if err == nil && len(left) == 0 {
		return nil
	}
	what := fmt.Sprintf("%s/ in %s", e.o.Folder, e.s)
	if n := len(left); n > 0 {
		slices.Sort(left)
		what = fmt.Sprintf("%d of its objects below %s (%s)", n, what, human.List(left[:min(n, namesTold)]))
	}
	if err == nil {
		err = errors.New("they may not be deleted")
	}
	return hint.Left(fmt.Errorf("the check could not remove %s: %s", what, firstOf(err)),
		"Delete what is below that folder with credentials that may; nothing else uses it.")
}

// deleteAll returns the names that it could not delete, and the first reason.
func (e *examination) deleteAll(ctx context.Context) (left []string, err error) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	names := make(chan string)
	for range tidyAtOnce {
		wait.Go(func() {
			for name := range names {
				failed := e.s.Delete(ctx, name)
				if failed == nil || errors.Is(failed, storage.ErrNotFound) {
					continue
				}
				mu.Lock()
				left = append(left, name)
				if err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	// The names first: some stores do not list well what is being deleted.
	var all []string
	for o, listErr := range e.s.List(ctx, e.o.Folder+"/") {
		if listErr != nil {
			mu.Lock()
			err = listErr
			mu.Unlock()
			break
		}
		all = append(all, o.Name)
	}
	for _, name := range all {
		names <- name
	}
	close(names)
	wait.Wait()
	return left, err
}
