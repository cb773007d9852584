package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

// StreamOptions bounds a collection by replication stream.
type StreamOptions struct {
	// Silence is how long the node may send nothing at all, not even the
	// newlines with which it keeps a waiting replica alive. Default 1 minute.
	Silence time.Duration
	// Clock asks the node for its clock once it has forked: [Source.ForkedBy].
	Clock bool
}

const (
	defaultSilence = time.Minute
	maxReplyLine   = 64 << 10
	// newestReplica is above the version of every server: numbers of a byte each
	// (replconfCommand of Valkey 9).
	newestReplica = "255.255.255"
)

// Stream asks a node for a dump as a replica does: REPLCONF rdb-only (6.2 and
// later: the node keeps no buffer of writes for us), then PSYNC. Only the bare
// "capa eof" is claimed, so the node answers with "$<len>" from its disk or
// "$EOF:<mark>" without one, and never opens a second channel (Redis 8.0,
// Valkey 8.0). It needs the ACL rules +sync +psync +replconf +time and no
// file access.
func Stream(ctx context.Context, access *cluster.Access, addr string, o StreamOptions) (*Source, error) {
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	// While it forks, for another replica or for a save, a node with much memory
	// answers nobody.
	patient := *access
	patient.Timeout = o.Silence
	s := &stream{ctx: ctx, access: &patient, silence: o.Silence, addr: addr}
	node := patient.Open(addr)
	defer node.Close()
	notBefore, err := s.before(node)
	if err != nil {
		return nil, err
	}
	if o.Clock {
		s.clock = node
	}
	if s.conn, s.reader, err = patient.Dial(ctx, addr); err != nil {
		return nil, err
	}
	source, err := s.begin()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sync from %s: %w", addr, s.explain(err)), s.conn.Close())
	}
	source.NotBefore = notBefore
	return source, nil
}

// before asks a node what time it is, to the second, for AUX ctime is no finer;
// and how many clients it has dropped for their output buffers.
func (s *stream) before(node *cluster.Node) (time.Time, error) {
	now, err := node.Time(s.ctx)
	if err != nil {
		return time.Time{}, err
	}
	s.dropped = dropped(s.ctx, node)
	return now.Truncate(time.Second), nil
}

// dropped is client_output_buffer_limit_disconnections of INFO stats; -1 where the
// node (before 7.2) or the user's rights do not tell it.
func dropped(ctx context.Context, node *cluster.Node) int64 {
	info, err := node.Info(ctx, "stats")
	if _, told := info["client_output_buffer_limit_disconnections"]; err != nil || !told {
		return -1
	}
	return info.Int("client_output_buffer_limit_disconnections")
}

// stream is the connection of a replica that wants one dump and no more. It
// ends with the context it was dialed under.
type stream struct {
	ctx     context.Context // ends the stream
	access  *cluster.Access
	conn    net.Conn
	reader  *bufio.Reader
	silence time.Duration
	addr    string
	clock   *cluster.Node // is asked for its clock after the fork; nil: it is not
	dropped int64         // clients that the node had dropped for their output buffers before; -1 where it is not known
}

// begin speaks the handshake and returns the source at the dump's first byte.
func (s *stream) begin() (*Source, error) {
	if err := s.ask("REPLCONF", "capa", "eof"); err != nil {
		return nil, err
	}
	// Valkey 9 writes for a replica that does not say its version what 7.2 could read
	// (RDB 11), and fails at a hash whose fields expire. Ours reads all that its own
	// dump.rdb may be. Others know no such option.
	if err := s.ask("REPLCONF", "version", newestReplica); err != nil && !errors.As(err, new(cluster.ServerError)) {
		return nil, err
	}
	// A server before 6.2 refuses rdb-only. The dump is the same without it,
	// only the server then holds back writes for us while it sends.
	if err := s.ask("REPLCONF", "rdb-only", "1"); err != nil && !errors.As(err, new(cluster.ServerError)) {
		return nil, err
	}
	reply, err := s.command("PSYNC", "?", "-1")
	if err != nil {
		return nil, err
	}
	// The node answers when it forks, so this is the instant of the dump.
	forked := clock.Now()
	fields := strings.Fields(reply)
	if len(fields) != 3 || fields[0] != "+FULLRESYNC" {
		return nil, fmt.Errorf("the answer to PSYNC is %.80q, want +FULLRESYNC", reply)
	}
	offset, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the answer to PSYNC is %.80q: its offset is no number", reply)
	}
	source := &Source{Forked: forked, ReplID: fields[1], ReplOffset: offset, Exact: true}
	// Asked now and not later: once its child writes, the node is busy passing that on.
	if s.clock != nil {
		if source.ForkedBy, err = s.clock.Time(s.ctx); err != nil {
			return nil, err
		}
	}
	header, err := s.line()
	if err != nil {
		return nil, err
	}
	return source, s.body(source, header)
}

// body understands the dump's announcement.
func (s *stream) body(source *Source, header string) error {
	if mark, ok := strings.CutPrefix(header, "$EOF:"); ok {
		if len(mark) != markBytes {
			return fmt.Errorf("the end mark has %d bytes, want %d", len(mark), markBytes)
		}
		source.Size = -1
		source.ReadCloser = &syncBody{stream: s, body: newMarked(waiting{s}, mark)}
		return nil
	}
	size, err := strconv.ParseInt(strings.TrimPrefix(header, "$"), 10, 64)
	if err != nil || size < 0 || !strings.HasPrefix(header, "$") {
		return fmt.Errorf("the dump is announced as %.80q, want $<length> or $EOF:<mark>", header)
	}
	source.Size = size
	source.ReadCloser = &syncBody{stream: s, body: &sized{waiting{s}, size}}
	return nil
}

// ask sends a command that is answered with +OK.
func (s *stream) ask(args ...any) error {
	reply, err := s.command(args...)
	if err == nil && reply != "+OK" {
		err = fmt.Errorf("the answer to %v is %.80q", args[0], reply)
	}
	return err
}

func (s *stream) command(args ...any) (string, error) {
	s.extend()
	if _, err := s.conn.Write(cluster.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	reply, err := s.line()
	if message, refused := strings.CutPrefix(reply, "-"); err == nil && refused {
		return "", cluster.ServerError(message)
	}
	return reply, err
}

// line reads one line, past the bare newlines that keep a replica waiting.
func (s *stream) line() (string, error) {
	for {
		var text []byte
		for {
			s.extend()
			b, err := s.reader.ReadByte()
			if err == io.EOF {
				err = ErrCut
			}
			if err != nil {
				return "", err
			}
			if b == '\n' {
				break
			}
			if text = append(text, b); len(text) > maxReplyLine {
				return "", fmt.Errorf("a line of over %d bytes", maxReplyLine)
			}
		}
		if line := strings.TrimSuffix(string(text), "\r"); line != "" {
			return line, nil
		}
	}
}

// extend gives the node another spell of silence.
func (s *stream) extend() { s.conn.SetDeadline(clock.Now().Add(s.silence)) }

// explain turns what went wrong into what to do about it.
func (s *stream) explain(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // the caller's own doing, though a deadline is a net.Error too
	case errors.Is(err, ErrCut), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return s.whyCut(err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return hint.Add(fmt.Errorf("the node sent nothing for %s: %w", s.silence, err),
			"look at the node's log: a fork or a full disk may hold its BGSAVE up")
	case strings.HasPrefix(err.Error(), "NOPERM"):
		return hint.Add(err, "give the user the ACL rules +psync +sync +replconf, or collect from the data folder: --collect bgsave")
	case strings.HasPrefix(err.Error(), "NOMASTERLINK"):
		return hint.Add(err, "the replica has lost its primary: mend that, or collect from primaries: --replicas never")
	}
	return err
}

// nowDropped is dropped, asked anew.
func (s *stream) nowDropped() int64 {
	ctx, cancel := context.WithTimeout(s.ctx, whyLimit)
	defer cancel()
	node := s.access.Open(s.addr)
	defer node.Close()
	return dropped(ctx, node)
}

// whyLimit bounds the question why a node has closed the connection.
const whyLimit = 5 * time.Second

// whyCut asks the node why it has closed the connection. What it does not know is
// in its log.
func (s *stream) whyCut(err error) error {
	if !errors.Is(err, ErrCut) {
		err = fmt.Errorf("%w: %w", ErrCut, err)
	}
	if s.dropped >= 0 && s.nowDropped() > s.dropped {
		return hint.Add(fmt.Errorf("%w: its buffer for us grew over its client-output-buffer-limit for replicas", err),
			"raise client-output-buffer-limit replica on the node, or collect beside it: --collect agent or bgsave")
	}
	return hint.Add(err, "look at the node's log: it ended, its save failed, or it dropped us for being slow (client-output-buffer-limit replica)")
}
