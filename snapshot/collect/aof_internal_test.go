package collect

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The one file of servers before Redis 7.0 is held as it was: what is appended
// later lies behind it, and a rewrite, which puts another in its place, is seen.
func TestOldFileIsHeld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "appendonly.aof")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("appendonly.aof", "*1\r\n$4\r\nPING\r\n")
	private := filepath.Join(dir, PrivatePrefix+"x")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	set := &AOFSet{folder: private}
	unchanged, err := set.linkOld(dir, "appendonly.aof")
	if err != nil {
		t.Fatal(err)
	}
	if err := unchanged(); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	linked, err := os.Stat(filepath.Join(private, "appendonly.aof"))
	if held, _ := set.Files[0].Stat(); err != nil || !os.SameFile(linked, held) {
		t.Errorf("it is not linked: %v", err)
	}
	write("temp-rewriteaof-1.aof", "*1\r\n$8\r\nFLUSHALL\r\n")
	if err := os.Rename(filepath.Join(dir, "temp-rewriteaof-1.aof"), path); err != nil {
		t.Fatal(err)
	}
	if err := unchanged(); !errors.Is(err, ErrStale) {
		t.Errorf("it was rewritten: %v", err)
	}
	if total, err := set.look(); total != 14 || err != nil {
		t.Errorf("held are %d bytes, %v", total, err)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(private); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the private folder is still there: %v", err)
	}
}

// A manifest that names what is not there any more was rewritten.
func TestManifestThatChanges(t *testing.T) {
	dir := t.TempDir()
	manifest := filepath.Join(dir, "appendonly.aof.manifest")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("appendonly.aof.manifest", "file a.1.incr.aof seq 1 type i\nfile a.2.incr.aof seq 2 type i\n")
	write("a.1.incr.aof", "")
	set := &AOFSet{}
	if _, err := set.linkAll(dir, "appendonly.aof"); !errors.Is(err, ErrStale) {
		t.Errorf("a file is gone: %v", err)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	write("a.2.incr.aof", "")
	set = &AOFSet{}
	unchanged, err := set.linkAll(dir, "appendonly.aof")
	if err != nil || len(set.Files) != 2 || unchanged() != nil {
		t.Fatalf("%d files, %v", len(set.Files), err)
	}
	if err := os.WriteFile(manifest, []byte("file a.3.incr.aof seq 3 type i\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unchanged(); !errors.Is(err, ErrStale) {
		t.Errorf("the manifest is another: %v", err)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}
