package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
)

var (
	// ErrProtocol is returned when coordinator and agent speak different versions.
	ErrProtocol = errors.New("coordinator and agent do not understand each other")
	// ErrForbidden is returned when an agent is asked for what its own settings do
	// not allow.
	ErrForbidden = errors.New("the agent may not do this")
	// ErrUnknownJob is returned when a job is taken up again that the agent does not
	// know: it was restarted.
	ErrUnknownJob = errors.New("the agent does not know the job")
	// ErrStopping is returned when an agent is being stopped.
	ErrStopping = errors.New("the agent is stopping")
	// ErrUntrusted is returned when one side's certificate does not satisfy the other.
	ErrUntrusted = errors.New("coordinator and agent do not trust each other")

	errSilent   = errors.New("the other side has said nothing for too long")
	errOrphaned = errors.New("no coordinator has asked for the job for too long")
	errDropped  = errors.New("the coordinator has given the job up")
)

// kinds are the errors that the far side can tell apart with errors.Is, each by a
// name that does not change.
var kinds = []struct {
	name string
	is   error
}{
	{"protocol", ErrProtocol}, {"forbidden", ErrForbidden}, {"unknown-job", ErrUnknownJob}, {"stopping", ErrStopping},
	{"stale", collect.ErrStale}, {"not-here", collect.ErrNotHere}, {"cut", collect.ErrCut}, {"cannot-save", collect.ErrCannotSave},
	{"retryable", snapshot.ErrRetryable}, {"disturbed", snapshot.ErrDisturbed},
	{"node-access", cluster.ErrAuth}, {"node-unreachable", cluster.ErrUnreachable}, {"not-cluster", cluster.ErrNotCluster},
	{"not-found", storage.ErrNotFound}, {"exists", storage.ErrExists}, {"no-store", storage.ErrNoStore}, {"denied", storage.ErrDenied},
	{"full", storage.ErrFull}, {"locked", storage.ErrLocked}, {"read-only", storage.ErrReadOnly},
	{"stalled", mirror.ErrStalled}, {"slow", mirror.ErrSlow}, {"too-few", mirror.ErrTooFew}, {"undecided", mirror.ErrUndecided},
	{"no-repository", catalog.ErrNoRepository}, {"format", catalog.ErrFormat},
	{"refused", hint.ErrRefused}, {"left", hint.ErrLeft},
	{"deadline", context.DeadlineExceeded},
}

// failure is an error on its way between the two.
type failure struct {
	Text  string   `json:"text"`
	Kinds []string `json:"kinds,omitempty"`
	Hints []string `json:"hints,omitempty"` // outermost first
}

// failureOf takes an error apart; nil of nil.
func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error(), Hints: hint.Of(err)}
	for _, kind := range kinds {
		if errors.Is(err, kind.is) {
			f.Kinds = append(f.Kinds, kind.name)
		}
	}
	return f
}

// err puts the error together again; nil of nil. A kind that this build does not
// know is left out.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	far := &farError{text: f.Text}
	for _, kind := range kinds {
		if slices.Contains(f.Kinds, kind.name) {
			far.kinds = append(far.kinds, kind.is)
		}
	}
	var err error = far
	for _, h := range slices.Backward(f.Hints) {
		err = hint.Add(err, h)
	}
	return err
}

// farError is an error that happened on the other side.
type farError struct {
	text  string
	kinds []error
}

func (e *farError) Error() string   { return e.text }
func (e *farError) Unwrap() []error { return e.kinds }
