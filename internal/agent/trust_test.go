package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// lone is an agent that is never asked to capture, and needs no node.
func lone(t *testing.T) *place {
	t.Helper()
	p := &place{trust: clustertest.NewAuthority(t), cluster: &clustertest.Cluster{}}
	p.options = Options{
		Files: p.files(t, "agent", x509.ExtKeyUsageServerAuth), Version: "slotark test",
		Allow:  Allow{Cluster: "prod", Nodes: []string{"10.0.0.1:6379"}, Stores: []string{"one", "two"}, Seal: manifest.Seal{Compression: "zstd", Encryption: "none"}},
		Logger: quiet(),
		Open: func(context.Context, snapshot.Order) (*Workshop, error) {
			return nil, hint.Add(fmt.Errorf("open the workshop: %w", cluster.ErrAuth), "look at the password file")
		},
	}
	p.start(t, "127.0.0.1:0")
	return p
}

func loneOrder() snapshot.Order {
	node := cluster.Member{ID: "n1", Addr: "10.0.0.1:6379", Role: cluster.RolePrimary}
	return snapshot.Order{
		Job:  snapshot.Job{Cluster: "prod", Snapshot: manifest.NewID(time.Now()), Shard: cluster.Shard{Slots: slot.Full(), Primary: node}, Source: node},
		Seal: manifest.Seal{Compression: "zstd", Encryption: "none"}, Stores: []string{"one", "two"},
	}
}

// TestTrust connects with every wrong certificate there is, on either side, and is
// told what is wrong with it.
func TestTrust(t *testing.T) {
	p := lone(t)
	other := clustertest.NewAuthority(t)
	issue := func(a *clustertest.Authority, c clustertest.Certificate) Files {
		cert, key := a.Issue(t, c)
		return Files{CA: p.trust.File, Cert: cert, Key: key}
	}
	clients := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	wrongCA := issue(p.trust, clustertest.Certificate{Name: "c1", Usages: clients})
	wrongCA.CA = other.File
	cases := map[string]struct {
		files  Files
		advice string
	}{
		"agent of another authority":       {wrongCA, "--agent-ca"},
		"coordinator of another authority": {issue(other, clustertest.Certificate{Name: "c2", Usages: clients}), "the agent refuses our certificate"},
		"expired":                          {issue(p.trust, clustertest.Certificate{Name: "c3", Usages: clients, Until: time.Now().Add(-time.Minute)}), "the agent refuses our certificate"},
		"another agent's":                  {issue(p.trust, clustertest.Certificate{Name: "c4", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), "clientAuth"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client, err := NewClient("https://"+p.addr, c.files)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_, captured := client.Capture(t.Context(), loneOrder(), atOnce, nil)
			for what, err := range map[string]error{"ready": client.Ready(t.Context(), "prod", "10.0.0.1:6379"), "capture": captured} {
				if !errors.Is(err, ErrUntrusted) || errors.Is(err, snapshot.ErrAgentLost) || !strings.Contains(strings.Join(hint.Of(err), "; "), c.advice) {
					t.Errorf("%s: got %v; %v", what, err, hint.Of(err))
				}
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(read(t, p.trust.File))
		conn, err := tls.Dial("tcp", p.addr, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
		if err == nil { // the refusal of TLS 1.3 comes after the handshake
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("got %v", err)
		}
		client, err := NewClient("https://"+p.addr, Files{CA: p.trust.File})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Ready(t.Context(), "prod", "10.0.0.1:6379"); err == nil || !strings.Contains(err.Error(), "need a certificate") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an older TLS", func(t *testing.T) {
		_, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an agent's that has expired, renewed", func(t *testing.T) {
		p.trust.Issue(t, clustertest.Certificate{Name: "agent", Until: time.Now().Add(-time.Minute)})
		client := p.client(t, p.addr)
		err := client.Ready(t.Context(), "prod", "10.0.0.1:6379")
		if !errors.Is(err, ErrUntrusted) || !strings.Contains(strings.Join(hint.Of(err), "; "), "renew") {
			t.Errorf("got %v; %v", err, hint.Of(err))
		}
		p.trust.Issue(t, clustertest.Certificate{Name: "agent"})
		if err := client.Ready(t.Context(), "prod", "10.0.0.1:6379"); err != nil {
			t.Errorf("after it was renewed: %v", err)
		}
	})
}

// TestForbidden asks for what the agent's settings do not allow.
func TestForbidden(t *testing.T) {
	p := lone(t)
	client := p.client(t, p.addr)
	cases := map[string]struct {
		change func(*snapshot.Order)
		says   string
	}{
		"cluster":           {func(o *snapshot.Order) { o.Cluster = "dev" }, `cluster "dev"`},
		"node":              {func(o *snapshot.Order) { o.Source.Addr = "10.0.0.2:6379" }, `node "10.0.0.2:6379", it captures 10.0.0.1:6379`},
		"store":             {func(o *snapshot.Order) { o.Stores = []string{"one", "three"} }, "stores one, three, it has one, two"},
		"stores turned":     {func(o *snapshot.Order) { o.Stores = []string{"two", "one"} }, "stores two, one"},
		"recipients":        {func(o *snapshot.Order) { o.Seal.Recipients = []string{"age1x"} }, "sealing by zstd and none to age1x"},
		"old snapshot":      {func(o *snapshot.Order) { o.Snapshot = manifest.NewID(time.Now().Add(-48 * time.Hour)) }, "is not of now"},
		"snapshot to come":  {func(o *snapshot.Order) { o.Snapshot = manifest.NewID(time.Now().Add(time.Hour)) }, "is not of now"},
		"no id":             {func(o *snapshot.Order) { o.Snapshot = "../../etc" }, "is not a snapshot id"},
		"no slots":          {func(o *snapshot.Order) { o.Shard.Slots = slot.Set{} }, "without slots"},
		"more stores asked": {func(o *snapshot.Order) { o.Mirroring.Require = 3 }, "3 of 2 stores"},
	}
	for name, c := range cases {
		order := loneOrder()
		c.change(&order)
		_, err := client.Capture(t.Context(), order, atOnce, nil)
		if !errors.Is(err, ErrForbidden) || !errors.Is(err, hint.ErrRefused) || errors.Is(err, snapshot.ErrAgentLost) ||
			!strings.Contains(err.Error(), c.says) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: got %v; %v", name, err, hint.Of(err))
		}
	}
	for node, name := range map[string]string{"10.0.0.2:6379": "prod", "10.0.0.1:6379": "dev"} {
		// The agent refuses by itself, too, and not only by what it says it is.
		response, err := client.request(t.Context(), http.MethodGet, nodesPath+url.PathEscape(node)+"?cluster="+name, nil)
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("look at %s of %s: %v, %v", node, name, response, err)
		}
		if err := client.Ready(t.Context(), name, node); !errors.Is(err, ErrForbidden) {
			t.Errorf("ready for %s of %s: %v", node, name, err)
		}
	}
	// What it allows goes on, and the agent's own trouble arrives as it was.
	_, err := client.Capture(t.Context(), loneOrder(), atOnce, nil)
	if !errors.Is(err, cluster.ErrAuth) || !slices.Contains(hint.Of(err), "look at the password file") || errors.Is(err, snapshot.ErrAgentLost) {
		t.Errorf("got %v; %v", err, hint.Of(err))
	}
}

// TestFailureCrosses sends an error of each kind over the wire.
func TestFailureCrosses(t *testing.T) {
	for _, kind := range kinds {
		sent := hint.Add(fmt.Errorf("put a to b: %w", hint.Add(kind.is, "inner")), "outer")
		text, err := json.Marshal(failureOf(sent))
		if err != nil {
			t.Fatal(err)
		}
		var f failure
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		got := f.err()
		if !errors.Is(got, kind.is) || got.Error() != sent.Error() {
			t.Errorf("%s: got %v", kind.name, got)
		}
		if diff := cmp.Diff(hint.Of(sent), hint.Of(got)); diff != "" {
			t.Errorf("%s: hints %s", kind.name, diff)
		}
		for _, other := range kinds {
			if other.is != kind.is && errors.Is(got, other.is) != errors.Is(sent, other.is) {
				t.Errorf("%s is taken for %s", kind.name, other.name)
			}
		}
	}
	if failureOf(nil) != nil || (*failure)(nil).err() != nil {
		t.Error("no failure is a failure")
	}
}

// TestVersions lets each side meet one that speaks another version.
func TestVersions(t *testing.T) {
	p := lone(t)
	client := p.client(t, p.addr)
	for name, text := range map[string]string{"another version": "2", "none": ""} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.addr+healthPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(protocolHeader, text)
		response, err := client.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var f failure
		if err := errors.Join(json.NewDecoder(response.Body).Decode(&f), response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if err := f.err(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "speaks version 1") || !slices.Contains(hint.Of(err), sameBuild) {
			t.Errorf("%s: the agent says %v", name, err)
		}
	}
	other := newest(t, p)
	client = p.client(t, other)
	_, captured := client.Capture(t.Context(), loneOrder(), atOnce, nil)
	for _, err := range []error{client.Ready(t.Context(), "prod", "10.0.0.1:6379"), captured} {
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), `version "2"`) || !slices.Contains(hint.Of(err), sameBuild) {
			t.Errorf("got %v; %v", err, hint.Of(err))
		}
	}
	// A field that an older agent does not know could change what the job means.
	if err := newLines(strings.NewReader(`{"order":{"Unheard":true}}` + "\n")).next(&opening{}); !errors.Is(err, ErrProtocol) {
		t.Errorf("an unknown field: %v", err)
	}
	if err := newLines(bytes.NewReader(make([]byte, maxLine+1))).next(&opening{}); err == nil {
		t.Error("a line without an end is read")
	}
}

// newest is an agent of a release to come.
func newest(t *testing.T, p *place) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: p.options.Files.serverTLS(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(protocolHeader, "2")
		w.Write([]byte("{}\n"))
	})}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
