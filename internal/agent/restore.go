package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/manifest"
)

// A restore needs no job that outlives a connection: each of its actions can be asked
// for again, and is then carried out to its end. It is one POST
//
//	/restores/<node>/<action>
//
// whose body is the order, and whose answer says every few seconds how far it has
// come, and at last the node's state or a failure. A connection that is lost ends the
// action where it can be ended; the coordinator asks again.
const restoresPath = "/restores/" // and the node's address, and the action

// told is one line of the answer.
type told struct {
	Progress *progress.Event    `json:"progress,omitempty"`
	State    *restore.HostState `json:"state,omitempty"`
	Failure  *failure           `json:"failure,omitempty"`
}

// checkRestore refuses an order for a restore that is not allowed.
func (a Allow) checkRestore(o restore.HostOrder, node string) error {
	if err := a.checkNode(o.Cluster, o.Node); err != nil {
		return err
	}
	_, errSnapshot := manifest.ParseID(string(o.Snapshot))
	_, errRestore := manifest.ParseID(string(o.Restore))
	if err := errors.Join(errSnapshot, errRestore); err != nil || node != o.Node || o.Place < 1 || o.Place > len(o.At) {
		return forbid("restore with slotark", "an order that contradicts itself")
	}
	return nil
}

// restore carries out one action of a restore.
func (s *Server) restore(w http.ResponseWriter, r *http.Request) {
	var order restore.HostOrder
	if err := newLines(r.Body).next(&order); err != nil {
		s.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	node, action := r.PathValue("node"), restore.HostAction(r.PathValue("action"))
	if err := s.Allow.checkRestore(order, node); err != nil {
		s.refuse(w, r, http.StatusForbidden, err)
		return
	}
	host := s.Hosts[node]
	if host == nil {
		s.refuse(w, r, http.StatusForbidden, forbid("If it is meant to: give it the commands that stop and start the node, agents.nodes in its configuration.", "restore node %q", node))
		return
	}
	if !s.enter() {
		s.refuse(w, r, http.StatusServiceUnavailable, ErrStopping)
		return
	}
	defer s.working.Done()
	log := s.Logger.With("restore", order.Restore, "snapshot", order.Snapshot, "node", node, "action", string(action))
	log.Info("restore", "client", client(r))
	began := clock.Now()
	c := &telling{out: w, control: http.NewResponseController(w)}
	state, err := c.during(r.Context(), func(ctx context.Context, report progress.Func) (restore.HostState, error) {
		return host.Do(ctx, action, order, report)
	})
	if err != nil {
		log.Error("restore failed", "error", err, "hint", strings.Join(hint.Of(err), "; "), "elapsed", clock.Since(began).Round(time.Millisecond))
		_ = c.say(told{Failure: failureOf(err)}) // who has gone asks again
		return
	}
	log.Info("restore done", "elapsed", clock.Since(began).Round(time.Millisecond))
	_ = c.say(told{State: &state})
}

// enter counts what is under way, unless the agent is being stopped.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.working.Add(1)
	return true
}

// telling is the answer to an action under way.
type telling struct {
	out     http.ResponseWriter
	control *http.ResponseController
}

func (c *telling) say(line told) error {
	if err := c.control.SetWriteDeadline(clock.Now().Add(silence)); err != nil {
		return err
	}
	if err := writeLine(c.out, line); err != nil {
		return err
	}
	return c.control.Flush()
}

// during does something, and says how far it has come. It returns when that has ended.
func (c *telling) during(ctx context.Context, do func(context.Context, progress.Func) (restore.HostState, error)) (state restore.HostState, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	latest := make(chan progress.Event, 1)
	report := func(e progress.Event) {
		select { // only the newest counts
		case <-latest:
		default:
		}
		select {
		case latest <- e:
		default:
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		state, err = do(ctx, report)
	}()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	lost := c.say(told{})
	for {
		if lost != nil {
			end(lost)
			<-done
			return state, errors.Join(lost, err)
		}
		select {
		case e := <-latest:
			lost = c.say(told{Progress: &e})
		case <-tick.C:
			lost = c.say(told{})
		case <-done:
			return state, err
		}
	}
}

var _ restore.Host = (*Client)(nil)

// Do implements [restore.Host]. A connection that is lost is opened again, and the
// action asked for again, for as long as the agent may be gone.
func (c *Client) Do(ctx context.Context, action restore.HostAction, order restore.HostOrder, report progress.Func) (restore.HostState, error) {
	patience := c.patience
	if action == restore.HostExamine { // nothing has been begun
		patience = min(patience, firstPatience)
	}
	pause, last := firstPause, clock.Now()
	for {
		state, heard, err := c.restore(ctx, action, order, report)
		if err == nil || ctx.Err() != nil || final(err) {
			return state, err
		}
		if !heard.IsZero() {
			last, pause = heard, firstPause
		}
		if clock.Since(last) > patience {
			return state, fmt.Errorf("for %s: %w", patience, err)
		}
		timer := time.NewTimer(pause)
		pause = min(pause*3/2, mostPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return state, context.Cause(ctx)
		}
	}
}

// final tells whether it is of no use to ask again.
func final(err error) bool {
	var refusal *refused
	return errors.As(err, &refusal) && !errors.Is(err, ErrStopping) || errors.Is(err, ErrUntrusted) || errors.Is(err, ErrProtocol)
}

// restore asks for an action once. It returns when the agent was last heard.
func (c *Client) restore(ctx context.Context, action restore.HostAction, order restore.HostOrder, report progress.Func) (state restore.HostState, heard time.Time, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	var body strings.Builder
	if err := writeLine(&body, order); err != nil {
		return state, heard, err
	}
	path := restoresPath + url.PathEscape(order.Node) + "/" + url.PathEscape(string(action))
	response, err := c.request(ctx, http.MethodPost, path, strings.NewReader(body.String()))
	if err != nil {
		return state, heard, err
	}
	defer response.Body.Close()
	in := newLines(response.Body)
	for {
		var line told
		if err := in.next(&line); err != nil {
			switch cause := context.Cause(ctx); {
			case cause != nil:
				err = cause
			case errors.Is(err, io.EOF): // it ended in the middle of the action
				err = net.ErrClosed
			}
			return state, heard, explain(c.url, err)
		}
		heard = clock.Now()
		quiet.Reset(silence)
		switch {
		case line.Failure != nil:
			return state, heard, &refused{c.far(line.Failure)}
		case line.State != nil:
			return *line.State, heard, nil
		case line.Progress != nil:
			report.Emit(*line.Progress)
		}
	}
}
