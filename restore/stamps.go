package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/slotark/slotark/internal/atomicfile"
)

// stamp tells a file from one that was written to since.
type stamp struct {
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

// stamps are by the path below the target folder. They stand beside the record
// from when all is there that gets its name next: what is found beside the
// staging folder may be this restore's only from then on.
type stamps map[string]stamp

// onlySeed looks that what is at a path, which in a node's folder is at a place, is
// what a restore has put there, and nothing that came to it later: a server that was
// started there writes. Where stamps are given, each file must have its own.
func onlySeed(at, folder, place string, whole stamps) error {
	return filepath.WalkDir(at, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return foreign(path)
		}
		below, err := filepath.Rel(at, path)
		if err != nil {
			return err
		}
		below = filepath.Join(place, below)
		if e.IsDir() {
			if below != "." && below != setFolder {
				return foreign(path)
			}
			return nil
		}
		inSet := filepath.Dir(below) == setFolder || filepath.Ext(below) == ".aof"
		known := below == dumpName || below == nodesName || inSet || whole == nil && atomicfile.IsTemp(e.Name())
		info, err := e.Info()
		if err == nil && whole != nil {
			was, listed := whole[filepath.Join(folder, below)]
			known = known && listed && was.of(info)
		}
		if err != nil || !known || !info.Mode().IsRegular() {
			return foreign(path)
		}
		return nil
	})
}

// readStamps is nil where there are none.
func readStamps(staging string) (whole stamps, err error) {
	err = readInto(filepath.Join(staging, wholeName), &whole)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return whole, err
}

// readInto decodes a file of JSON.
func readInto(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = json.NewDecoder(io.LimitReader(f, maxRecordBytes)).Decode(v)
	return errors.Join(err, f.Close())
}

func (s stamp) of(info fs.FileInfo) bool {
	return s.Bytes == info.Size() && s.Modified.Equal(info.ModTime())
}

// stampsOf are those of all files below some folders.
func stampsOf(dir string, folders []string) (stamps, error) {
	all := stamps{}
	for _, name := range folders {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			below, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil {
				all[below] = stamp{info.Size(), info.ModTime()}
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look into a node's folder: %w", err)
		}
	}
	return all, nil
}

// seal says that all is whole in the staging folder.
func (u *unfinished) seal(ctx context.Context, folders []string) error {
	whole, err := stampsOf(u.staging(), folders)
	if err != nil {
		return err
	}
	return u.put(ctx, wholeName, whole)
}

// put writes a file of JSON into the staging folder.
func (u *unfinished) put(ctx context.Context, name string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = atomicfile.Create(ctx, filepath.Join(u.staging(), name), bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
