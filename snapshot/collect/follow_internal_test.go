package collect

import (
	"os"
	"path/filepath"
	"testing"
)

// Two children that write at once are two servers in one folder: neither is taken
// for the node's.
func TestChildFile(t *testing.T) {
	folder := t.TempDir()
	s := &saving{path: filepath.Join(folder, "dump.rdb")}
	make := func(name string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := func(want string) {
		t.Helper()
		if got, err := s.childFile(); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	make("temp-1.rdb")
	var err error
	if s.leftovers, err = childFiles(s.path); err != nil {
		t.Fatal(err)
	}
	make("dump.rdb")
	make("temp-rewriteaof-7.aof")
	check("")
	own := make("temp-2.rdb")
	check(own)
	make("temp-3.rdb")
	check("")
}
