package s3_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes TCP connections on to a server, with one fault.
func proxy(t *testing.T, server string, handle func(client, server net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		wait.Wait()
	})
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the listener was closed
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			t.Cleanup(func() { _, _ = client.Close(), upstream.Close() })
			wait.Go(func() { handle(client, upstream) })
		}
	})
	return listener.Addr().String()
}

// cuttingProxy closes every connection after so many bytes of answers.
func cuttingProxy(t *testing.T, server string, after int64) string {
	return proxy(t, server, func(client, upstream net.Conn) {
		go func() { _, _ = io.Copy(upstream, client) }()
		_, _ = io.CopyN(client, upstream, after)
		_, _ = client.Close(), upstream.Close()
	})
}

type swallower struct {
	address   string
	swallowed atomic.Bool
}

// swallowingProxy passes on the request that begins with mark, reads the
// server's answer to it and hangs up, once.
func swallowingProxy(t *testing.T, server, mark string) *swallower {
	s := &swallower{}
	s.address = proxy(t, server, func(client, upstream net.Conn) {
		var armed atomic.Bool
		go func() {
			buffer := make([]byte, 64<<10)
			for {
				n, err := client.Read(buffer)
				if bytes.HasPrefix(buffer[:n], []byte(mark)) {
					armed.Store(true)
				}
				if _, writeErr := upstream.Write(buffer[:n]); err != nil || writeErr != nil {
					_ = upstream.Close()
					return
				}
			}
		}()
		buffer := make([]byte, 64<<10)
		for {
			n, err := upstream.Read(buffer)
			interim := bytes.HasPrefix(buffer[:n], []byte("HTTP/1.1 100"))
			if armed.Load() && n > 0 && !interim && s.swallowed.CompareAndSwap(false, true) {
				break
			}
			if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
				break
			}
		}
		_, _ = client.Close(), upstream.Close()
	})
	return s
}
