package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// tunnel leads to a Unix socket in a folder: the only way into a sandbox that has
// no network. This process takes it with dial; other programs, such as a client with
// which a person looks around, by a TCP address on this machine's loopback. Who may use
// it is decided by the node's password.
type tunnel struct {
	listener net.Listener
	folder   *os.File
	socket   string

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
	wait   sync.WaitGroup
}

// tunnelDialLimit bounds connecting to the socket. It is on this machine: what
// takes longer is not there.
const tunnelDialLimit = 5 * time.Second

const tunnelRetry = 50 * time.Millisecond

// openTunnel listens on a free port for the socket of the given name, which
// need not be there yet. The caller closes the tunnel.
func openTunnel(ctx context.Context, dir, socket string) (*tunnel, error) {
	// A Unix socket's path has room for 107 bytes, which a temporary folder can
	// exceed. By way of the open folder it is always short.
	handle, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open socket folder: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for a node: %w", err), handle.Close())
	}
	t := &tunnel{listener: listener, folder: handle, socket: socket, open: map[net.Conn]struct{}{}}
	t.wait.Go(t.accept)
	return t, nil
}

// addr is where the tunnel listens, "127.0.0.1:40001".
func (t *tunnel) addr() string { return t.listener.Addr().String() }

// path is the socket's short path, for as long as the tunnel is open.
func (t *tunnel) path() string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", t.folder.Fd()), t.socket)
}

// dial connects to the socket: every byte then goes through the kernel once, and not
// by loopback, this process and the socket. The caller closes the connection.
func (t *tunnel) dial(ctx context.Context) (net.Conn, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, net.ErrClosed
	}
	t.wait.Add(1) // the folder stays open meanwhile: its number is in the path
	t.mu.Unlock()
	defer t.wait.Done()
	return (&net.Dialer{Timeout: tunnelDialLimit}).DialContext(ctx, "unix", t.path())
}

// probe tells whether anybody listens at the socket, and lets this user in.
func (t *tunnel) probe(ctx context.Context) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// accept serves connections until the listener is closed.
func (t *tunnel) accept() {
	for {
		outer, err := t.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The one connection failed, not the listener: out of file
			// descriptors, for instance. Asking again at once would only spin.
			<-time.After(tunnelRetry)
			continue
		}
		t.wait.Go(func() { t.serve(outer) })
	}
}

// serve joins one connection to the socket until both directions have ended.
func (t *tunnel) serve(outer net.Conn) {
	defer t.forget(outer)
	if !t.keep(outer) {
		return
	}
	inner, err := net.DialTimeout("unix", t.path(), tunnelDialLimit)
	if err != nil {
		return // the client sees its connection closed: nobody is at home
	}
	defer t.forget(inner)
	if !t.keep(inner) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pipe(inner, outer) })
	both.Go(func() { pipe(outer, inner) })
	both.Wait()
}

// pipe copies one direction and passes its end on: a half-closed connection
// stays half open, as it would without the tunnel.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close()
		_ = from.Close()
	}
}

// keep remembers a connection for close; false means the tunnel is closed.
func (t *tunnel) keep(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.open[conn] = struct{}{}
	}
	return !t.closed
}

func (t *tunnel) forget(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
	_ = conn.Close()
}

// close ends the listener and every connection, and waits for them.
func (t *tunnel) close() error {
	err := t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for conn := range t.open {
		_ = conn.Close()
	}
	t.mu.Unlock()
	t.wait.Wait()
	return errors.Join(err, t.folder.Close())
}
