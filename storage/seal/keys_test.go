package seal_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage/seal"
	"golang.org/x/crypto/ssh"
)

// testKey is a pair of keys as a person has them: a line and a file.
type testKey struct{ public, private, path string }

func newKey(t testing.TB, kind string) testKey {
	t.Helper()
	var k testKey
	switch kind {
	case "x25519":
		key, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		k = testKey{public: key.Recipient().String(), private: "# a comment\n\n" + key.String() + "\n"}
	case "hybrid":
		key, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		k = testKey{public: key.Recipient().String(), private: key.String()}
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k = sshKey(t, key)
	case "rsa":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		k = sshKey(t, key)
	}
	k.path = writeFile(t, k.private)
	return k
}

func sshKey(t testing.TB, key crypto.Signer) testKey {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "somebody@somewhere")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return testKey{public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " somebody@somewhere", private: string(pem.EncodeToMemory(block))}
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (k testKey) recipient(t testing.TB) seal.Recipient {
	t.Helper()
	r, err := seal.ParseRecipient(k.public)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (k testKey) identities(t testing.TB) *seal.Identities {
	t.Helper()
	i, err := seal.ReadIdentities(k.path)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestWrongIdentity: without the right one nothing is read, and the error says
// whose it is, where to give it, and no secret.
func TestWrongIdentity(t *testing.T) {
	for _, kind := range []string{"x25519", "hybrid", "ed25519", "rsa"} {
		key, other := newKey(t, kind), newKey(t, "x25519")
		s := sealer(t, seal.Options{Recipients: []seal.Recipient{key.recipient(t)}})
		stored := bytes.NewReader(sealed(t, s, text(10)))
		size := stored.Len()
		none, err := seal.ReadIdentities()
		if err != nil {
			t.Fatal(err)
		}
		for given, keys := range map[string]*seal.Identities{"nothing": nil, "no file": none, "another's": other.identities(t)} {
			_, err := opened(stored, s.Lock(), keys)
			if !errors.Is(err, seal.ErrNoIdentity) || stored.Len() != size {
				t.Fatalf("%s, %s: got %v", kind, given, err)
			}
			said := err.Error() + strings.Join(hint.Of(err), "")
			if !strings.Contains(said, seal.Fingerprint(s.Lock().Recipients[0])) || !strings.Contains(said, "--identity FILE") || strings.Contains(said, "SECRET") {
				t.Errorf("%s, %s: it says %q", kind, given, said)
			}
		}
		// Beside another it is found.
		both, err := seal.ReadIdentities(other.path, key.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := opened(stored, s.Lock(), both); err != nil {
			t.Errorf("%s, with two identities: %v", kind, err)
		}
	}
}

// The identity is the recipient's, the object was encrypted to another: that
// is damage, not a wrong identity.
func TestLockThatLies(t *testing.T) {
	key, other := newKey(t, "x25519"), newKey(t, "x25519")
	s := sealer(t, seal.Options{Recipients: []seal.Recipient{other.recipient(t)}})
	lock := s.Lock()
	lock.Recipients = []string{key.public}
	if _, err := opened(bytes.NewReader(sealed(t, s, text(10))), lock, key.identities(t)); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestIdentitiesAreNotPrinted(t *testing.T) {
	key := newKey(t, "x25519")
	secret := strings.TrimSpace(key.private[strings.Index(key.private, "AGE"):])
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if said := fmt.Sprintf(verb, key.identities(t)); strings.Contains(said, secret) || !strings.Contains(said, "1 identities") {
			t.Errorf("%s prints %s", verb, said)
		}
	}
}

func TestRecipientsAreRefused(t *testing.T) {
	x, ed := newKey(t, "x25519"), newKey(t, "ed25519")
	secret := strings.TrimSpace(x.private[strings.Index(x.private, "AGE"):])
	for name, c := range map[string]struct{ text, want string }{
		"an identity":             {secret, "is a private identity"},
		"an identity, lower case": {strings.ToLower(secret), "is a private identity"},
		"an SSH private key":      {ed.private, "is a private identity"},
		"a plugin's identity":     {"AGE-PLUGIN-YUBIKEY-1QQQQ", "is a private identity"},
		"nothing":                 {"", "is not a recipient"},
		"a password":              {"hunter2", "is not a recipient"},
		"a letter wrong":          {x.public[:20] + "b" + x.public[21:], "a letter may be lost"},
		"cut":                     {x.public[:30], "a letter may be lost"},
		"an SSH key of DSA":       {"ssh-dss AAAAB3NzaC1kc3M=", "a letter may be lost"},
	} {
		_, err := seal.ParseRecipient(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
			continue
		}
		said := err.Error() + strings.Join(hint.Of(err), "")
		if strings.Contains(said, secret) || strings.Contains(said, "hunter2") || strings.Contains(said, "b3BlbnNzaC1rZXktdjE") {
			t.Errorf("%s: it repeats what may be a secret: %s", name, said)
		}
	}
}

func TestReadRecipients(t *testing.T) {
	x, ed := newKey(t, "x25519"), newKey(t, "ed25519")
	read, err := seal.ReadRecipients(writeFile(t, "# two\n\n "+x.public+" \r\n"+ed.public+"\n"))
	if err != nil || len(read) != 2 || read[0].String() != x.public || strings.Contains(read[1].String(), "somebody") {
		t.Errorf("read %v, %v", read, err)
	}
	for want, body := range map[string]string{"holds no recipient": "# nobody\n", ":2: is a private identity": x.public + "\n" + x.private[strings.Index(x.private, "AGE"):]} {
		if _, err := seal.ReadRecipients(writeFile(t, body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestIdentityFilesAreRefused(t *testing.T) {
	x, ed := newKey(t, "x25519"), newKey(t, "ed25519")
	block, err := ssh.MarshalPrivateKeyWithPassphrase(ed25519.NewKeyFromSeed(make([]byte, 32)), "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"# empty\n", "holds no identity"},
		"a public key":       {x.public, ":1: is a public key"},
		"an SSH public key":  {ed.public, ":1: is a public key"},
		"a wrong letter":     {strings.Replace(x.private, "AGE-SECRET-KEY-1Q", "AGE-SECRET-KEY-1P", 1)[:60] + "\n", ":3: is no identity"},
		"an encrypted file":  {"age-encryption.org/v1\n-> scrypt", "is itself encrypted"},
		"with a passphrase":  {string(pem.EncodeToMemory(block)), "protected by a passphrase"},
		"a certificate":      {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "is no SSH key"},
		"a file without end": {strings.Repeat("x", 2<<20), "is no file of keys"},
	} {
		path := writeFile(t, c.text)
		if _, err := seal.ReadIdentities(path); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("%s: got %v, want a short error with %q", name, err, c.want)
		}
	}
	if _, err := seal.ReadIdentities(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got %v", err)
	}
}
