package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/readahead"
)

// FileReport is what inspecting a bare dump found.
type FileReport struct {
	Path         string
	Level        Level
	Bytes        int64
	Dump         *rdb.Report // as far as it could be read
	Damage       *rdb.Damage // nil where the dump is sound
	Unverifiable bool        // the dump has no CRC64 to check (rdbchecksum no)
}

// File inspects one dump outside any repository, at a level that inspects. Damage is in the report; an
// error is what kept the file from being read.
func File(ctx context.Context, path string, level Level, show progress.Func) (*FileReport, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("verify %s: it is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	task := progress.Event{Task: path, Phase: string(level), Total: info.Size()}
	report := &FileReport{Path: path, Level: level, Bytes: info.Size()}
	options := level.options(info.Size())
	options.OnProgress = func(done int64, keys uint64) {
		task := task
		task.Done, task.Keys = done, keys
		show.Emit(task)
	}
	var source io.ReadCloser = io.NopCloser(file)
	if level == Parse {
		// The kernel copies the file's next bytes while these are looked at. At
		// level deep, workers keep the other processors busy.
		source = readahead.New(file)
	}
	report.Dump, err = rdb.Inspect(ctx, source, options)
	task.Ended = true
	show.Emit(task)
	if errors.As(err, &report.Damage) {
		err = nil
	}
	report.Unverifiable = report.Damage == nil && report.Dump != nil && report.Dump.ChecksumDisabled
	return report, errors.Join(err, source.Close(), file.Close())
}
