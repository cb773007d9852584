package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/hint"
)

// A server that is started with appendonly yes does not read dump.rdb, and
// overwrites it later (loadDataFromDisk in server.c). What it reads begins with a
// base, which is a dump: so with [Options].AppendOnly the dump is put there. Before
// 7.0 the base is the beginning of the one file that there is.

// checkBases refuses to make a set of what is one already.
func (r *run) checkBases() error {
	if !r.AppendOnly || !r.AOF {
		return nil
	}
	return hint.Refuse(errors.New("append-only files are loaded by servers with appendonly yes as they are"), "leave --append-only out, or --from-aof")
}

// manyFiles tells whether the servers keep their append-only files in a folder.
func (r *run) manyFiles() bool {
	version, _ := parseRelease(r.manifest.Server.Version)
	return version.atLeast(7, 0)
}

// dumpPath is where a node's dump is, below its folder.
func (r *run) dumpPath(dir string) string {
	switch {
	case !r.AppendOnly:
		return filepath.Join(dir, dumpName)
	case !r.manyFiles():
		return filepath.Join(dir, setPrefix)
	}
	return filepath.Join(dir, setFolder, setBase)
}

// seedBases writes what makes sets of the dumps of a bundle's primaries.
func (r *run) seedBases(ctx context.Context, b bundle) error {
	if !r.AppendOnly || !r.manyFiles() {
		return nil
	}
	for _, i := range b.onto {
		folder := filepath.Join(r.stagedFolder(i), setFolder)
		if err := os.Mkdir(folder, 0o700); err != nil {
			return fmt.Errorf("make the folder of append-only files: %w", err)
		}
		text := strings.NewReader("file " + setBase + " seq 1 type b\n")
		if _, err := atomicfile.Create(ctx, filepath.Join(folder, setManifest), text); err != nil {
			return fmt.Errorf("write the manifest of the append-only files: %w", err)
		}
	}
	return nil
}
