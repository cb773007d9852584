package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/preflight"
)

const (
	dialLimit  = 10 * time.Second
	readyLimit = 15 * time.Second
	// maxAnswer bounds what is read of an answer that is not a job's.
	maxAnswer = 1 << 20
)

// Client has an agent capture. It implements [snapshot.Agent].
type Client struct {
	url   string
	files Files
	http  *http.Client
	// patience is how long an agent that cannot be reached is tried again.
	patience time.Duration
}

var _ snapshot.Agent = (*Client)(nil)

// ParseURL checks the address of an agent: "https://host:port".
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is not the address of an agent: want https://HOST:PORT", text)
	}
	return u, nil
}

// NewClient makes a client of the agent at a URL. Nothing is connected yet.
func NewClient(address string, files Files) (*Client, error) {
	u, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialTLSContext:    func(ctx context.Context, _, addr string) (net.Conn, error) { return files.dial(ctx, addr) },
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2: true,
		// An agent without jobs is not worth a connection.
		IdleConnTimeout: time.Minute,
		HTTP2:           &http.HTTP2Config{SendPingTimeout: keepAlive, PingTimeout: silence},
	}
	return &Client{url: "https://" + u.Host, files: files, http: &http.Client{Transport: transport}, patience: DefaultGrace}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ready implements [snapshot.Agent].
func (c *Client) Ready(ctx context.Context, cluster, node string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("no answer within %s", readyLimit))
	defer cancel()
	response, err := c.request(ctx, http.MethodGet, healthPath, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var h health
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&h); err != nil {
		return fmt.Errorf("agent %s: decode its answer: %w", c.url, err)
	}
	if h.Stopping {
		return fmt.Errorf("agent %s: %w", c.url, ErrStopping)
	}
	if err := (Allow{Cluster: h.Cluster, Nodes: h.Nodes}).checkNode(cluster, node); err != nil {
		return fmt.Errorf("agent %s: %w", c.url, err)
	}
	return nil
}

// Examine implements [snapshot.Agent].
func (c *Client) Examine(ctx context.Context, cluster, node string, aof bool) ([]preflight.Finding, error) {
	if err := c.Ready(ctx, cluster, node); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*readyLimit, fmt.Errorf("no answer within %s", 2*readyLimit))
	defer cancel()
	query := url.Values{"cluster": {cluster}}
	if aof {
		query.Set("aof", "")
	}
	response, err := c.request(ctx, http.MethodGet, nodesPath+url.PathEscape(node)+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer look
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("agent %s: decode its answer: %w", c.url, err)
	}
	var findings []preflight.Finding
	for _, f := range answer.Findings {
		found := preflight.Finding{Code: f.Code, Severity: f.Severity, Subject: f.Subject, Detail: f.Detail, Advice: f.Advice}
		if f.Subject == "" {
			found.Nodes = []string{node}
		}
		findings = append(findings, found)
	}
	return findings, nil
}

// request asks the agent for something and returns its answer, if that is no
// refusal.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set(protocolHeader, strconv.Itoa(Protocol))
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("agent %s: %w", c.url, context.Cause(ctx))
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // it repeats method and URL
			err = wrapped.Err
		}
		explained := explain(c.url, err)
		var network *net.OpError
		if !errors.Is(explained, ErrUntrusted) && !(errors.As(err, &network) && network.Op == "dial") {
			if reason := explain(c.url, c.files.probe(ctx, request.URL.Host)); errors.Is(reason, ErrUntrusted) {
				return nil, reason
			}
		}
		return nil, explained
	}
	if spoken := response.Header.Get(protocolHeader); spoken != strconv.Itoa(Protocol) && response.StatusCode == http.StatusOK {
		return nil, errors.Join(hint.Add(fmt.Errorf("agent %s: %w: it speaks version %q of the protocol, we speak %d", c.url, ErrProtocol, spoken, Protocol), sameBuild),
			response.Body.Close())
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(c.refusal(response), response.Body.Close())
	}
	return response, nil
}

// refused is an agent's answer that it will not do it: to ask again is no use.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

func (c *Client) refusal(response *http.Response) error {
	var f failure
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&f); err != nil || f.Text == "" {
		return hint.Add(fmt.Errorf("agent %s: %w: it answers %s", c.url, ErrProtocol, response.Status), "see that `slotark agent` runs there, of the same release")
	}
	return &refused{c.far(&f)}
}

// far is an error of the agent, with its name.
func (c *Client) far(f *failure) error {
	return fmt.Errorf("agent %s: %w", c.url, f.err())
}

// Capture implements [snapshot.Agent].
func (c *Client) Capture(ctx context.Context, o snapshot.Order, turn snapshot.Turn, report progress.Func) (snapshot.Delivery, error) {
	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	s := newSession(c, hex.EncodeToString(id[:]), o)
	s.report = report
	s.begin(ctx, turn)
	err := s.await(ctx, s.arrived)
	if err == nil {
		err = s.failed()
	}
	if err == nil {
		return s, nil
	}
	defer s.close()
	if s.over() {
		return nil, err
	}
	// Interrupted, or not allowed to fork: the agent is told so.
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if left := s.Settle(context.WithoutCancel(ctx), false); left != nil {
		err = fmt.Errorf("%w: %w: %w", err, snapshot.ErrAgentLost, left)
	}
	return nil, err
}
