package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrVersion is returned for a manifest of a format version that this build
// does not know.
var ErrVersion = errors.New("unknown manifest format version")

// MaxBytes bounds what Decode reads: 500 shards with long findings need well
// under 2 MiB.
const MaxBytes = 16 << 20

// Encode returns the manifest as indented JSON ending in a newline. It refuses
// what Validate refuses: an incoherent manifest must not come into being.
func Encode(m *Manifest) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("encode manifest of %s: %w", m.ID, err)
	}
	summed := *m
	if m.Version > 1 {
		summed.Checksum = noChecksum
	}
	text, err := json.MarshalIndent(&summed, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest of %s: %w", m.ID, err)
	}
	text = append(text, '\n')
	if m.Version > 1 {
		sum := sha256.Sum256(text)
		hex.Encode(text[bytes.LastIndex(text, []byte(noChecksum)):], sum[:])
	}
	return text, nil
}

// noChecksum stands in the place of the checksum while it is computed.
var noChecksum = strings.Repeat("0", 2*sha256.Size)

// errChecksum is told of a manifest whose text is not as it was written.
var errChecksum = errors.New("its checksum does not fit its text: it is damaged")

// checkText checks the text of a manifest against the checksum in it: the
// SHA-256 of the text with zeros in the checksum's place.
func checkText(text []byte, checksum string) error {
	at := bytes.LastIndex(text, []byte(`"`+checksum+`"`))
	if len(checksum) != len(noChecksum) || at < 0 {
		return errChecksum
	}
	summed := bytes.Clone(text)
	copy(summed[at+1:], noChecksum)
	if sum := sha256.Sum256(summed); hex.EncodeToString(sum[:]) != checksum {
		return errChecksum
	}
	return nil
}

// Decode reads one manifest and validates it. Unknown fields are refused: a
// field that this build does not know could change what the snapshot means, and
// a version that adds one has a number of its own.
func Decode(r io.Reader) (*Manifest, error) {
	var m Manifest
	text, err := decodeStrictly(r, "manifest", MaxBytes, Version, &m)
	if err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if m.Version > 1 {
		if err := checkText(text, m.Checksum); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
	}
	return &m, nil
}
