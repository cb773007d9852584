package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/slotark/slotark/snapshot/manifest"
)

// ErrDamaged is returned for an object whose bytes are not those that the
// manifest records.
var ErrDamaged = errors.New("the stored object is damaged")

// Checked returns a reader over an object's bytes that gives io.EOF only after
// as many of them as the manifest records, with the SHA-256 it records;
// otherwise [ErrDamaged].
func Checked(body io.ReadCloser, file manifest.File) io.ReadCloser {
	return &checkedBody{ReadCloser: body, file: file, sum: sha256.New()}
}

type checkedBody struct {
	io.ReadCloser
	file manifest.File
	sum  hash.Hash
	read int64
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sum.Write(p[:n])
	b.read += int64(n)
	switch {
	case b.read > b.file.Bytes:
		// Said at once: whoever stored it may not let it end at all.
		return 0, fmt.Errorf("read %s: %w: it has more than its %d bytes", b.file.Object, ErrDamaged, b.file.Bytes)
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, fmt.Errorf("read %s: %w", b.file.Object, err)
	case b.read < b.file.Bytes:
		return n, fmt.Errorf("read %s: %w: it ends after %d of %d bytes", b.file.Object, ErrDamaged, b.read, b.file.Bytes)
	}
	if have := hex.EncodeToString(b.sum.Sum(nil)); have != b.file.SHA256 {
		return n, fmt.Errorf("read %s: %w: its SHA-256 is %s, the manifest says %s", b.file.Object, ErrDamaged, have, b.file.SHA256)
	}
	return n, io.EOF
}
