package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return strings.Join(all, " ")
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	info, err := Create(t.Context(), path, strings.NewReader("first"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 5 || info.Mode().Perm() != 0o600 {
		t.Errorf("got %d bytes with mode %v", info.Size(), info.Mode())
	}
	if _, err := Create(t.Context(), path, strings.NewReader("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "first" {
		t.Errorf("the file became %q", got)
	}
	if got := names(t, dir); got != "file" {
		t.Errorf("the folder holds %s", got)
	}
}

// A large file goes to the disk in pieces while it is written, the last of them
// smaller than the others.
func TestCreateLargeFile(t *testing.T) {
	want := make([]byte, 2*writeOutBytes+writeOutBytes/2+1)
	rand.NewChaCha8([32]byte{1}).Read(want)
	path := filepath.Join(t.TempDir(), "file")
	info, err := Create(t.Context(), path, iotest.HalfReader(bytes.NewReader(want)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || info.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("%d bytes became %d others, %v", len(want), len(got), err)
	}
}

func TestCreateLeavesNothing(t *testing.T) {
	broken := errors.New("broken")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	for name, c := range map[string]struct {
		ctx  context.Context
		body io.Reader
		want error
	}{
		"body error":          {t.Context(), io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken)), broken},
		"body unexpected EOF": {t.Context(), io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
		"cancelled":           {cancelled, strings.NewReader("x"), broken},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := Create(c.ctx, filepath.Join(dir, "file"), c.body); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if got := names(t, dir); got != "" {
				t.Errorf("the folder holds %s", got)
			}
		})
	}
}

func TestCreateRace(t *testing.T) {
	dir := t.TempDir()
	var wins sync.Map
	var wait sync.WaitGroup
	for _, text := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		wait.Go(func() {
			if _, err := Create(t.Context(), filepath.Join(dir, "file"), strings.NewReader(text)); err == nil {
				wins.Store(text, true)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	got, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	wins.Range(func(text, _ any) bool {
		if text != string(got) {
			t.Errorf("%v was told it won, the file holds %q", text, got)
		}
		return true
	})
}

func TestRenameNoReplace(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, path := range []string{from, to} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := renameNoReplace(from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
	if err := renameNoReplace(from, to+"2"); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); got != "to to2" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(file, "d"), 0o700); err == nil {
		t.Error("a folder was made below a file")
	}
}
