package manifest

import (
	"errors"
	"fmt"

	"github.com/slotark/slotark/storage/seal"
)

// errNewer is told of a field that a manifest of version 1 cannot have. It is
// worded as the decoder's own refusal of a field that nobody knows.
var errNewer = errors.New("unknown field of version 1")

// validateSeal checks that the manifest says how its objects were sealed, and
// that each says what it holds where, and only where, it is sealed.
func (m *Manifest) validateSeal() []error {
	var problems []error
	if m.Version == 1 {
		if m.Seal.Compression != "" || m.Seal.Encryption != "" || m.Seal.Recipients != nil {
			problems = append(problems, fmt.Errorf("seal: %w", errNewer))
		}
		if m.ResealedFrom != "" {
			problems = append(problems, fmt.Errorf("resealed_from: %w", errNewer))
		}
		if m.Settings != (File{}) {
			problems = append(problems, fmt.Errorf("settings: %w", errNewer))
		}
		if m.Checksum != "" {
			problems = append(problems, fmt.Errorf("checksum: %w", errNewer))
		}
		for _, s := range m.Shards {
			if s.AOF != nil {
				problems = append(problems, fmt.Errorf("shard %s: aof: %w", s.Slots, errNewer))
			}
		}
	} else {
		problems = append(problems, m.Seal.validate()...)
	}
	if m.ResealedFrom != "" {
		if _, err := ParseID(string(m.ResealedFrom)); err != nil {
			problems = append(problems, fmt.Errorf("resealed_from: %w", err))
		}
		if m.ResealedFrom == m.ID {
			problems = append(problems, errors.New("resealed_from: it is its own origin"))
		}
	}
	for _, f := range m.Files() {
		switch given := f.Plain != (Plain{}); {
		case given && m.Version == 1:
			problems = append(problems, fmt.Errorf("%s: plain: %w", f.Object, errNewer))
		case given && !m.Seal.Lock().Sealed():
			problems = append(problems, fmt.Errorf("%s: it says what it holds beside what it is, and nothing is sealed", f.Object))
		case !given && m.Seal.Lock().Sealed():
			problems = append(problems, fmt.Errorf("%s: it is sealed, and does not say what it holds", f.Object))
		}
	}
	return problems
}

func (s Seal) validate() []error {
	var problems []error
	if s.Compression != seal.Zstd && s.Compression != seal.None {
		problems = append(problems, fmt.Errorf("compression is %q, want %s or %s", s.Compression, seal.Zstd, seal.None))
	}
	if s.Encryption != seal.Age && s.Encryption != seal.None {
		problems = append(problems, fmt.Errorf("encryption is %q, want %s or %s", s.Encryption, seal.Age, seal.None))
	}
	if encrypted := s.Encryption == seal.Age; encrypted != (len(s.Recipients) > 0) {
		problems = append(problems, fmt.Errorf("encryption is %q, and there are %d recipients", s.Encryption, len(s.Recipients)))
	}
	for i, text := range s.Recipients {
		// A private key here must not be repeated: ParseRecipient sees to it.
		r, err := seal.ParseRecipient(text)
		if err == nil && r.String() != text {
			err = errors.New("is not in its shortest form: a comment or a space too much")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("recipient %d of %d %w", i+1, len(s.Recipients), err))
		}
	}
	return problems
}
