package manifest

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"time"
)

// ID names a snapshot, a drill or a run: "20260131T020000Z-x7k2p9", the UTC
// second it began and six random characters. IDs sort by time as text.
type ID string

const idTimeLayout = "20060102T150405Z"

// idAlphabet leaves out what is easily misread: 0, 1, i, l, o, u.
const idAlphabet = "23456789abcdefghjkmnpqrstvwxyz"

var idPattern = regexp.MustCompile(`^\d{8}T\d{6}Z-[2-9a-hjkmnp-tv-z]{6}$`)

// NewID returns an id for what begins at the given instant.
func NewID(start time.Time) ID {
	random := make([]byte, 6)
	rand.Read(random) // never fails: crypto/rand ends the process instead
	for i, b := range random {
		random[i] = idAlphabet[int(b)%len(idAlphabet)]
	}
	return ID(start.UTC().Format(idTimeLayout) + "-" + string(random))
}

// ParseID checks that text is an id.
func ParseID(text string) (ID, error) {
	if !idPattern.MatchString(text) {
		return "", fmt.Errorf("%q is not a snapshot id (they look like 20260131T020000Z-x7k2p9)", text)
	}
	if _, err := time.Parse(idTimeLayout, text[:len(idTimeLayout)]); err != nil {
		return "", fmt.Errorf("%q is not a snapshot id: its date does not exist", text)
	}
	return ID(text), nil
}

// Time is the UTC second the id was made for; the zero time for what is no id.
func (id ID) Time() time.Time {
	if len(id) < len(idTimeLayout) {
		return time.Time{}
	}
	t, err := time.Parse(idTimeLayout, string(id[:len(idTimeLayout)]))
	if err != nil {
		return time.Time{}
	}
	return t
}
