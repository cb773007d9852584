package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/progress"
)

// AppendOnly inspects the append-only files of a server: the folder or the
// manifest of 7.0 and later, or the one file of older ones, at a level that
// inspects. What is wrong with them is in the report; an error is what kept them from being read.
func AppendOnly(ctx context.Context, path string, level Level, show progress.Func) (*aof.Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	folder, name := path, ""
	if !info.IsDir() {
		folder, name = filepath.Split(filepath.Clean(path))
	}
	if folder == "" {
		folder = "."
	}
	report, err := aof.Inspect(ctx, os.DirFS(folder), name, aof.InspectOptions{
		Deep: level == Deep, Digest: level == Deep, ReadAll: level == Deep,
		OnProgress: func(file string, bytes int64) {
			show.Emit(progress.Event{Task: file, Phase: string(level), Done: bytes})
		},
	})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	return report, nil
}
