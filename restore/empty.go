package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
)

// empty removes what the targets hold: [Options].Replacing says that it may be
// lost, and the check has seen what it is. Until the first node is flushed
// nothing is lost, and whatever goes wrong leaves all as it was.
func (r *run) empty(ctx context.Context) error {
	nodes := r.holding()
	if len(nodes) == 0 {
		return nil
	}
	// Clients of the cluster lose their connections before it does its data. That
	// they come back does no harm: each node is emptied, and loses its slots, between
	// two commands. CLIENT PAUSE would hold up the FLUSHALL as well.
	first := each(nodes, func(t *target) error {
		if err := t.sameProcess(ctx); err != nil {
			return err
		}
		return t.alone(ctx)
	})
	if err := errors.Join(first...); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.claim.Taken(ctx) {
		r.leftAsIs = true
		return errors.New("another process goes on with this restore")
	}
	r.lost.Store(true)
	if _, err := r.makeEmpty(ctx, nodes); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("empty the nodes: %w", err)
	}
	if err := errors.Join(each(nodes, func(t *target) error { return r.lookAgain(ctx, t) })...); err != nil {
		return fmt.Errorf("empty the nodes: %w", err)
	}
	// Without the entry it is what may not be lost to whoever goes on.
	_ = r.claim.Note(ctx, emptied{true})
	r.outcome.Notes = append(r.outcome.Notes, "what the nodes held before is gone: "+r.loses())
	return nil
}

// emptied is an entry of the journal: what the nodes hold is not what they held when
// the mark was written.
type emptied struct {
	Emptied bool `json:"emptied"`
}

// mayHold looks whether a killed restore that was to replace what nodes held has come
// to that. If it has not, what they hold is not its own: it is for the check to find,
// and may be lost only where this restore is told so, too.
func (r *run) mayHold(ctx context.Context, killed catalog.Abandoned) (bool, error) {
	if !slices.ContainsFunc(killed.Targets, func(t catalog.Target) bool { return t.Held }) {
		return false, nil
	}
	entries, err := r.Snapshot.Journal(ctx, killed)
	if err != nil {
		return false, err
	}
	for _, text := range entries {
		var entry emptied
		if json.Unmarshal(text, &entry) == nil && entry.Emptied {
			return false, nil
		}
	}
	if r.Replacing.Name == "" {
		return true, hint.Refuse(fmt.Errorf("the restore into these nodes that began at %s was to replace what they held, and may not have come to that", human.Moment(killed.Begun)),
			"Give --resume together with --replace, as that restore was given it.")
	}
	return true, r.Snapshot.Forget(ctx, killed)
}

// ofLoss says in an error that ended a restore what became of what the nodes held;
// untouched tells that they hold it still, and nothing else.
func (r *run) ofLoss(cause error) (err error, untouched bool) {
	loses := r.loses()
	switch {
	case loses == "":
		return cause, false
	case r.lost.Load():
		return fmt.Errorf("%w (what the nodes held before is gone: %s)", cause, loses), false
	}
	return fmt.Errorf("%w (nothing was changed: the nodes hold what they held)", cause), true
}

// lookAgain proves a node empty, by what the check would refuse it for. It has
// another node id by now.
func (r *run) lookAgain(ctx context.Context, t *target) error {
	info, err := t.node.Info(ctx, "")
	if err != nil {
		return err
	}
	before := t.held
	err = t.look(ctx, info, r.manifest)
	if err == nil && t.held.any() {
		err = fmt.Errorf("%s still %s", t.addr(), t.held)
	}
	t.held = before
	return err
}

// sameProcess looks that a node is the one that the check has seen.
func (t *target) sameProcess(ctx context.Context) error {
	info, err := t.node.Info(ctx, "server")
	if err != nil {
		return err
	}
	if info.Text("run_id") != t.runID {
		return fmt.Errorf("%s was restarted since, so it is left as it is", t.addr())
	}
	return nil
}

// resetAtOnce empties a node that clients and a cluster know. Between FLUSHALL and
// RESET nobody can write: a primary with keys refuses the RESET, and under load
// there would always be some.
func (r *run) resetAtOnce(ctx context.Context, t *target) error {
	err := r.transaction(ctx, t, "EXEC", flushingAll, resetting)
	if cluster.IsCode(err, "READONLY") {
		// A replica: what it holds goes with the reset.
		_, err = t.node.Do(ctx, resetting...)
	}
	return err
}

var (
	flushingAll = []any{"FLUSHALL", "ASYNC"}
	resetting   = []any{"CLUSTER", "RESET", "HARD"}
)

// rehearse finds out whether a node would take what empties it: the user's rights
// are looked at when a command is queued. Nothing is carried out.
func (r *run) rehearse(ctx context.Context, t *target) error {
	commands := [][]any{flushingAll, resetting}
	if version, _ := parseRelease(t.version); version.atLeast(7, 0) {
		commands = append(commands, []any{"FUNCTION", "FLUSH", "SYNC"})
	}
	for _, command := range commands {
		// That a replica takes no writes is looked at after the rights.
		if err := r.transaction(ctx, t, "DISCARD", command); err != nil && !cluster.IsCode(err, "READONLY") {
			return hint.Add(fmt.Errorf("%s would not be emptied: %w", t.addr(), err), "Give the user the rights that docs/access.md lists for --replace.")
		}
	}
	return nil
}

// transaction queues commands on a connection of its own, and ends with EXEC or
// DISCARD. Each is sent when the one before was taken: where MULTI is refused, or
// the connection breaks, nothing is carried out.
func (r *run) transaction(ctx context.Context, t *target, end string, commands ...[]any) (err error) {
	conn, reader, err := r.Access.Dial(ctx, t.given)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(clock.Now().Add(killLimit)); err != nil {
		return err
	}
	for _, command := range slices.Concat([][]any{{"MULTI"}}, commands, [][]any{{end}}) {
		if _, err := conn.Write(cluster.AppendCommand(nil, command...)); err != nil {
			return fmt.Errorf("send %s to %s: %w", command[0], t.addr(), err)
		}
		reply, err := cluster.ReadReply(reader)
		if err == nil {
			err = refusedWithin(reply)
		}
		if err != nil {
			return fmt.Errorf("%s refused %s: %w", t.addr(), command[0], err)
		}
	}
	return nil
}

func (r *run) saysEmpty() string {
	if what := r.loses(); what != "" {
		return "LOSES " + what + ": FLUSHALL, FUNCTION FLUSH and CLUSTER RESET HARD on each"
	}
	return "nothing: no node holds anything"
}

// refusedWithin is the first refusal among the answers to an EXEC.
func refusedWithin(reply any) error {
	answers, _ := reply.([]any)
	for _, answer := range answers {
		if refused, ok := answer.(cluster.ServerError); ok {
			return refused
		}
	}
	return nil
}
