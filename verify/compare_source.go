package verify

import (
	"context"
	"io"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// ErrDamaged is returned for an object whose bytes are not those that the
// manifest records.
var ErrDamaged = catalog.ErrDamaged

// OpenChecked opens one of a snapshot's objects. The reader gives io.EOF only
// after as many bytes as the manifest records, with the SHA-256 it records;
// otherwise [ErrDamaged]. The caller closes it.
func OpenChecked(ctx context.Context, s *catalog.Snapshot, file manifest.File) (io.ReadCloser, error) {
	body, err := s.Open(ctx, file.Object)
	if err != nil {
		return nil, err
	}
	return catalog.Checked(body, file), nil
}
