package s3test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// Proxy stands before the server and shows each request to see, which returns
// true where it has answered itself. It ends with the test. The result is a
// server at the proxy's endpoint.
func (s *Server) Proxy(t testing.TB, see func(w http.ResponseWriter, r *http.Request) bool) *Server {
	t.Helper()
	forward := s.Forward(t)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !see(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return &Server{Endpoint: front.URL, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey, root: s.root, process: s.process, exited: s.exited}
}

// Cut resets the connection of a request that has begun to come, which is what
// a client sees of a server that answers early and closes.
func Cut(t testing.TB, w http.ResponseWriter) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0) // closing sends a reset
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Error(err)
	}
}

// Forward passes requests on to the server.
func (s *Server) Forward(t testing.TB) http.Handler {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The host stays as the client wrote it: it is part of the signature.
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
	}}
}

// Answer answers a request as S3 answers with an error, when it has come whole.
// A handler that answers before makes the server close the connection, and a
// client that was slow to send then meets a reset in place of the answer.
func Answer(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	_, _ = io.Copy(io.Discard, r.Body) // a client that has gone is told nothing
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return // has no body to say more
	}
	_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>` + code + `</Code><Message>` + message + `</Message></Error>`))
}
