package tidy

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTree applies the rules to this module.
func TestTree(t *testing.T) {
	root := filepath.Join("..", "..")
	sources := map[string]string{}
	for _, name := range trackedFiles(t, root) {
		if !strings.HasSuffix(name, ".go") && name != dependenciesDoc || strings.Contains(name, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			continue // deleted, and git has not been told yet
		}
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(text)
	}
	if _, ok := sources["internal/tidy/tidy.go"]; !ok || len(sources) < 10 {
		t.Fatalf("only %d files were found under %s: the check would be empty", len(sources), root)
	}
	for _, finding := range Check(sources) {
		t.Error(finding)
	}
}

// trackedFiles lists what git tracks or would track. Where git does not answer
// (a source archive, a checkout of another user) every file counts that does
// not lie in a hidden folder or among the built programs.
func trackedFiles(t *testing.T, root string) []string {
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	if out, err := list.Output(); err == nil {
		return strings.Split(string(bytes.TrimRight(out, "\x00")), "\x00")
	}
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || name == "bin") {
			return fs.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
