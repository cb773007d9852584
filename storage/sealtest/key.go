package sealtest

import (
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/slotark/slotark/storage/seal"
)

// Key is a pair of keys that nothing but one test knows.
type Key struct {
	Public     string // "age1…", as settings and flags have it
	Recipient  seal.Recipient
	File       string // holds the private key
	Identities *seal.Identities
}

// NewKey makes a pair of keys. Its file goes with the test.
func NewKey(t testing.TB) Key {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	k := Key{Public: key.Recipient().String(), File: filepath.Join(t.TempDir(), "age.key")}
	if k.Recipient, err = seal.ParseRecipient(k.Public); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.File, []byte(key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k.Identities, err = seal.ReadIdentities(k.File); err != nil {
		t.Fatal(err)
	}
	return k
}
