package seal

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/slotark/slotark/internal/hint"
)

// maxKeyFileBytes bounds what is read of a file of keys.
const maxKeyFileBytes = 1 << 20

// Recipient is a public key to which is encrypted.
type Recipient struct {
	key  age.Recipient
	text string
}

// String is the public key as a person gives it, without a comment.
func (r Recipient) String() string { return r.text }

// errNotRecipient is told of text that may be anything, a secret too, and is
// therefore not repeated.
var errNotRecipient = errors.New("is not a recipient: want a public key, age1… or ssh-ed25519 … or ssh-rsa …")

// ParseRecipient reads a public key: age1…, ssh-ed25519 … or ssh-rsa …. A
// private key is refused, and never repeated.
func ParseRecipient(text string) (Recipient, error) {
	text = strings.TrimSpace(text)
	switch upper := strings.ToUpper(text); {
	case strings.Contains(upper, "SECRET-KEY") || strings.Contains(upper, "PRIVATE KEY") || strings.HasPrefix(upper, "AGE-PLUGIN-"):
		return Recipient{}, hint.Add(errors.New("is a private identity, not a recipient"),
			"give its public key, which `age-keygen -y FILE` prints; the private one belongs on the machine that restores, and was now seen by this one")
	case strings.HasPrefix(text, "age1pq1"):
		key, err := age.ParseHybridRecipient(text)
		return known(key, text, err)
	case strings.HasPrefix(text, "age1"):
		key, err := age.ParseX25519Recipient(text)
		return known(key, text, err)
	case strings.HasPrefix(text, "ssh-"):
		fields := strings.Fields(text)
		text = strings.Join(fields[:min(2, len(fields))], " ") // the third is a comment
		key, err := agessh.ParseRecipient(text)
		return known(key, text, err)
	}
	return Recipient{}, errNotRecipient
}

func known(key age.Recipient, text string, err error) (Recipient, error) {
	if err != nil {
		return Recipient{}, fmt.Errorf("%s %w (a letter may be lost or wrong)", Fingerprint(text), errNotRecipient)
	}
	return Recipient{key, text}, nil
}

// ReadRecipients reads a file of public keys, one a line; empty lines and those
// that begin with "#" are passed over.
func ReadRecipients(path string) ([]Recipient, error) {
	var recipients []Recipient
	err := eachLine(path, func(line string) error {
		r, err := ParseRecipient(line)
		recipients = append(recipients, r)
		return err
	})
	if err == nil && len(recipients) == 0 {
		err = fmt.Errorf("%s holds no recipient", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	return recipients, nil
}

// eachLine hands over the lines of a file of keys. Its errors name the line.
func eachLine(path string, each func(line string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, maxKeyFileBytes))
	lines.Buffer(nil, maxKeyFileBytes)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := each(line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: is no file of keys: %w", path, err)
	}
	return nil
}

// shownLetters is how much of a long key is shown at either end.
const shownLetters = 12

// Fingerprint is a public key as it is named to a person: an age key as it is
// or, where it is long, its ends; an SSH key as `ssh-keygen -l` shows it.
func Fingerprint(recipient string) string {
	if kind, blob, ssh := strings.Cut(recipient, " "); ssh {
		if raw, err := base64.StdEncoding.DecodeString(blob); err == nil {
			sum := sha256.Sum256(raw)
			return kind + " SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
		}
	}
	if len(recipient) > 100 {
		return recipient[:shownLetters] + "…" + recipient[len(recipient)-shownLetters:]
	}
	return recipient
}
