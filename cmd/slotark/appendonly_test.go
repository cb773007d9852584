package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slotark/slotark/internal/redisproc"
)

// TestVerifyAppendOnly verifies what a real server wrote, whole and damaged.
func TestVerifyAppendOnly(t *testing.T) {
	dir := t.TempDir()
	server, err := redisproc.Start(t.Context(), redisproc.Options{
		Dir: dir, Args: []string{"--appendonly", "yes", "--appendfsync", "always", "--aof-timestamp-enabled", "yes", "--save", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	node := server.Access().Open(server.Addr())
	for _, command := range [][]any{{"SET", "a", "1"}, {"HSET", "h", "f", "v"}, {"RPUSH", "l", "x", "y"}} {
		if _, err := node.Do(t.Context(), command...); err != nil {
			t.Fatal(err)
		}
	}
	node.Close()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "appendonlydir")
	manifest, increment := filepath.Join(folder, "appendonly.aof.manifest"), filepath.Join(folder, "appendonly.aof.1.incr.aof")
	for _, path := range []string{folder, manifest, increment} {
		slotark(t, "", "verify", path).want(t, exitDone, "sound: a server loads all of it", "appendonly.aof.1.incr.aof")
	}
	slotark(t, "", "verify", folder, "--json").want(t, exitDone, `"message_type":"append_only"`, `"sound":true`, `"type":"base"`, `"type":"incr"`)

	whole, err := os.ReadFile(increment)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, increment, whole[:len(whole)-3])
	slotark(t, "", "verify", folder).want(t, exitFindings, "damaged: a server with aof-load-truncated yes", "truncated")
	rewrite(t, increment, append([]byte("*1\r\n$x\r\n"), whole...))
	slotark(t, "", "verify", folder).want(t, exitFindings, "damaged: a server does not start with it", "appendonly.aof.1.incr.aof byte ")
	if err := os.Remove(increment); err != nil {
		t.Fatal(err)
	}
	slotark(t, "", "verify", folder).want(t, exitFindings, "missing", "appendonly.aof.1.incr.aof")
	slotark(t, "", "verify", t.TempDir()).want(t, exitFailed, "no manifest in the folder").wantOneLine(t)
}
