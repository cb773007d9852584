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
	authority := NewAuthority(t)
	c := &certificates{ca: authority.File}
	c.cert, c.key = authority.Issue(t, Certificate{Name: "node"})
	var err error
	if c.client, err = cluster.LoadTLS(cluster.TLSFiles{CA: c.ca, Cert: c.cert, Key: c.key}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Authority signs certificates for one test.
type Authority struct {
	File string // its own certificate, PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that nobody else trusts.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{
		File: filepath.Join(t.TempDir(), "ca.pem"),
		key:  makeKey(t),
		cert: &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "slotark test CA"},
			NotBefore: clock.Now().Add(-time.Hour), NotAfter: clock.Now().Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		},
	}
	writePEM(t, a.File, "CERTIFICATE", a.sign(t, a.cert, a.key))
	return a
}

// Certificate says what one is to be like.
type Certificate struct {
	Name   string             // of its subject, and of its files
	Usages []x509.ExtKeyUsage // none: server and client
	Until  time.Time          // zero: as long as the authority
}

// Issue signs a certificate for this machine and returns its PEM files. Those of an
// earlier one of the same name are replaced.
func (a *Authority) Issue(t testing.TB, c Certificate) (cert, key string) {
	t.Helper()
	own := makeKey(t)
	wanted := &x509.Certificate{
		SerialNumber: big.NewInt(clock.Now().UnixNano()), Subject: pkix.Name{CommonName: c.Name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: c.Usages,
	}
	if len(c.Usages) == 0 {
		wanted.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if !c.Until.IsZero() {
		wanted.NotAfter = c.Until
	}
	text, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatalf("encode key: %v", err)
	}
	dir := filepath.Dir(a.File)
	cert, key = filepath.Join(dir, c.Name+".pem"), filepath.Join(dir, c.Name+".key")
	writePEM(t, cert, "CERTIFICATE", a.sign(t, wanted, own))
	writePEM(t, key, "EC PRIVATE KEY", text)
	return cert, key
}

func (a *Authority) sign(t testing.TB, certificate *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, certificate, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatalf("sign certificate: %v", err)
	}
	return der
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
