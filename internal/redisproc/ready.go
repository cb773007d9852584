package redisproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
)

// tailLines is how much of a log an error quotes.
const tailLines = 12

// errLoading is a server that answers but still reads its data.
var errLoading = errors.New("it is still loading its data")

// errStranger is a server that answers in place of ours.
var errStranger = errors.New("another server answers on this port")

// awaitReady waits until the server answers and has loaded its data. The
// context alive ends with the server, and with it any question to whoever else
// may hold its port and never answers.
func (p *Process) awaitReady(ctx, alive context.Context) error {
	access := p.Access()
	access.Timeout = p.options.Timeout
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	heard := clock.Now()
	for {
		last := p.probe(alive, access)
		if last == nil {
			return nil
		}
		// Loading takes as long as the data is large: as long as the server
		// says so it is alive.
		if errors.Is(last, errLoading) {
			heard = clock.Now()
		}
		if clock.Since(heard) > p.options.Timeout {
			return p.failure(fmt.Errorf("not ready after %s: %w", p.options.Timeout, last))
		}
		select {
		case <-p.done:
			if strings.Contains(p.LogTail(tailLines), "ddress already in use") {
				return p.failure(errPortTaken)
			}
			return p.failure(errors.New("it ended while starting"))
		case <-ctx.Done():
			return p.failure(ctx.Err())
		case <-ticker.C:
		}
	}
}

// probe asks the server whether it is ready. INFO is answered while loading,
// and carries the process id: on a port that was free a moment ago, the one
// that answers may be somebody else's server.
func (p *Process) probe(ctx context.Context, access *cluster.Access) error {
	conn, reader, err := access.Dial(ctx, p.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(clock.Now().Add(p.options.Timeout)); err != nil {
		return err
	}
	info := cluster.Info{}
	for _, section := range []string{"server", "persistence"} {
		if _, err := conn.Write(cluster.AppendCommand(nil, "INFO", section)); err != nil {
			return err
		}
		reply, err := cluster.ReadReply(reader)
		if err != nil {
			return err
		}
		for field, value := range cluster.ParseInfo(fmt.Sprint(reply)) {
			info[field] = value
		}
	}
	switch {
	case info.Int("process_id") != int64(p.PID()):
		return errStranger
	case info.Int("loading") != 0:
		return errLoading
	}
	return nil
}

// failure is an error that quotes the log.
func (p *Process) failure(err error) error {
	err = fmt.Errorf("start server on %s: %w", p.Addr(), err)
	if tail := p.LogTail(tailLines); tail != "" {
		err = &logError{err, tail}
	}
	return err
}

// logError adds the end of the log to an error, on lines of its own.
type logError struct {
	error
	tail string
}

func (e *logError) Error() string { return e.error.Error() + "; the end of its log:\n" + e.tail }

func (e *logError) Unwrap() error { return e.error }

func joinHostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
