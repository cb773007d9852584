package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/progress"
)

// IsAppendOnly tells whether a path is for [AppendOnly]: a folder, a manifest,
// or a file of commands. Anything else is for [File], which says what is wrong
// with what is neither.
func IsAppendOnly(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("verify: %w", err)
	}
	info, err := file.Stat()
	head := make([]byte, 5)
	if err == nil && !info.IsDir() {
		var n int
		n, err = io.ReadFull(file, head)
		if head = head[:n]; err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil // a short file: what there is decides
		}
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return false, fmt.Errorf("verify: %w", err)
	}
	switch name := filepath.Base(path); {
	case info.IsDir(), strings.HasSuffix(name, ".manifest"), strings.HasSuffix(name, ".aof"):
		return true, nil
	case string(head) == "file ":
		return true, nil
	}
	// A command, or an annotation such as #TS:.
	return len(head) > 0 && (head[0] == '*' || head[0] == '#'), nil
}

// AppendOnly inspects the append-only files of a server: the folder or the
// manifest of 7.0 and later, or the one file of older ones. What is wrong with
// them is in the report; an error is what kept them from being read.
func AppendOnly(ctx context.Context, path string, show progress.Func) (*aof.Report, error) {
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
	report, err := aof.Inspect(ctx, os.DirFS(folder), name, aof.InspectOptions{OnProgress: func(file string, bytes int64) {
		show.Emit(progress.Event{Task: file, Phase: string(Parse), Done: bytes})
	}})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	return report, nil
}
