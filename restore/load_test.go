package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/verify"
)

// badEnd is an object whose bytes turn out damaged at their end.
type badEnd struct{ io.Reader }

func (b badEnd) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = fmt.Errorf("read dump.rdb: %w", verify.ErrDamaged)
	}
	return n, err
}

// TestWhose: a node that refuses a damaged value must not keep the restore
// from the next store, and one that refuses a sound value must.
func TestWhose(t *testing.T) {
	rest := func() io.Reader { return bytes.NewReader(make([]byte, 100_000)) }
	refused := fmt.Errorf("10.0.0.1:6379 refused key \"a\": %w", cluster.ServerError("ERR Bad data format"))
	for _, c := range []struct {
		name   string
		body   io.Reader
		err    error
		source bool
	}{
		{"a refusal, damaged", badEnd{rest()}, refused, true},
		{"a refusal, sound", rest(), refused, false},
		{"no refusal", badEnd{rest()}, io.ErrUnexpectedEOF, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := whose(c.body, c.err, nil)
			if !errors.Is(err, c.err) || errors.As(err, new(sourceError)) != c.source {
				t.Errorf("error %v", err)
			}
		})
	}
}
