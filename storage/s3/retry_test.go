package s3

import (
	"errors"
	"testing"
	"time"
)

// TestPause has the waits between attempts: they double up to a bound, and are
// spread over half of it, at the bound too.
func TestPause(t *testing.T) {
	const longest = 10 * time.Second
	for attempt, full := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: longest, 6: longest, 1 << 40: longest, 0: time.Second,
	} {
		if got := pause(attempt, longest, 0); got != full/2 {
			t.Errorf("attempt %d: the shortest wait is %s, want %s", attempt, got, full/2)
		}
		if got := pause(attempt, longest, 0.5); got != full*3/4 {
			t.Errorf("attempt %d: the middle wait is %s, want %s", attempt, got, full*3/4)
		}
		if got := pause(attempt, longest, 0.999_999); got >= full || got < full-time.Millisecond {
			t.Errorf("attempt %d: the longest wait is %s, want just under %s", attempt, got, full)
		}
	}
	if got := pause(3, time.Millisecond, 0.5); got != 750*time.Microsecond {
		t.Errorf("with a bound of 1 ms it waits %s", got)
	}
}

// TestRetriesAreSpread asks the client itself, as the SDK does before each further
// attempt: of many that are refused at once no two come back at once.
func TestRetriesAreSpread(t *testing.T) {
	s, err := Open(t.Context(), Options{Bucket: "b", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	retryer := s.client.Options().Retryer
	for attempt := 1; attempt < partAttempts; attempt++ {
		seen := map[time.Duration]bool{}
		for range 100 {
			wait, err := retryer.RetryDelay(attempt, errors.New("503 SlowDown"))
			if err != nil || wait < pause(attempt, s.o.MaxBackoff, 0) || wait >= pause(attempt, s.o.MaxBackoff, 1) {
				t.Fatalf("attempt %d: it waits %s (%v)", attempt, wait, err)
			}
			seen[wait] = true
		}
		if len(seen) < 90 {
			t.Errorf("attempt %d: 100 that failed together come back at %d instants", attempt, len(seen))
		}
	}
}
