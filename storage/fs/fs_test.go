package fs_test

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return fs.Open(t.TempDir()) })
}

func TestRootIsMadeByPut(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "yet")
	s := fs.Open(root)
	_, statErr := s.Stat(t.Context(), "a/b")
	_, openErr := s.Open(t.Context(), "a/b")
	var listErr error
	for _, err := range s.List(t.Context(), "") {
		listErr = err
	}
	for verb, err := range map[string]error{"stat": statErr, "open": openErr, "list": listErr, "delete": s.Delete(t.Context(), "a/b")} {
		if !errors.Is(err, storage.ErrNoStore) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v, want ErrNoStore with a hint", verb, err)
		}
	}
	if _, err := os.Stat(root); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("asking has made the root: %v", err)
	}
	storagetest.Put(t, s, "a/b", []byte("x"))
	for path, mode := range map[string]iofs.FileMode{"": 0o700, "a": 0o700, "a/b": 0o600} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q has mode %v (%v), want %v", path, info.Mode(), err, mode)
		}
	}
}

func TestRootIsAFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := fs.Open(root)
	_, putErr := s.Put(t.Context(), "a", strings.NewReader("x"))
	_, statErr := s.Stat(t.Context(), "a")
	var listErr error
	for _, err := range s.List(t.Context(), "") {
		listErr = err
	}
	for verb, err := range map[string]error{"put": putErr, "stat": statErr, "list": listErr} {
		if !errors.Is(err, storage.ErrNoStore) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// A process that was killed leaves a temporary file: nobody may take it for
// an object, neither under its own name nor in a list.
func TestTemporaryFilesAreNoObjects(t *testing.T) {
	root := t.TempDir()
	s := fs.Open(root)
	storagetest.Put(t, s, "a/b", []byte("x"))
	const left = ".slotark-tmp-123"
	if err := os.WriteFile(filepath.Join(root, "a", left), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := storagetest.Names(t, s, ""); len(names) != 1 {
		t.Errorf("listed %q", names)
	}
	if _, err := s.Stat(t.Context(), "a/"+left); !errors.Is(err, storage.ErrName) {
		t.Errorf("stat: %v", err)
	}
}

// A failed Put must leave no temporary file and no empty folders behind.
func TestFailedPutLeavesNoFiles(t *testing.T) {
	root := t.TempDir()
	if _, err := fs.Open(root).Put(t.Context(), "a/b/c", iotest.ErrReader(errors.New("broken"))); err == nil {
		t.Fatal("no error")
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) > 0 {
		t.Errorf("left %v %v", entries, err)
	}
}

func TestFolderBehindALink(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(root, "prod")); err != nil {
		t.Fatal(err)
	}
	s := fs.Open(root)
	storagetest.Put(t, s, "prod/a", []byte("x"))
	if names := storagetest.Names(t, s, ""); len(names) != 1 || names[0] != "prod/a" {
		t.Errorf("listed %q", names)
	}
	if err := s.Delete(t.Context(), "prod/a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "prod")); err != nil {
		t.Errorf("the last object's Delete took the link: %v", err)
	}
}

// The file is cut short while it is read: the reader must not take that for
// the end of the object.
func TestReadCutShort(t *testing.T) {
	root := t.TempDir()
	s := fs.Open(root)
	storagetest.Put(t, s, "a", bytes.Repeat([]byte("x"), 1<<20))
	r, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := os.Truncate(filepath.Join(root, "a"), 100); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, nil); err == nil || !strings.Contains(err.Error(), "are missing") {
		t.Errorf("got %v", err)
	}
}

func TestObjectWhereAFolderMustBe(t *testing.T) {
	s := fs.Open(t.TempDir())
	storagetest.Put(t, s, "a", []byte("x"))
	_, err := s.Put(t.Context(), "a/b", strings.NewReader("x"))
	if err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v", err)
	}
}

// The last Delete takes the folders away, so that pruning does not leave ten
// thousand empty ones, and the name of object and folder are free again.
func TestDeleteTakesEmptyFolders(t *testing.T) {
	root := t.TempDir()
	s := fs.Open(root)
	storagetest.Put(t, s, "a/b/c", []byte("x"))
	if err := s.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("left %v %v", entries, err)
	}
	storagetest.Put(t, s, "a/b", []byte("y"))
}

// Folders reads one folder, and says the same of a missing store as List.
func TestFolders(t *testing.T) {
	root := t.TempDir()
	store := fs.Open(root)
	for _, name := range []string{"a/x/1", "a/y/2", "a/file", "b/z"} {
		storagetest.Put(t, store, name, []byte("x"))
	}
	if err := os.Symlink(filepath.Join(root, "b"), filepath.Join(root, "a", "link")); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{"": "a b", "a/": "link x y", "a/x/": "", "none/": "", "a/file/": ""} {
		if got, err := store.Folders(t.Context(), prefix); err != nil || strings.Join(got, " ") != want {
			t.Errorf("below %q: %v, %v", prefix, got, err)
		}
	}
	if _, err := store.Folders(t.Context(), "../"); !errors.Is(err, storage.ErrName) {
		t.Errorf("above the root: %v", err)
	}
	if _, err := fs.Open(filepath.Join(root, "none")).Folders(t.Context(), ""); !errors.Is(err, storage.ErrNoStore) {
		t.Errorf("no store: %v", err)
	}
}
