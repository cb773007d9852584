package cluster_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
)

const password = "correct horse"

// closedPort is an address of this machine where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// silent is an address that takes connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String() // the kernel's backlog accepts
}

// standalone starts one server that is not part of a cluster.
func standalone(t *testing.T, o redisproc.Options) *redisproc.Process {
	t.Helper()
	o.Dir = t.TempDir()
	o.Args = append(o.Args, "--save", "")
	p, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// checkError checks the one line a person reads: its kind, its words, a hint,
// and that no password is in it.
func checkError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v is not %q", err, kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wrong one") {
		t.Errorf("%q holds a password or a line end", err)
	}
	if len(hint.Of(err)) == 0 {
		t.Errorf("%q carries no hint", err)
	}
}

func TestNodeErrors(t *testing.T) {
	server := standalone(t, redisproc.Options{Password: password, Config: []string{"user reader on >" + "reader-password" + " ~* -@all +ping"}})
	closed, mute := closedPort(t), silent(t)
	cases := map[string]struct {
		access cluster.Access
		addr   string
		args   []any
		kind   error
		words  []string
	}{
		"refused":          {cluster.Access{}, closed, []any{"PING"}, cluster.ErrUnreachable, []string{"connect to " + closed, "connection refused"}},
		"through NAT":      {cluster.Access{NAT: cluster.NAT{"10.0.0.1:6379": closed}}, "10.0.0.1:6379", []any{"PING"}, cluster.ErrUnreachable, []string{"connect to 10.0.0.1:6379 (through " + closed + ")"}},
		"silent":           {cluster.Access{Timeout: 100 * time.Millisecond}, mute, []any{"PING"}, cluster.ErrUnreachable, []string{"no answer within 100ms"}},
		"silent with AUTH": {cluster.Access{Timeout: 100 * time.Millisecond, Password: password}, mute, []any{"PING"}, cluster.ErrUnreachable, []string{"no answer within 100ms"}},
		"no such name":     {cluster.Access{Timeout: 3 * time.Second}, "host.invalid:6379", []any{"PING"}, cluster.ErrUnreachable, []string{"host.invalid"}},
		"no password":      {cluster.Access{}, server.Addr(), []any{"PING"}, cluster.ErrAuth, []string{"the server wants a password"}},
		"wrong password":   {cluster.Access{Password: "wrong one"}, server.Addr(), []any{"PING"}, cluster.ErrAuth, []string{"authenticate on " + server.Addr() + " as default: the server refused the password"}},
		"unknown user":     {cluster.Access{Username: "nobody", Password: password}, server.Addr(), []any{"PING"}, cluster.ErrAuth, []string{"as nobody"}},
		"not allowed":      {cluster.Access{Username: "reader", Password: "reader-password"}, server.Addr(), []any{"CONFIG", "GET", "requirepass"}, cluster.ErrAuth, []string{"run CONFIG GET on", "as reader", "does not allow"}},
		"no cluster":       {cluster.Access{Password: password}, server.Addr(), []any{"CLUSTER", "NODES"}, cluster.ErrNotCluster, []string{"does not run in cluster mode"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			node := c.access.Open(c.addr)
			defer func() { _ = node.Close() }()
			_, err := node.Do(t.Context(), c.args...)
			checkError(t, err, c.kind, c.words...)
			_, err = node.Pipeline(t.Context(), [][]any{c.args, c.args})
			checkError(t, err, c.kind, c.words...)
			if c.args[0] == "PING" {
				_, _, err = c.access.Dial(t.Context(), c.addr)
				if name != "no password" && name != "silent" { // raw: nothing was asked yet
					checkError(t, err, c.kind, c.words...)
				}
			}
		})
	}
}

// late is a context whose timer runs after its deadline, as on a machine that is busy.
type late struct {
	context.Context
	deadline time.Time
}

func (l late) Deadline() (time.Time, bool) { return l.deadline, true }

// A command that its connection's deadline ends leaves a context that is over: who asks
// for its cause finds it.
func TestDeadlineIsTheContexts(t *testing.T) {
	node := (&cluster.Access{}).Open(silent(t))
	defer func() { _ = node.Close() }()
	const limit, delay = 100 * time.Millisecond, 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit+delay)
	defer cancel()
	_, err := node.Do(late{ctx, time.Now().Add(limit)}, "PING")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cluster.ErrUnreachable) || ctx.Err() == nil {
		t.Errorf("got %v, and the context has ended by %v", err, ctx.Err())
	}
}

// A password against a server that has none is refused in words of their own.
func TestPasswordNotWanted(t *testing.T) {
	server := standalone(t, redisproc.Options{})
	node := (&cluster.Access{Password: password}).Open(server.Addr())
	defer func() { _ = node.Close() }()
	checkError(t, node.Ping(t.Context()), cluster.ErrAuth, "has no password set")
}

// The server repeats the arguments of a command it does not know.
func TestServerErrorHidesPassword(t *testing.T) {
	server := standalone(t, redisproc.Options{Password: password})
	node := (&cluster.Access{Password: password}).Open(server.Addr())
	defer func() { _ = node.Close() }()
	_, err := node.Do(t.Context(), "NOSUCH", password)
	var refused cluster.ServerError
	if !errors.As(err, &refused) || !refused.IsUnknownCommand() || strings.Contains(err.Error()+refused.Error(), password) {
		t.Errorf("got %v", err)
	}
}

func TestNodeCommands(t *testing.T) {
	server := standalone(t, redisproc.Options{Password: password, Args: []string{"--cluster-enabled", "yes"}})
	node := (&cluster.Access{Password: password}).Open(server.Addr())
	defer func() { _ = node.Close() }()
	ctx := t.Context()
	if err := node.Ping(ctx); err != nil {
		t.Error(err)
	}
	if now, err := node.Time(ctx); err != nil || clock.Since(now).Abs() > time.Minute {
		t.Error(now, err)
	}
	if info, err := node.Info(ctx, "server"); err != nil || info.Int("process_id") != int64(server.PID()) {
		t.Error(info, err)
	}
	if _, err := node.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", 0, 16383); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, 10*time.Second, func(ctx context.Context) error {
		_, err := node.Do(ctx, "SET", "foo", "bar") // slot 12182
		return err
	})
	all := make([]int, 16384)
	for i := range all {
		all[i] = i
	}
	counts, err := node.CountKeysInSlots(ctx, all)
	if err != nil || len(counts) != len(all) || counts[12182] != 1 || counts[0] != 0 {
		t.Errorf("%d counts, %v", len(counts), err)
	}
	if missing, err := node.Do(ctx, "GET", "{foo}none"); missing != nil || err != nil {
		t.Errorf("a missing key gives %v, %v", missing, err)
	}
	if text, err := node.Text(ctx, "GET", "{foo}none"); text != "" || err != nil {
		t.Errorf("a missing key gives %q, %v", text, err)
	}
	if _, err := node.Int(ctx, "GET", "foo"); err == nil {
		t.Error("a string passed for an integer")
	}
	// One failing command does not hide the others' replies.
	replies, err := node.Pipeline(ctx, [][]any{{"GET", "foo"}, {"LPUSH", "foo", "x"}, {"GET", "foo"}})
	if !cluster.IsCode(err, "WRONGTYPE") || replies[0] != "bar" || replies[2] != "bar" {
		t.Errorf("got %v, %v", replies, err)
	}
}

// TestConnect: a node is reached by the way that is given, whatever its address.
func TestConnect(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	standalone(t, redisproc.Options{Password: password, Args: []string{"--unixsocket", socket}})
	const announced = "192.0.2.1:6379" // leads nowhere (RFC 5737)
	access := &cluster.Access{Password: password, NAT: cluster.NAT{announced: closedPort(t)},
		Connect: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr != announced {
				return nil, errors.New("there is no such node")
			}
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
	node := access.Open(announced)
	defer func() { _ = node.Close() }()
	if err := node.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	conn, reader, err := access.Dial(t.Context(), announced)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(cluster.AppendCommand(nil, "PING")); err != nil {
		t.Fatal(err)
	}
	if reply, err := cluster.ReadReply(reader); reply != "PONG" {
		t.Errorf("PING is answered with %v, %v", reply, err)
	}
	if !access.Accepts(t.Context(), announced) || access.Accepts(t.Context(), "192.0.2.2:6379") {
		t.Error("who accepts connections is not who can be reached")
	}
	other := access.Open("192.0.2.2:6379")
	defer func() { _ = other.Close() }()
	checkError(t, other.Ping(t.Context()), cluster.ErrUnreachable, "192.0.2.2:6379: there is no such node")
}

// A cancelled context ends a read that would otherwise block for ever.
func TestDialCancel(t *testing.T) {
	server := standalone(t, redisproc.Options{Password: password})
	ctx, cancel := context.WithCancel(t.Context())
	conn, reader, err := (&cluster.Access{Password: password}).Dial(ctx, server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(cluster.AppendCommand(nil, "PING")); err != nil {
		t.Fatal(err)
	}
	if reply, err := cluster.ReadReply(reader); reply != "PONG" || err != nil {
		t.Fatal(reply, err)
	}
	blocked := make(chan error, 1)
	go func() {
		_, err := reader.ReadByte()
		blocked <- err
	}()
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("the blocked read gave %v", err)
	}
	// Renewing the deadline does not revive it.
	if err := conn.SetReadDeadline(clock.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("a new deadline gave %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("the next read gave %v", err)
	}
}

// A cancelled context ends the wait for a server that takes the connection and
// says nothing.
func TestConnectCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := clock.Now()
	_, _, err := (&cluster.Access{Password: password, Timeout: time.Minute}).Dial(ctx, silent(t))
	if !errors.Is(err, context.DeadlineExceeded) || clock.Since(started) > 5*time.Second {
		t.Errorf("got %v after %s", err, clock.Since(started))
	}
}

func TestTLS(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Primaries: 3, Replicas: 1, TLS: true, Password: password})
	ctx, addr := t.Context(), c.Addrs()[0]
	topology, err := cluster.Discover(ctx, c.Access(), []string{addr})
	if err != nil || len(topology.Shards) != 3 || topology.Shards[0].Primary.Addr != addr {
		t.Fatalf("%+v, %v", topology, err)
	}
	conn, reader, err := c.Access().Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(cluster.AppendCommand(nil, "PING")); err != nil {
		t.Fatal(err)
	}
	if reply, err := cluster.ReadReply(reader); reply != "PONG" || err != nil {
		t.Fatal(reply, err)
	}

	plain := standalone(t, redisproc.Options{})
	ca, cert, key := c.CertFiles()
	load := func(files cluster.TLSFiles) cluster.Access {
		config, err := cluster.LoadTLS(files)
		if err != nil {
			t.Fatal(err)
		}
		return cluster.Access{TLS: config, Password: password, Timeout: 2 * time.Second}
	}
	cases := map[string]struct {
		access      cluster.Access
		addr        string
		words, hint string
	}{
		"plain to a TLS port":                {cluster.Access{Timeout: 2 * time.Second}, addr, "", "TLS"},
		"plain to a TLS port, with password": {cluster.Access{Password: password, Timeout: 2 * time.Second}, addr, "", "TLS"},
		"TLS to a plain port":                {load(cluster.TLSFiles{CA: ca}), plain.Addr(), "with TLS: no answer", "does not speak TLS"},
		"authority not trusted":              {load(cluster.TLSFiles{Cert: cert, Key: key}), addr, "not trusted", "CA"},
		"other name":                         {load(cluster.TLSFiles{CA: ca, ServerName: "other.example.com"}), addr, "other.example.com", "server name"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			node := tc.access.Open(tc.addr)
			defer func() { _ = node.Close() }()
			err := node.Ping(ctx)
			checkError(t, err, cluster.ErrUnreachable, tc.words)
			if hints := strings.Join(hint.Of(err), " "); !strings.Contains(hints, tc.hint) {
				t.Errorf("%v: the hint %q does not mention %q", err, hints, tc.hint)
			}
			t.Log(err)
		})
	}
	insecure := load(cluster.TLSFiles{InsecureSkipVerify: true})
	node := insecure.Open(addr)
	defer func() { _ = node.Close() }()
	if err := node.Ping(ctx); err != nil {
		t.Error(err)
	}
}
