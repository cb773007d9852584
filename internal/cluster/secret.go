package cluster

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password. However it is printed, logged or encoded, it reads
// "[secret]"; only [Secret.Reveal] gives it away.
type Secret string

const hidden = "[secret]"

// Reveal returns the password itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the password.
func (s Secret) String() string { return hidden }

// GoString hides the password from %#v.
func (s Secret) GoString() string { return hidden }

// Format hides the password from every verb of package fmt, %x and %q too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the password from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the password from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
