package grace_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/grace"
)

func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, end := context.WithCancelCause(t.Context())
		longer, done := grace.Extend(ctx, 10*time.Second)
		defer done()
		ended := time.Now()
		end(cause)
		synctest.Wait()
		if longer.Err() != nil {
			t.Fatal("it ended with the context that it outlives")
		}
		<-longer.Done()
		if took := time.Since(ended); took != 10*time.Second {
			t.Errorf("it lived on for %s, want 10 s", took)
		}
		if got := context.Cause(longer); got != cause {
			t.Errorf("its cause is %v, want %v", got, cause)
		}
	})
}

func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		longer, done := grace.Extend(ctx, time.Hour)
		end()
		done()
		if longer.Err() == nil {
			t.Error("it lives on though the work is done")
		}
		synctest.Wait() // and nothing of it is left waiting
	})
}
