package redisproc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/cluster"
)

// Options describe a server to start. Dir is the only one that must be set.
type Options struct {
	Binary   string   // "" is what Find finds
	Dir      string   // the server's folder, made if missing: data, configuration, log
	Host     string   // the address to listen on; "" is 127.0.0.1
	Port     int      // 0 picks one that is free, as is its bus port
	Args     []string // further arguments: "--cluster-enabled", "yes"; no secrets
	Config   []string // further lines of the configuration file; may hold secrets
	Username string   // whom to ask as, while starting; "" is the default user
	Password string   // requirepass and masterauth
	TLS      *TLS     // nil speaks plain
	Announce Announce
	Detached bool          // it lives on when this process ends; on Linux it dies with it otherwise
	Timeout  time.Duration // until the server answers at all; loading has no limit but ctx; 0 is a minute
}

// TLS makes a server speak TLS only: to clients, replicas and on the bus.
type TLS struct {
	CA, Cert, Key string      // PEM files
	Client        *tls.Config // how to connect to it
}

// Announce is what a cluster node tells the others of its address; zero
// values leave it to the node.
type Announce struct {
	Host          string
	Port, BusPort int
}

const (
	defaultTimeout = time.Minute
	// stopLimit is how long a server may take to save and leave after SIGTERM,
	// and its children after SIGKILL.
	stopLimit = 10 * time.Second
	// portTries is how often a picked port may turn out to be taken by then.
	portTries = 10
	// pollPause is the pause between two looks at a server that is starting.
	pollPause = 10 * time.Millisecond
)

// Process is one running server.
type Process struct {
	options Options
	port    int
	command *exec.Cmd
	output  *os.File
	done    chan struct{} // closed once the child is reaped
	alone   chan struct{} // closed once its own children, which save for it, have ended too
}

// errPortTaken is a server that ended because its port was in use.
var errPortTaken = errors.New("address already in use")

// IsPortTaken tells whether a server did not start because something else
// listens on its port or its bus port.
func IsPortTaken(err error) bool { return errors.Is(err, errPortTaken) }

// Start starts a server and waits until it answers and has loaded its data.
// The error of a server that does not come up carries the end of its log. When
// ctx is done before, the server is killed.
func Start(ctx context.Context, o Options) (*Process, error) {
	var err error
	if o.Binary == "" {
		if o.Binary, err = Find(); err != nil {
			return nil, err
		}
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	// The server changes into its folder and reads relative paths from there.
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	for try := 1; ; try++ {
		port := o.Port
		if port == 0 {
			ports, err := FreePorts(o.Host, 1)
			if err != nil {
				return nil, fmt.Errorf("start server: %w", err)
			}
			port = ports[0]
		}
		p, err := launch(ctx, o, port)
		if err == nil || o.Port != 0 || !errors.Is(err, errPortTaken) || try == portTries {
			return p, err
		}
	}
}

// launch starts a server on one port and waits until it is ready.
func launch(ctx context.Context, o Options, port int) (*Process, error) {
	config, err := writeConfig(o, port)
	if err != nil {
		return nil, fmt.Errorf("start server in %s: %w", o.Dir, err)
	}
	// Before it has read its configuration a server complains on its standard
	// output; both ends of the story belong into one file.
	log := filepath.Join(o.Dir, logName)
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("start server: %w", err)
	}
	output, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	command := exec.Command(o.Binary, append([]string{config}, o.Args...)...)
	command.Dir = o.Dir
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = attributes(o.Detached)
	p := &Process{options: o, port: port, command: command, output: output, done: make(chan struct{}), alone: make(chan struct{})}
	if err := p.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", o.Binary, err), output.Close())
	}
	alive, died := context.WithCancel(ctx)
	go func() {
		// How a server ended is in its log; that it ended is all there is to
		// know here. Kill and Stop wait for this goroutine.
		_ = command.Wait()
		_ = output.Close()
		close(p.done)
		died()
	}()
	if err := p.awaitReady(ctx, alive); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// start starts the server with the end of a pipe that its children inherit and
// nobody writes to: it is at its end once the last of them all has ended.
func (p *Process) start() error {
	life, held, err := os.Pipe()
	if err != nil {
		return err
	}
	p.command.ExtraFiles = []*os.File{held}
	err = start(p.command)
	_ = held.Close()
	if err != nil {
		_ = life.Close()
		return err
	}
	go func() {
		_, _ = life.Read(make([]byte, 1))
		_ = life.Close()
		close(p.alone)
	}()
	return nil
}

// Addr is "host:port", for clients.
func (p *Process) Addr() string { return joinHostPort(p.options.Host, p.port) }

// Port is the port for clients.
func (p *Process) Port() int { return p.port }

// Dir is the server's folder, absolute.
func (p *Process) Dir() string { return p.options.Dir }

// PID is the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed once the server has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Access is how to connect to this server.
func (p *Process) Access() *cluster.Access {
	access := &cluster.Access{Username: p.options.Username, Password: cluster.Secret(p.options.Password)}
	if p.options.TLS != nil {
		access.TLS = p.options.TLS.Client
	}
	return access
}

// Stop ends the server in order: SIGTERM, upon which it saves if it has save
// points, and after ten seconds, or when ctx is done, SIGKILL. It returns once
// the server is gone, and its children; a server that is gone already is no error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.Kill())
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return p.Kill()
}

// Kill ends the server at once, as a crash would, and waits until it is gone.
// The children that save for it end with it: left alone they go on to write into
// its folder.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	select {
	case <-p.alone:
		return nil
	default:
	}
	// Some child is left, so the group's number is still the server's own.
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the children of server %s: %w", p.Addr(), err)
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.alone:
		return nil
	case <-timer.C:
		return fmt.Errorf("server %s has ended, but a child of it has not after %s: look for what still writes into %s", p.Addr(), stopLimit, p.Dir())
	}
}

func (p *Process) signal(s syscall.Signal) error {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to server %s: %w", s, p.Addr(), err)
	}
	return nil
}

// LogTail returns the last lines of the server's log, without the password,
// which a server repeats when it rejects the line that holds it.
func (p *Process) LogTail(lines int) string {
	text, err := os.ReadFile(filepath.Join(p.options.Dir, logName))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	tail := strings.Join(all[max(0, len(all)-lines):], "\n")
	if p.options.Password == "" {
		return tail
	}
	// As it is, and as the configuration file spells it.
	tail = strings.ReplaceAll(tail, quote(p.options.Password), "[secret]")
	return strings.ReplaceAll(tail, p.options.Password, "[secret]")
}
