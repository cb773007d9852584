package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/preflight"
)

// Options are an agent's.
type Options struct {
	Files   Files
	Version string // "slotark 0.1.0"
	Allow   Allow
	// Open makes what one job needs, from the agent's own settings as they are now:
	// passwords rotate.
	Open func(ctx context.Context, o snapshot.Order) (*Workshop, error)
	// Look looks at a node as Open's workshop would find it.
	Look func(ctx context.Context, node string, aof bool) ([]preflight.Finding, error)
	// Hosts are the nodes that may be restored, by their addresses.
	Hosts  map[string]restore.Host
	Grace  time.Duration // 0 is DefaultGrace
	Logger *slog.Logger
}

const (
	// lingering is how long a settled job is remembered, for a coordinator that
	// missed the answer.
	lingering = 10 * time.Minute
	// parallel is how many shards are captured at once: each has parts of an object
	// in memory.
	parallel = 3
	// drainLimit is how long jobs under way may take to come to an end when the
	// agent is stopped; after it they are aborted.
	drainLimit = 30 * time.Second
	// closeLimit bounds the end of connections.
	closeLimit = 5 * time.Second
	// headerLimit bounds the beginning of a request.
	headerLimit = 15 * time.Second
)

// Server is an agent.
type Server struct {
	Options
	ctx  context.Context // of all jobs
	halt context.CancelCauseFunc
	room chan struct{} // holds a token for each shard that is captured

	mu       sync.Mutex
	jobs     map[string]*job
	nodes    map[string]chan struct{} // node address → a lock: one token
	stopping bool
	working  sync.WaitGroup
}

// NewServer makes an agent. Its jobs live until Serve ends.
func NewServer(o Options) *Server {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	return &Server{Options: o, room: make(chan struct{}, parallel), jobs: map[string]*job{}, nodes: map[string]chan struct{}{}}
}

// Serve works until ctx ends, then lets what is under way come to its end within a
// bound, and aborts the rest.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.ctx, s.halt = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.halt(nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+healthPath, s.health)
	mux.HandleFunc("GET "+nodesPath+"{node}", s.look)
	mux.HandleFunc("POST "+jobsPath+"{id}", s.attend)
	mux.HandleFunc("POST "+restoresPath+"{node}/{action}", s.restore)
	server := &http.Server{
		Handler: s.versioned(mux), TLSConfig: s.Files.serverTLS(), ReadHeaderTimeout: headerLimit,
		ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
		// Requests end with the server's own context, not with a signal.
		BaseContext: func(net.Listener) context.Context { return s.ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-failed:
		s.halt(err)
		s.working.Wait()
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.drain()
	closing, cancel := context.WithTimeout(s.ctx, closeLimit)
	defer cancel()
	err := server.Shutdown(closing)
	if err != nil { // somebody is still connected, and sees that we are gone
		err = server.Close()
	}
	<-failed
	return err
}

// drain waits for the jobs, and ends those that take too long.
func (s *Server) drain() {
	s.mu.Lock()
	s.stopping = true
	left := s.unsettled()
	s.mu.Unlock()
	s.Logger.Info("stopping", "jobs", left, "limit", drainLimit)
	done := make(chan struct{})
	go func() {
		s.working.Wait()
		close(done)
	}()
	timer := time.NewTimer(drainLimit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.halt(ErrStopping)
		<-done // each is bounded: a cancelled capture, and the removal of its objects
	}
}

// unsettled counts jobs that may still change the stores.
func (s *Server) unsettled() int {
	n := 0
	for _, j := range s.jobs {
		if !j.ended() {
			n++
		}
	}
	return n
}

// versioned answers only those who speak the same version.
func (s *Server) versioned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(protocolHeader, strconv.Itoa(Protocol))
		if spoken := r.Header.Get(protocolHeader); spoken != strconv.Itoa(Protocol) {
			s.refuse(w, r, http.StatusBadRequest, hint.Add(fmt.Errorf("%w: the agent (%s) speaks version %d of the protocol, the coordinator %q",
				ErrProtocol, s.Version, Protocol, spoken), sameBuild))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with a failure.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.Logger.Warn("refused", "client", client(r), "path", r.URL.Path, "error", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = writeLine(w, failureOf(err)) // who has gone needs no answer
}

// client is who asks, as the certificate says.
func client(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return r.RemoteAddr
	}
	return r.TLS.PeerCertificates[0].Subject.CommonName + " at " + r.RemoteAddr
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	h := health{Protocol: Protocol, Version: s.Version, Cluster: s.Allow.Cluster, Nodes: s.Allow.Nodes, Jobs: s.unsettled(), Stopping: s.stopping}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h)
}

// look looks at a node, and answers what was found there.
func (s *Server) look(w http.ResponseWriter, r *http.Request) {
	node, query := r.PathValue("node"), r.URL.Query()
	if err := s.Allow.checkNode(query.Get("cluster"), node); err != nil {
		s.refuse(w, r, http.StatusForbidden, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	found, err := s.Look(ctx, node, query.Has("aof"))
	if err != nil {
		s.refuse(w, r, http.StatusBadGateway, err)
		return
	}
	answer := look{Findings: []finding{}}
	for _, f := range found {
		told := finding{Code: f.Code, Severity: f.Severity, Detail: f.Detail, Advice: f.Advice}
		if len(f.Nodes) == 0 {
			told.Subject = f.Subject
		}
		answer.Findings = append(answer.Findings, told)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

var jobPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// attend is one connection for a job.
func (s *Server) attend(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !jobPattern.MatchString(id) {
		s.refuse(w, r, http.StatusBadRequest, fmt.Errorf("%w: %q is no id of a job", ErrProtocol, id))
		return
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(clock.Now().Add(silence)); err != nil {
		s.refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	in := newLines(r.Body)
	var first opening
	if err := in.next(&first); err != nil {
		s.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	j, err := s.take(id, first, client(r))
	if err != nil {
		status := http.StatusForbidden
		if errors.Is(err, ErrUnknownJob) {
			status = http.StatusNotFound
		}
		s.refuse(w, r, status, err)
		return
	}
	c := &connection{job: j, out: w, control: control, in: in, body: r.Body}
	if err := c.serve(r.Context()); err != nil && !j.ended() {
		s.Logger.Info("connection lost", "job", id, "client", client(r), "error", err)
	}
}

// take finds the job of an id, or begins it.
func (s *Server) take(id string, first opening, client string) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		return j, nil
	}
	if first.Resume {
		return nil, hint.Add(fmt.Errorf("%w: it was restarted since, or has given the job up", ErrUnknownJob), "the agent's log says what happened; take the snapshot again")
	}
	if s.stopping {
		return nil, ErrStopping
	}
	if err := s.Allow.check(first.Order, clock.Now()); err != nil {
		return nil, err
	}
	j := newJob(s, id, first.Order)
	s.jobs[id] = j
	s.Logger.Info("job begun", "job", id, "client", client, "cluster", j.order.Cluster, "snapshot", j.order.Snapshot,
		"shard", j.order.Shard.Slots.String(), "node", j.order.Source.Addr, "attempt", j.order.Attempt)
	s.working.Go(j.run)
	time.AfterFunc(s.Grace, j.watch)
	return j, nil
}

// forget removes a job that has been settled for a while.
func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, id)
}

// lock is the one token of a node.
func (s *Server) lock(node string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	lock := s.nodes[node]
	if lock == nil {
		lock = make(chan struct{}, 1)
		s.nodes[node] = lock
	}
	return lock
}

// connection is one coordinator's, for one job.
type connection struct {
	job     *job
	out     http.ResponseWriter
	control *http.ResponseController
	in      *lines
	body    io.Closer
}

// serve says the job's state and hears words until either side ends it, or another
// connection takes its place.
func (c *connection) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer c.job.attach(end)()
	heard := make(chan error, 1)
	go func() { heard <- c.hear() }()
	defer func() {
		// The reader is woken, and has ended when we return.
		_ = c.control.SetReadDeadline(clock.Now())
		_ = c.body.Close()
		<-heard
	}()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		now, changed := c.job.look()
		if err := c.say(now); err != nil {
			return err
		}
		select {
		case err := <-heard:
			heard <- err
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

func (c *connection) say(now state) error {
	if err := c.control.SetWriteDeadline(clock.Now().Add(silence)); err != nil {
		return err
	}
	if err := writeLine(c.out, now); err != nil {
		return err
	}
	return c.control.Flush()
}

// hear takes words until the connection ends, or is silent for too long.
func (c *connection) hear() error {
	for {
		if err := c.control.SetReadDeadline(clock.Now().Add(silence)); err != nil {
			return err
		}
		var w word
		if err := c.in.next(&w); err != nil {
			return err
		}
		c.job.hear(w)
	}
}
