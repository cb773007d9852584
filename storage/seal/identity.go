package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/slotark/slotark/internal/hint"
	"golang.org/x/crypto/ssh"
)

// Identities are private keys. They never print themselves. Nil holds none.
type Identities struct {
	keys   []age.Identity
	public []string // of each: the recipient it belongs to
}

// String says how many there are, and no more.
func (i *Identities) String() string {
	if i == nil {
		return "no identities"
	}
	return fmt.Sprintf("%d identities", len(i.keys))
}

// GoString is String: private keys are not for %#v either.
func (i *Identities) GoString() string { return i.String() }

// ReadIdentities reads private keys from files: those of age, one a line, as
// age-keygen writes them, or an SSH key without a passphrase.
func ReadIdentities(paths ...string) (*Identities, error) {
	all := &Identities{}
	for _, path := range paths {
		if err := all.read(path); err != nil {
			return nil, fmt.Errorf("read identities: %w", err)
		}
	}
	return all, nil
}

func (i *Identities) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFileBytes))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(text, []byte("-----BEGIN AGE ENCRYPTED")) || bytes.HasPrefix(text, []byte("age-encryption.org/")):
		return hint.Add(fmt.Errorf("%s is itself encrypted", path), "decrypt it into a file that only this user can read: age -d "+path)
	case bytes.HasPrefix(text, []byte("-----BEGIN")):
		return i.addSSH(path, text)
	}
	before := len(i.keys)
	if err := eachLine(path, i.add); err != nil {
		return err
	}
	if len(i.keys) == before {
		return fmt.Errorf("%s holds no identity", path)
	}
	return nil
}

// add takes one line of age's. What is wrong with it is not said in detail:
// nothing of a secret may be.
func (i *Identities) add(line string) error {
	if key, err := age.ParseX25519Identity(line); err == nil {
		i.keys, i.public = append(i.keys, key), append(i.public, key.Recipient().String())
		return nil
	}
	if key, err := age.ParseHybridIdentity(line); err == nil {
		i.keys, i.public = append(i.keys, key), append(i.public, key.Recipient().String())
		return nil
	}
	if strings.HasPrefix(line, "age1") || strings.HasPrefix(line, "ssh-") {
		return errors.New("is a public key: the private one is needed to decrypt")
	}
	return errors.New("is no identity: want a line AGE-SECRET-KEY-1…, as age-keygen writes it")
}

func (i *Identities) addSSH(path string, pem []byte) error {
	raw, err := ssh.ParseRawPrivateKey(pem)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return hint.Add(fmt.Errorf("%s is protected by a passphrase, which nobody is here to type", path), "use an age identity, or an SSH key without one")
	}
	var signer ssh.Signer
	var key age.Identity
	if err == nil {
		signer, err = ssh.NewSignerFromKey(raw)
	}
	if err == nil {
		key, err = agessh.ParseIdentity(pem)
	}
	if err != nil {
		return fmt.Errorf("%s is no SSH key of type ed25519 or RSA", path)
	}
	i.keys = append(i.keys, key)
	i.public = append(i.public, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))))
	return nil
}

// Check tells whether one of the identities can open what is sealed so. Where
// none can, it returns [ErrNoIdentity] with the recipients' public keys.
func (i *Identities) Check(l Lock) error {
	if l.Encryption != Age {
		return nil
	}
	reason := "no identity was given"
	if i != nil && len(i.keys) > 0 {
		if slices.ContainsFunc(i.public, func(mine string) bool { return slices.Contains(l.Recipients, mine) }) {
			return nil
		}
		reason = "the identity that was given is another's"
		if len(i.keys) > 1 {
			reason = fmt.Sprintf("the %d identities that were given are others'", len(i.keys))
		}
	}
	names := make([]string, len(l.Recipients))
	for n, r := range l.Recipients {
		names[n] = Fingerprint(r)
	}
	return hint.Add(fmt.Errorf("%w: %s, it is encrypted to %s", ErrNoIdentity, reason, strings.Join(names, " and ")),
		"give the identity (the private key) of one of these: --identity FILE, SLOTARK_IDENTITY_FILE, or repository.identity_file in --config FILE")
}
