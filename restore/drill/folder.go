package drill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/slotark/slotark/snapshot/manifest"
)

// folder is a drill's private place on disk. Its name carries the drill and its
// owner, so that there is no instant at which it exists and nobody's.
type folder struct{ path string }

var folderPattern = regexp.MustCompile(`^slotark-drill-(\d{8}T\d{6}Z-[0-9a-z]{6})-([0-9a-f]{8}-[0-9a-f]{8}-\d+-\d+)$`)

func makeFolder(root string, id manifest.ID, by owner) (folder, error) {
	path := filepath.Join(root, fmt.Sprintf("slotark-drill-%s-%s", id, by))
	if err := os.Mkdir(path, 0o700); err != nil {
		return folder{}, fmt.Errorf("make drill folder: %w", err)
	}
	return folder{path}, nil
}

func (f folder) remove() error {
	if err := os.RemoveAll(f.path); err != nil {
		return fmt.Errorf("remove drill folder: %w", err)
	}
	return nil
}

// sweepFolders removes the folders under root that abandoned drills left, and
// returns the ids of these drills.
func sweepFolders(root string, here owner) ([]manifest.ID, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list drill folders: %w", err)
	}
	var swept []manifest.ID
	var failures []error
	for _, entry := range entries {
		parts := folderPattern.FindStringSubmatch(entry.Name())
		if parts == nil || !entry.IsDir() {
			continue
		}
		id := manifest.ID(parts[1])
		by, err := parseOwner(parts[2])
		if err != nil || !abandoned(by, id, here) {
			continue
		}
		// The temporary folder is everybody's: what another user's drill left is
		// for that user's next drill.
		info, err := entry.Info()
		if err != nil {
			continue // gone meanwhile: another drill swept it
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
			continue
		}
		if err := (folder{filepath.Join(root, entry.Name())}).remove(); err != nil {
			failures = append(failures, err)
			continue
		}
		swept = append(swept, id)
	}
	return swept, errors.Join(failures...)
}
