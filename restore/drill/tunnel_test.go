package drill

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTunnel(t *testing.T) {
	// Longer than a Unix socket's path may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tunnel, err := openTunnel(t.Context(), dir, "socket")
	if err != nil {
		t.Fatal(err)
	}
	if tunnel.probe(t.Context()) == nil {
		t.Error("somebody listens before anybody does")
	}
	early, err := net.Dial("tcp", tunnel.addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := early.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to nobody gave a byte")
	}

	server, err := net.Listen("unix", tunnel.path())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := tunnel.probe(t.Context()); err != nil {
		t.Error(err)
	}
	if probe, err := server.Accept(); err == nil {
		probe.Close()
	}

	// This process goes straight to the socket, which knows of no tunnel then.
	straight, err := tunnel.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer straight.Close()
	if direct, err := server.Accept(); err != nil || straight.RemoteAddr().Network() != "unix" {
		t.Errorf("dialed %s, %v", straight.RemoteAddr(), err)
	} else {
		direct.Close()
	}

	// Half-close: the request ends, the answer still comes, both whole.
	client, err := net.Dial("tcp", tunnel.addr())
	if err != nil {
		t.Fatal(err)
	}
	inner, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = client.Write(body)
		_ = client.(*net.TCPConn).CloseWrite()
	}()
	request, err := io.ReadAll(inner)
	if err != nil || !bytes.Equal(request, body) {
		t.Fatalf("request of %d bytes, %v; want %d", len(request), err, len(body))
	}
	go func() {
		_, _ = inner.Write(body)
		_ = inner.Close()
	}()
	if answer, err := io.ReadAll(client); err != nil || !bytes.Equal(answer, body) {
		t.Fatalf("answer of %d bytes, %v; want %d", len(answer), err, len(body))
	}

	// Closing ends what is open.
	idle, err := net.Dial("tcp", tunnel.addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := tunnel.close(); err != nil {
		t.Error(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the tunnel")
	}
	if _, err := net.Dial("tcp", tunnel.addr()); err == nil {
		t.Error("the tunnel still listens")
	}
	if conn, err := tunnel.dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialed %v, %v through a closed tunnel", conn, err)
	}
}
