package s3

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
)

const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 10 * time.Second
	// A Put keeps several parts in flight, and several shards are put at once.
	idleConnections = 32
)

// httpClient is the SDK's own client, which knows AWS_CA_BUNDLE and proxies,
// with limits for every wait.
func httpClient(stall time.Duration) *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &livelyConn{Conn: conn, stall: stall}, nil
		}
		t.TLSHandshakeTimeout = tlsTimeout
		t.MaxIdleConnsPerHost = idleConnections
		t.IdleConnTimeout = min(stall, 90*time.Second)
	})
}

// readCA reads certificate authorities from a PEM file.
func readCA(path string) (*bytes.Reader, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("read the certificate authority: %w", err), "Name a PEM file with ca=... in the store's URL.")
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, hint.Add(fmt.Errorf("read the certificate authority: %s holds no certificate", path), "Name a PEM file with ca=... in the store's URL.")
	}
	return bytes.NewReader(text), nil
}

// livelyConn fails when nothing has moved on it for a while. A limit for the
// whole request would be wrong for one of the two: a part of 2 GiB on a slow
// line, or an answer of ten bytes from a server that has frozen.
type livelyConn struct {
	net.Conn
	stall time.Duration
}

func (c *livelyConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(clock.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *livelyConn) Write(p []byte) (int, error) {
	// Both: while a request is being sent its answer is waited for already,
	// and that wait has to last longer than the sending.
	if err := c.SetDeadline(clock.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
