package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/manifest"
)

// hostFunc is a host whose faults are a test's.
type hostFunc func(ctx context.Context, action restore.HostAction, report progress.Func) (restore.HostState, error)

func (f hostFunc) Do(ctx context.Context, action restore.HostAction, _ restore.HostOrder, report progress.Func) (restore.HostState, error) {
	return f(ctx, action, report)
}

// TestRestoreActions cuts the line in the middle of an action: the agent ends it, and
// is asked for it again. What it fails at arrives as it was, and is not asked for again.
func TestRestoreActions(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Primaries: 1})
	node := c.Addrs()[0]
	var asked, ended atomic.Int32
	var way *line
	p := newPlace(t, c, func(o *Options) {
		o.Hosts = map[string]restore.Host{node: hostFunc(func(ctx context.Context, action restore.HostAction, report progress.Func) (restore.HostState, error) {
			switch n := asked.Add(1); {
			case action == restore.HostStop:
				return restore.HostState{}, hint.Refuse(errors.New("it will not stop"), "do this")
			case n > 1:
				return restore.HostState{Folder: "/data", Keys: 7}, nil
			}
			report.Emit(progress.Event{Task: "shard", Phase: "seed", Keys: 3})
			<-ctx.Done()
			ended.Add(1)
			return restore.HostState{}, context.Cause(ctx)
		})}
	})
	way = newLine(t, p.addr)
	client := p.client(t, way.addr)
	order := restore.HostOrder{Restore: manifest.NewID(time.Now()), Snapshot: manifest.NewID(time.Now()), Cluster: "prod", Node: node, Place: 1, At: []string{node}}
	var keys atomic.Uint64
	state, err := client.Do(t.Context(), restore.HostStage, order, func(e progress.Event) {
		keys.Store(e.Keys)
		way.cut(true)
		time.AfterFunc(300*time.Millisecond, func() { way.cut(false) })
	})
	if err != nil || state.Keys != 7 || state.Folder != "/data" || keys.Load() != 3 || asked.Load() != 2 {
		t.Errorf("%+v, %v; %d keys told, asked %d times", state, err, keys.Load(), asked.Load())
	}
	clustertest.Eventually(t, waitLimit, func(context.Context) error {
		if ended.Load() != 1 {
			return errors.New("the action of the line that was cut goes on")
		}
		return nil
	})
	_, err = client.Do(t.Context(), restore.HostStop, order, nil)
	if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "it will not stop") || hint.Of(err)[0] != "do this" || asked.Load() != 3 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	asked.Store(0)
	if _, err = client.Do(ctx, restore.HostStage, order, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestRestoreOrders has an agent refuse what its own settings do not allow.
func TestRestoreOrders(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Primaries: 1})
	node := c.Addrs()[0]
	p := newPlace(t, c, nil)
	client := p.client(t, p.addr)
	good := restore.HostOrder{Restore: manifest.NewID(time.Now()), Snapshot: manifest.NewID(time.Now()), Cluster: "prod", Node: node, Place: 1, At: []string{node}}
	for says, change := range map[string]func(*restore.HostOrder){
		"restore node":                  func(*restore.HostOrder) {}, // it has no commands for it
		"cluster \"other\"":             func(o *restore.HostOrder) { o.Cluster = "other" },
		"node \"10.0.0.9:1\"":           func(o *restore.HostOrder) { o.Node = "10.0.0.9:1" },
		"an order that contradicts":     func(o *restore.HostOrder) { o.Place = 2 },
		"an order that contradicts it":  func(o *restore.HostOrder) { o.Snapshot = "../../etc" },
		"an order that contradicts its": func(o *restore.HostOrder) { o.Restore = "" },
	} {
		order := good
		change(&order)
		if _, err := client.Do(t.Context(), restore.HostStage, order, nil); !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
