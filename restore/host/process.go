package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
)

const (
	// defaultPatience bounds a command that stops a node or starts it, and how long the
	// node may say nothing after its start: it may load for as long as it says so.
	defaultPatience = 2 * time.Minute
	// stopRate is how fast a node that is stopped saves its data, at least.
	stopRate  = 20 << 20 // bytes of memory a second
	lookEvery = 100 * time.Millisecond
	// endingLimit is how long a node may close connections without a word.
	endingLimit = 3 * time.Second
	// mostSaid is how much of what a failed command has said is told, in bytes.
	mostSaid = 500
)

func (n *Node) patience() time.Duration { return cmp.Or(n.Patience, defaultPatience) }

// down tells whether nobody listens at the node's address. Who does not answer may
// live, and write.
func down(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func loading(err error) bool { return cluster.IsCode(err, "LOADING") }

// stop stops the node.
func (w *work) stop(ctx context.Context) error {
	if err := w.ours(); err != nil {
		return err
	}
	if done, err := w.placed(); done || err != nil { // it may run again, with what was restored
		return err
	}
	if staged, err := restore.Seeded(w.staged(), string(w.Restore), w.Snapshot, w.Place); err != nil || !staged {
		if begun, _ := w.moving(); !begun {
			return errors.Join(errors.New("nothing is stopped before all that is to be restored is there"), err)
		}
	}
	if !w.running {
		return w.ended(ctx, w.patience())
	}
	snapshot, err := w.Find(ctx, w.Snapshot)
	if err != nil {
		return err
	}
	if err := w.mayLose(ctx, true, snapshot.Manifest); err != nil && !down(err) {
		return err
	}
	return w.stopNode(ctx)
}

// ended waits until the node's process is gone.
func (w *work) ended(ctx context.Context, limit time.Duration) error {
	return w.until(ctx, limit, "still runs after its stop command", func(ctx context.Context) (bool, error) { return w.silent(ctx) == nil, nil })
}

// stopNode runs the command, and waits until the node's process is gone. A node may be
// ending already: a killed restore had told it to.
func (w *work) stopNode(ctx context.Context) error {
	info, err := w.node.Info(ctx, "")
	if down(err) {
		return w.ended(ctx, w.patience())
	}
	if err != nil {
		return err
	}
	pid := int(info.Int("process_id"))
	if w.record.PID != pid {
		w.record.PID = pid
		if err := w.write(ctx); err != nil {
			return err
		}
	}
	limit := w.patience() + time.Duration(info.Int("used_memory")/stopRate)*time.Second
	if err := w.command(ctx, "stop", w.Stop, limit); err != nil {
		return err
	}
	return w.ended(ctx, limit)
}

// silent proves that no server uses the folder: nobody listens, and the process that
// did is gone. One that saves its data has closed its port already.
func (w *work) silent(ctx context.Context) error {
	err := w.node.Ping(ctx)
	switch {
	case err == nil:
		return fmt.Errorf("%s still answers", w.Addr)
	case !down(err):
		return fmt.Errorf("whether %s still runs cannot be told: %w", w.Addr, err)
	case isServer(w.record.PID):
		return fmt.Errorf("%s does not listen any more, and its process %d still runs", w.Addr, w.record.PID)
	}
	return nil
}

// isServer tells whether a process is there, and a server. Of a node in another
// container only the port tells: its number may be anybody's here.
func isServer(pid int) bool {
	if pid <= 0 {
		return false
	}
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return false
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	dead := err != nil || strings.Contains(string(status), "State:\tZ")
	return !dead && (strings.Contains(string(name), "redis") || strings.Contains(string(name), "valkey"))
}

// start starts the node, waits until it has loaded its data, and looks that it has the
// restored node's id.
func (w *work) start(ctx context.Context) error {
	if err := w.ours(); err != nil {
		return err
	}
	if done, err := w.placed(); !done || err != nil {
		return errors.Join(errors.New("what was restored has not its place yet"), err)
	}
	if err := w.startNode(ctx, true); err != nil {
		return err
	}
	id, err := w.node.Text(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if want := restore.SeededID(string(w.Restore), w.Snapshot, w.Place); id != want {
		return hint.Add(fmt.Errorf("%s has the node id %s, not %s, which stands in %s of %s: it does not read that folder", w.Addr, id, want, w.record.Names.Nodes, w.Folder),
			"Give the agent the node's own data folder (snapshot.data_dirs), and a start command that starts this node.")
	}
	w.state.NodeID = id
	w.tell()
	names, err := w.askNames(ctx)
	if differ := names.otherThan(w.record.Names); err == nil && len(differ) > 0 {
		err = hint.Add(fmt.Errorf("the configuration of %s has %s, which its agent did not know while it did not run", w.Addr, human.List(differ)),
			"Say so in the agent's configuration: agents.nodes.")
	}
	return err
}

// startNode runs the command and waits until the node answers, and if it is to be whole
// until it has loaded its data.
func (w *work) startNode(ctx context.Context, whole bool) error {
	if !w.running {
		if err := w.command(ctx, "start", w.Start, w.patience()); err != nil {
			return err
		}
	}
	heard := clock.Now()
	return w.until(ctx, 0, "", func(ctx context.Context) (bool, error) {
		info, err := w.node.Info(ctx, "persistence")
		loads := loading(err) || err == nil && info.Int("loading") == 1
		switch {
		case loads && !whole, err == nil && !loads:
			return true, nil
		case loads:
			heard = clock.Now()
			w.report.Emit(progress.Event{Task: "node", Phase: "start", Done: info.Int("loading_loaded_bytes"), Total: info.Int("loading_total_bytes")})
		case !errors.Is(err, cluster.ErrUnreachable):
			return false, err
		case clock.Since(heard) > w.patience():
			return false, hint.Add(fmt.Errorf("%s does not answer %s after its start command: %w", w.Addr, w.patience(), err), "Its log says why.")
		}
		return false, nil
	})
}

// until looks until something is so. A limit of 0 is none.
func (w *work) until(ctx context.Context, limit time.Duration, otherwise string, is func(context.Context) (bool, error)) error {
	began := clock.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		so, err := is(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case so || err != nil:
			return err
		case limit > 0 && clock.Since(began) > limit:
			return fmt.Errorf("%s %s", w.Addr, otherwise)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// command runs one of the node's commands. It is not ended with the connection to the
// coordinator: half a start is worse than a whole one.
func (w *work) command(ctx context.Context, what string, argv []string, limit time.Duration) error {
	if len(argv) == 0 {
		return hint.Refuse(fmt.Errorf("the agent has no command to %s %s", what, w.Addr), "Give it one: agents.nodes in its configuration.")
	}
	// A file, and no pipe: the server that is started may keep it open.
	said, err := os.CreateTemp("", "slotark-command-")
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, w.Addr, err)
	}
	defer func() { _ = errors.Join(said.Close(), os.Remove(said.Name())) }() // it was read
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = said, said
	err = cmd.Run()
	if limited.Err() != nil {
		err = fmt.Errorf("it did not end within %s", limit)
	}
	if err == nil {
		return nil
	}
	text, _ := io.ReadAll(io.NewSectionReader(said, 0, mostSaid))
	return hint.Add(fmt.Errorf("the command to %s %s (%s) failed: %w: %s", what, w.Addr, argv[0], err, strings.Join(strings.Fields(string(text)), " ")),
		"Run it by hand, as the agent's user, and see what is wrong.")
}

// back brings back what the node had, and starts it if it ran.
func (w *work) back(ctx context.Context) error {
	if !w.known { // nothing of this restore has come here, or all of it has gone
		return w.removeBare()
	}
	if w.ours() != nil {
		return nil
	}
	begun, err := w.moving()
	if err != nil {
		return err
	}
	if begun {
		if w.running {
			if err := w.stopNode(ctx); err != nil {
				return err
			}
			w.running = false
		}
		if err := w.silent(ctx); err != nil {
			return err
		}
		if err := w.bringBack(); err != nil {
			return fmt.Errorf("bring back what the node had: %w", err)
		}
	}
	if w.record.Ran {
		if err := w.startNode(ctx, false); err != nil {
			return fmt.Errorf("what it had is back in its place: %w", err)
		}
	}
	if err := w.remove(); err != nil {
		return fmt.Errorf("remove what was restored: %w", err)
	}
	return nil
}

// moving tells whether anything of the node's own was moved, or may have been.
func (w *work) moving() (bool, error) {
	for _, name := range []string{aside, old} {
		if there, err := exists(w.own() + "/" + name); there || err != nil {
			return there, err
		}
	}
	return false, nil
}
