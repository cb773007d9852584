//go:build !linux

package atomicfile

import (
	"errors"
	"os"
)

// renameNoReplace refuses: without renameat2 there is no rename that cannot
// replace a file, and a check before the rename would be a race.
func renameNoReplace(from, to string) error {
	return &os.LinkError{Op: "link", Old: from, New: to, Err: errors.ErrUnsupported}
}
