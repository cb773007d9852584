package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/scheduler"
)

// diary is what a test sees of a scheduler. Each test lives in a synctest
// bubble, whose clock begins at 2000-01-01 00:00:00 UTC, a Saturday.
type diary struct {
	mu      sync.Mutex
	started []string // "02:00:00 snapshot"
	ended   []scheduler.Run
	log     bytes.Buffer
}

// job returns a job that takes so long, or less if it is cancelled.
func (d *diary) job(name, schedule string, takes time.Duration) scheduler.Job {
	return scheduler.Job{Name: name, Schedule: schedule, Timeout: 24 * time.Hour, Run: func(ctx context.Context) error {
		d.mu.Lock()
		d.started = append(d.started, time.Now().UTC().Format("15:04:05 ")+name)
		d.mu.Unlock()
		select {
		case <-time.After(takes):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// run runs the jobs for so long and returns what Run did.
func (d *diary) run(t *testing.T, lasts time.Duration, jobs ...scheduler.Job) error {
	t.Helper()
	s, err := scheduler.New(scheduler.Options{
		Jobs: jobs, Logger: slog.New(slog.NewTextHandler(&d.log, nil)),
		OnEnd: func(r scheduler.Run) { d.ended = append(d.ended, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	return s.Run(ctx)
}

func (d *diary) results() []string {
	var results []string
	for _, r := range d.ended {
		results = append(results, fmt.Sprintf("%s %s after %s", r.Job, r.Result, r.Ended.Sub(r.Started)))
	}
	return results
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// instant runs a test in a bubble.
func instant(t *testing.T, f func(*testing.T, *diary)) {
	synctest.Test(t, func(t *testing.T) { f(t, &diary{}) })
}

func TestRunsWhatIsDueInOrder(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		err := d.run(t, 27*time.Hour, d.job("snapshot", "0 2 * * *", time.Minute), d.job("drill", "0 2,4 * * *", time.Second))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "started", d.started, []string{"02:00:00 snapshot", "02:01:00 drill", "04:00:00 drill", "02:00:00 snapshot", "02:01:00 drill"})
		equal(t, "ended", d.results()[:2], []string{"snapshot done after 1m0s", "drill done after 1s"})
		if !strings.Contains(d.log.String(), `level=INFO msg="job ended" job=snapshot result=done elapsed=1m0s next=2000-01-02T02:00:00.000Z`) {
			t.Errorf("the log does not say how the run ended:\n%s", &d.log)
		}
	})
}

// A job that is due again while it runs, or while it waits, is left out and
// never queued twice.
func TestSkipsWhatIsStillBusy(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		err := d.run(t, 65*time.Second, d.job("slow", "@every 10s", 34*time.Second), d.job("other", "@every 15s", time.Second/2))
		if err != nil {
			t.Fatal(err)
		}
		// slow runs from 10 to 44 and is left out at 20, 30 and 40; other is due at
		// 15, waits, is left out at 30, has its turn at 44 and is due again at 45;
		// slow runs again from 50 and is left out at 60, where other waits for good.
		equal(t, "started", d.started, []string{"00:00:10 slow", "00:00:44 other", "00:00:45 other", "00:00:50 slow"})
		for reason, want := range map[string]int{"its last run has not ended": 4, "it waits for another job already": 1} {
			if got := strings.Count(d.log.String(), reason); got != want {
				t.Errorf("%q is logged %d times, want %d:\n%s", reason, got, want, &d.log)
			}
		}
	})
}

func TestFailureIsToldAndForgotten(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		failing := d.job("failing", "@every 10s", 0)
		failing.Run = func(context.Context) error { return errors.New("no such bucket") }
		if err := d.run(t, 25*time.Second, failing); err != nil {
			t.Fatal(err)
		}
		equal(t, "ended", d.results(), []string{"failing failed after 0s", "failing failed after 0s"})
		if !strings.Contains(d.log.String(), `level=ERROR msg="job ended" job=failing result=failed elapsed=0s next=2000-01-01T00:00:20.000Z error="no such bucket"`) {
			t.Errorf("the log does not say what failed:\n%s", &d.log)
		}
	})
}

func TestPanicIsAFailure(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		bad := d.job("bad", "@every 10s", 0)
		bad.Run = func(context.Context) error { return errors.New([]string{}[len(d.started)]) }
		if err := d.run(t, 15*time.Second, bad, d.job("good", "@every 10s", 0)); err != nil {
			t.Fatal(err)
		}
		equal(t, "ended", d.results(), []string{"bad panicked after 0s", "good done after 0s"})
		if log := d.log.String(); !strings.Contains(log, "scheduler_test.go") || !strings.Contains(log, "index out of range") {
			t.Errorf("the log does not say where it panicked:\n%s", log)
		}
	})
}

func TestTimeLimit(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		slow := d.job("slow", "@every 10s", time.Hour)
		slow.Timeout = 3 * time.Second
		if err := d.run(t, 15*time.Second, slow); err != nil {
			t.Fatal(err)
		}
		equal(t, "ended", d.results(), []string{"slow timed out after 3s"})
		if err := d.ended[0].Err; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "time limit of 3s") {
			t.Errorf("the run's error is %v", err)
		}
	})
}

// When the scheduler is stopped the running job is told to end, and what waits
// is never started.
func TestStop(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		if err := d.run(t, 12*time.Second, d.job("one", "@every 10s", time.Hour), d.job("two", "@every 10s", 0)); err != nil {
			t.Fatal(err)
		}
		equal(t, "started", d.started, []string{"00:00:10 one"})
		equal(t, "ended", d.results(), []string{"one interrupted after 2s"})
	})
}

func TestStopHasALimit(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		release := make(chan struct{})
		deaf := d.job("deaf", "@every 10s", 0)
		deaf.Run = func(context.Context) error { <-release; return nil }
		began := time.Now()
		if err := d.run(t, 12*time.Second, deaf); !errors.Is(err, scheduler.ErrStillRunning) || !strings.Contains(err.Error(), "deaf") {
			t.Errorf("a job that does not stop gave %v", err)
		}
		if waited := time.Since(began); waited != 42*time.Second {
			t.Errorf("it was given up after %s, want 12 s and 30 s of grace", waited)
		}
		close(release)
		synctest.Wait() // the bubble fails the test if the goroutine is left behind
	})
}

func TestStopBeforeAnythingIsDue(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		if err := d.run(t, time.Second, d.job("one", "@daily", 0)); err != nil || len(d.started) != 0 {
			t.Errorf("%v, started %v", err, d.started)
		}
	})
}

func TestNext(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		s, err := scheduler.New(scheduler.Options{
			Jobs:     []scheduler.Job{d.job("drill", "0 4 * * *", 0), d.job("snapshot", "0 2 * * *", time.Hour)},
			Location: berlin,
		})
		if err != nil {
			t.Fatal(err)
		}
		show := func() (shown []string) {
			for _, u := range s.Next() {
				shown = append(shown, fmt.Sprintf("%s %s running %v waiting %v", u.At.Format("02 15:04 MST"), u.Job, u.Running, u.Waiting))
			}
			return shown
		}
		equal(t, "before it runs", show(), []string{"01 02:00 CET snapshot running false waiting false", "01 04:00 CET drill running false waiting false"})

		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- s.Run(ctx) }()
		<-time.After(90 * time.Minute) // 02:30 in Berlin
		equal(t, "while it runs", show(), []string{"01 04:00 CET drill running false waiting false", "02 02:00 CET snapshot running true waiting false"})
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestNewNamesAllThatIsWrong(t *testing.T) {
	run := func(context.Context) error { return nil }
	_, err := scheduler.New(scheduler.Options{Jobs: []scheduler.Job{
		{Name: "a", Schedule: "61 * * * *", Timeout: 1, Run: run},
		{Name: "a", Schedule: "@daily", Run: run},
		{Schedule: "@daily", Timeout: 1},
	}})
	for _, want := range []string{"schedule job a", "61", "a is there twice", "a has no time limit", "number 3 has no name", "number 3 has nothing to run"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if _, err := scheduler.New(scheduler.Options{}); err == nil {
		t.Error("a scheduler with nothing to do was made")
	}
}

func TestCheckSchedule(t *testing.T) {
	for _, good := range []string{"0 2 * * *", "*/5 * * * *", "0 2 29 2 *", "30 4 * * MON-FRI", "@every 10s", "@every 1h30m", "@daily"} {
		if err := scheduler.CheckSchedule(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	// cron v3.0.1 panics on the first two, and takes the next three.
	for _, bad := range []string{"TZ=UTC", "CRON_TZ=UTC", "TZ=UTC 0 2 * * *", "@every 0s", "@every -5m", "0 0 30 2 *", "", "* * * *", "* * * * * *", "0 25 * * *", "@sometimes", "@every soon", "*/0 * * * *", "x"} {
		if err := scheduler.CheckSchedule(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// However often jobs come due, none runs beside another.
func TestNeverTwoAtOnce(t *testing.T) {
	instant(t, func(t *testing.T, d *diary) {
		busy := make(chan struct{}, 1)
		var jobs []scheduler.Job
		for i := range 5 {
			job := d.job(fmt.Sprint("job", i), fmt.Sprintf("@every %ds", i+1), time.Duration(i)*700*time.Millisecond)
			inner := job.Run
			job.Run = func(ctx context.Context) error {
				select {
				case busy <- struct{}{}:
				default:
					t.Error("two jobs run at once")
				}
				runtime.Gosched()
				err := inner(ctx)
				<-busy
				return err
			}
			jobs = append(jobs, job)
		}
		if err := d.run(t, 10*time.Minute, jobs...); err != nil {
			t.Fatal(err)
		}
		for i := range jobs {
			if !slices.ContainsFunc(d.ended, func(r scheduler.Run) bool { return r.Job == fmt.Sprint("job", i) }) {
				t.Errorf("job%d never had its turn", i)
			}
		}
	})
}
