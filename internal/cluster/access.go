package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Access is how the nodes of one cluster are reached. It is read, never
// changed, once it is in use; so one value serves any number of goroutines.
type Access struct {
	Username string // "" is the default user
	Password Secret // "" sends no AUTH
	TLS      *tls.Config
	NAT      NAT
	Timeout  time.Duration // for a dial and for each command; 0 is 5 seconds

	// Connect connects to the node that announces addr, where there is a nearer way to
	// it than TCP to the address that NAT gives. It ends with ctx. nil: there is none.
	Connect func(ctx context.Context, addr string) (net.Conn, error)
}

const defaultTimeout = 5 * time.Second

func (a *Access) timeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return defaultTimeout
}

// User is the name under which the server knows us: "default" where none was
// given.
func (a *Access) User() string {
	if a.Username == "" {
		return "default"
	}
	return a.Username
}

// Local tells whether the node that announces addr is reached at an address of
// this machine: through a tunnel or a mapped port it may still run elsewhere.
func (a *Access) Local(addr string) bool {
	host, _, err := net.SplitHostPort(a.NAT.reach(addr))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	own, err := net.InterfaceAddrs()
	if ip == nil || err != nil {
		return host == "localhost"
	}
	return ip.IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && network.IP.Equal(ip)
	})
}

// Dial opens a raw connection to the node at addr, authenticated and, where
// Access.TLS is set, encrypted. It carries no deadline: how long a replication
// stream may be silent is for the caller to say, with SetReadDeadline.
//
// While ctx lives the connection works as any other. When ctx is done, a
// blocked Read or Write returns at once with ctx's error, and so does every
// later one. The caller must Close the connection in any case: that also ends
// the watch on ctx.
func (a *Access) Dial(ctx context.Context, addr string) (net.Conn, *bufio.Reader, error) {
	raw, err := a.connect(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	conn := &boundConn{Conn: raw, ctx: ctx}
	conn.unwatch = context.AfterFunc(ctx, conn.expire)
	return conn, bufio.NewReaderSize(conn, 64<<10), nil
}

// Accepts tells whether somebody takes connections at addr, within the timeout. A
// server that hangs does, by its kernel, and answers nothing.
func (a *Access) Accepts(ctx context.Context, addr string) bool {
	limited, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	conn, err := a.reach(limited, addr)
	return err == nil && conn.Close() == nil
}

// reach connects, and says nothing yet.
func (a *Access) reach(ctx context.Context, addr string) (net.Conn, error) {
	if a.Connect != nil {
		return a.Connect(ctx, addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", a.NAT.reach(addr))
}

// connect dials, shakes hands and authenticates within the timeout.
func (a *Access) connect(ctx context.Context, addr string) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	conn, err := a.reach(limited, addr)
	if err != nil {
		return nil, a.explainDial(ctx, addr, err)
	}
	// The handshakes below block in Read: a cancel must reach them too.
	bound := &boundConn{Conn: conn, ctx: limited}
	bound.unwatch = context.AfterFunc(limited, bound.expire)
	established, err := a.establish(limited, addr, bound)
	if err != nil {
		_ = bound.Close()
		return nil, a.explainDial(ctx, addr, err)
	}
	// A watch that had already begun may still set its deadline: such a
	// connection is unusable, and ctx's error says why.
	if !bound.unwatch() {
		_ = bound.Close()
		return nil, a.explainDial(ctx, addr, limited.Err())
	}
	bound.release()
	if established == net.Conn(bound) {
		return conn, nil // the bare socket, which go-redis can check for life
	}
	return established, nil
}

// establish makes a dialed connection ready for commands: TLS, then AUTH.
func (a *Access) establish(ctx context.Context, addr string, dialed net.Conn) (net.Conn, error) {
	conn := dialed
	if a.TLS != nil {
		config := a.TLS.Clone()
		if config.ServerName == "" {
			// The announced host, not the one a NAT entry dials: the
			// certificate proves the node, not the way to it.
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secured := tls.Client(dialed, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, &handshakeError{err}
		}
		conn = secured
	}
	if a.Password == "" {
		return conn, nil
	}
	args := []any{"AUTH", a.Password.Reveal()}
	if a.Username != "" {
		args = []any{"AUTH", a.Username, a.Password.Reveal()}
	}
	if _, err := conn.Write(AppendCommand(nil, args...)); err != nil {
		return nil, err
	}
	// The server says nothing it was not asked for, so nothing past this one
	// reply can be left behind in the reader.
	if _, err := ReadReply(bufio.NewReader(conn)); err != nil {
		return nil, err
	}
	return conn, nil
}

// boundConn is a connection whose reads and writes end with a context.
type boundConn struct {
	net.Conn
	unwatch func() bool

	mu  sync.Mutex
	ctx context.Context // nil once released
}

// expire runs when ctx is done: a deadline in the past wakes a blocked call.
func (c *boundConn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx != nil {
		_ = c.Conn.SetDeadline(time.Unix(1, 0))
	}
}

// release lets the connection outlive its context.
func (c *boundConn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = nil
}

func (c *boundConn) done() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		return nil
	}
	return c.ctx.Err()
}

func (c *boundConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.cause(err)
}

func (c *boundConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.cause(err)
}

// cause names ctx as what ended a call, where it was that.
func (c *boundConn) cause(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if done := c.done(); done != nil {
			return done
		}
	}
	return err
}

func (c *boundConn) Close() error {
	c.unwatch()
	return c.Conn.Close()
}

func (c *boundConn) SetDeadline(t time.Time) error      { return c.extend(c.Conn.SetDeadline, t) }
func (c *boundConn) SetReadDeadline(t time.Time) error  { return c.extend(c.Conn.SetReadDeadline, t) }
func (c *boundConn) SetWriteDeadline(t time.Time) error { return c.extend(c.Conn.SetWriteDeadline, t) }

// extend sets a deadline unless ctx is done: a caller that renews its deadline
// between reads must not undo the cancellation.
func (c *boundConn) extend(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return set(t)
}
