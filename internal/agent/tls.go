package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
)

// Files are the PEM files by which one side proves itself and knows the other.
// They are read anew for each connection, so a renewed certificate needs no restart.
type Files struct {
	CA        string // the authority of agents and coordinators, and of nobody else
	Cert, Key string // of this side
}

// Check tells what is wrong with the files as they are now.
func (f Files) Check() error {
	_, _, err := f.load()
	return err
}

func (f Files) load() (*x509.CertPool, tls.Certificate, error) {
	var none tls.Certificate
	if f.CA == "" || f.Cert == "" || f.Key == "" {
		return nil, none, hint.Add(errors.New("agents and coordinators need a certificate authority, a certificate and its key"),
			"give all three: --agent-ca, --agent-cert and --agent-key, or agents.ca, cert and key in --config FILE; docs/agent.md says how to make them")
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, none, fmt.Errorf("read the authority of agents: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, none, fmt.Errorf("read the authority of agents: %s holds no PEM certificate", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, none, fmt.Errorf("load the certificate %s with the key %s: %w", f.Cert, f.Key, err)
	}
	return pool, pair, nil
}

// serverTLS lets in who has a certificate of the authority that is meant for
// clients, and nobody else.
func (f Files) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pool, pair, err := f.load()
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
				// A session taken up again would outlive the certificates.
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// dial connects to an agent and checks its certificate.
func (f Files) dial(ctx context.Context, addr string) (net.Conn, error) {
	pool, pair, err := f.load()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ServerName: host, RootCAs: pool, Certificates: []tls.Certificate{pair},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// probe connects and waits for the agent's first byte. In TLS 1.3 the refusal of a
// client's certificate comes after the handshake, and is lost where the client has
// sent something by then: this one sends nothing.
func (f Files) probe(ctx context.Context, addr string) error {
	conn, err := f.dial(ctx, addr)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(clock.Now().Add(dialLimit)); err != nil {
		return errors.Join(err, conn.Close())
	}
	_, err = conn.Read(make([]byte, 1))
	return errors.Join(err, conn.Close())
}

// explain says of an error on the way to an agent what to do about it.
func explain(url string, err error) error {
	if err == nil {
		return nil
	}
	reason := fmt.Errorf("agent %s: %w", url, err)
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	untrusted := func(advice string) error {
		return hint.Add(fmt.Errorf("%w: agent %s: %w", ErrUntrusted, url, err), advice)
	}
	switch {
	case errors.As(err, &authority):
		return untrusted("the agent's certificate is not of the authority in --agent-ca (agents.ca): give both sides the same one")
	case errors.As(err, &name):
		return untrusted("the agent's certificate does not name its address: make one with it as a subjectAltName")
	case errors.As(err, &invalid):
		return untrusted("the agent's certificate has expired, or is not meant for a server: renew it; the agent reads the new file by itself")
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		return untrusted("the agent refuses our certificate: it must be of the authority that the agent trusts, not expired, and meant for clients (clientAuth); the agent's log says more")
	}
	return hint.Add(reason, "see that `slotark agent` runs there and that its port may be reached from here")
}
