package clustertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
)

// certificates are a CA and one certificate it signed, which nodes and clients
// share: on the cluster bus every node is a client of the others.
type certificates struct {
	ca, cert, key string // PEM files
	client        *tls.Config
}

func (c *certificates) files() *redisproc.TLS {
	return &redisproc.TLS{CA: c.ca, Cert: c.cert, Key: c.key, Client: c.client.Clone()}
}

func makeCertificates(t testing.TB) *certificates {
	t.Helper()
	dir := t.TempDir()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "slotark test CA"},
		NotBefore: clock.Now().Add(-time.Hour), NotAfter: clock.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	node := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "slotark test node"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	authorityKey, nodeKey := makeKey(t), makeKey(t)
	c := &certificates{
		ca:   filepath.Join(dir, "ca.pem"),
		cert: filepath.Join(dir, "node.pem"),
		key:  filepath.Join(dir, "node.key"),
	}
	sign := func(certificate *x509.Certificate, key *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, certificate, authority, &key.PublicKey, authorityKey)
		if err != nil {
			t.Fatalf("sign certificate: %v", err)
		}
		return der
	}
	keyDER, err := x509.MarshalECPrivateKey(nodeKey)
	if err != nil {
		t.Fatalf("encode key: %v", err)
	}
	writePEM(t, c.ca, "CERTIFICATE", sign(authority, authorityKey))
	writePEM(t, c.cert, "CERTIFICATE", sign(node, nodeKey))
	writePEM(t, c.key, "EC PRIVATE KEY", keyDER)
	if c.client, err = cluster.LoadTLS(cluster.TLSFiles{CA: c.ca, Cert: c.cert, Key: c.key}); err != nil {
		t.Fatal(err)
	}
	return c
}

func makeKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make key: %v", err)
	}
	return key
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newID is a node id: never one that was used before, so that two clusters on
// one machine never take each other's nodes for their own.
func newID() string {
	var id [20]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
