package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decodeStrictly reads one JSON document of at most limit bytes and returns its
// text. It refuses versions past the newest one, unknown fields, and whatever
// follows the document. what names the document in errors.
func decodeStrictly(r io.Reader, what string, limit int64, newest int, into any) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("read %s: larger than %d bytes", what, limit)
	}
	// The version is read by itself first: a later version's fields would
	// otherwise hide behind "unknown field".
	var head struct {
		Version int `json:"format_version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("decode %s: %w", what, err)
	}
	if head.Version < 1 || head.Version > newest {
		return nil, fmt.Errorf("decode %s: %w %d: this build reads versions 1 to %d", what, ErrVersion, head.Version, newest)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return nil, fmt.Errorf("decode %s: %w", what, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decode %s: something follows its closing brace", what)
	}
	return text, nil
}
