package restore

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
)

// TestWait asks a real node again that does not answer, until the limit, and one that
// refuses or is gone only once.
func TestWait(t *testing.T) {
	t.Parallel()
	p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir(), Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(p.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(password cluster.Secret, limit, timeout time.Duration) (asked int, err error) {
		node := (&cluster.Access{Password: password, Timeout: timeout}).Open(p.Addr())
		defer node.Close()
		return asked, wait(t.Context(), limit, func(ctx context.Context) (string, error) {
			asked++
			return "", node.Ping(ctx)
		})
	}
	if asked, err := ask("wrong", time.Minute, 10*time.Second); asked != 1 || !errors.Is(err, cluster.ErrAuth) {
		t.Errorf("refused: asked %d times: %v", asked, err)
	}
	signal(syscall.SIGSTOP)
	began := clock.Now()
	asked, err := ask("secret", time.Second, 100*time.Millisecond)
	if asked < 2 || err == nil || !strings.Contains(err.Error(), "after 1s") || !strings.Contains(err.Error(), p.Addr()+": no answer within 100ms") {
		t.Errorf("silent: asked %d times in %s: %v", asked, clock.Since(began), err)
	}
	time.AfterFunc(time.Second, func() { _ = syscall.Kill(p.PID(), syscall.SIGCONT) })
	if asked, err := ask("secret", time.Minute, 100*time.Millisecond); asked < 2 || err != nil {
		t.Errorf("silent for a while: asked %d times: %v", asked, err)
	}
	_ = p.Kill()
	if asked, err := ask("secret", time.Minute, 10*time.Second); asked != 1 || err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("gone: asked %d times: %v", asked, err)
	}
}
