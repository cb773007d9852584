package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/preflight"
)

// Protocol is the version of what coordinators and agents say to each other. Both
// must have the same.
const Protocol = 1

// protocolHeader carries Protocol in every request and every answer.
const protocolHeader = "Slotark-Agent-Protocol"

const (
	healthPath = "/health"
	jobsPath   = "/jobs/"  // and the job's id
	nodesPath  = "/nodes/" // and the node's address
)

const (
	// keepAlive is how often each side says its state when nothing changes.
	keepAlive = 5 * time.Second
	// silence is how long the other side may say nothing before the connection is
	// taken for lost.
	silence = 30 * time.Second
	// DefaultGrace is how long a job goes on, and its objects stay, without a
	// coordinator.
	DefaultGrace = 2 * time.Minute
	// maxLine bounds a message; an order or a result has a few KiB.
	maxLine = 4 << 20
)

// opening is the first line of a coordinator, in each connection.
type opening struct {
	Order  snapshot.Order `json:"order"`
	Resume bool           `json:"resume,omitempty"` // the job was begun before: it must not begin anew
}

// word is what a coordinator wants, as far as it has come. It is said again with
// every change, and as a keep-alive; so none is missed for good.
type word struct {
	Granted int    `json:"granted,omitempty"` // turns that the agent may have taken so far
	Hold    int    `json:"hold,omitempty"`    // counts the questions whether the result is still there
	Settle  string `json:"settle,omitempty"`  // settleKeep or settleDrop, once it is decided
}

const (
	settleKeep = "keep"
	settleDrop = "drop"
)

// state is what has become of a job. It is said again like a word.
type state struct {
	Now      time.Time       `json:"now"`                // the agent's clock
	Progress *progress.Event `json:"progress,omitempty"` // the newest
	Machine  string          `json:"machine,omitempty"`  // that it runs on: two forks there are not to happen at once
	Turns    int             `json:"turns,omitempty"`    // that it has asked for so far
	Ended    int             `json:"ended,omitempty"`    // of these, how many forks have ended
	Held     int             `json:"held,omitempty"`     // the newest question about the result that was heard
	Result   *result         `json:"result,omitempty"`
	Failure  *failure        `json:"failure,omitempty"` // instead of a result
	Settled  *settled        `json:"settled,omitempty"`
}

// result is a shard that was put.
type result struct {
	Shard    manifest.Shard `json:"shard"`
	Outcomes []outcome      `json:"outcomes"` // the primary first
}

// outcome is what one store has of it.
type outcome struct {
	Store   string   `json:"store"`
	Failure *failure `json:"failure,omitempty"` // nil: all
}

// settled is the end of a job.
type settled struct {
	How  string   `json:"how"`            // settleKeep or settleDrop
	Left *failure `json:"left,omitempty"` // what could not be removed
}

// health is the answer to a look at an agent.
type health struct {
	Protocol int      `json:"protocol"`
	Version  string   `json:"version"` // "slotark 0.1.0"
	Cluster  string   `json:"cluster"`
	Nodes    []string `json:"nodes"` // that it may capture
	Jobs     int      `json:"jobs"`  // not settled yet
	Stopping bool     `json:"stopping,omitempty"`
}

// look is the answer to having an agent look at a node.
type look struct {
	Findings []finding `json:"findings"`
}

// finding is one of the preflight's, of the node that was looked at.
type finding struct {
	Code     string             `json:"code"`
	Severity preflight.Severity `json:"severity"`
	Subject  string             `json:"subject,omitempty"` // "": the node
	Detail   string             `json:"detail"`
	Advice   string             `json:"advice"`
}

// sameBuild is what to do where the two do not understand each other.
const sameBuild = "let coordinator and agents run the same release of slotark"

// writeLine writes one message.
func writeLine(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// lines reads messages, one at a time.
type lines struct{ scanner *bufio.Scanner }

func newLines(r io.Reader) *lines {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 4<<10), maxLine)
	return &lines{scanner}
}

// next reads the next message. Fields that this build does not know are refused:
// what they ask for could change what the job means.
func (l *lines) next(into any) error {
	if !l.scanner.Scan() {
		if err := l.scanner.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	decoder := json.NewDecoder(bytes.NewReader(l.scanner.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return hint.Add(fmt.Errorf("%w: decode message: %w", ErrProtocol, err), sameBuild)
	}
	return nil
}
