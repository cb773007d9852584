package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerifyAppendOnly verifies what a real server wrote, whole and damaged.
func TestVerifyAppendOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startServer(t, dir, "--appendonly", "yes", "--appendfsync", "always", "--aof-timestamp-enabled", "yes")
	for _, command := range [][]any{{"SET", "a", "1"}, {"HSET", "h", "f", "v"}, {"RPUSH", "l", "x", "y"}} {
		do(t, server.Addr(), command...)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "appendonlydir")
	manifest, increment := filepath.Join(folder, "appendonly.aof.manifest"), filepath.Join(folder, "appendonly.aof.1.incr.aof")
	for _, path := range []string{folder, manifest, increment} {
		slotark(t, "", "verify", path).want(t, exitDone, "sound: a server loads all of it (level deep)", "appendonly.aof.1.incr.aof",
			"commands of ", "commands  4: 1 HSET, 1 RPUSH, 1 SELECT, 1 SET", "slots     3 touched by commands: 11562, 11694, 15495")
	}
	slotark(t, "", "verify", folder).want(t, exitDone, "it begins with a dump, RDB 10, Redis 7.0.15", "    checksum  CRC64 ")

	var message appendOnlyMessage
	decode(t, slotark(t, "", "verify", folder, "--json").want(t, exitDone).stdout, &message)
	if message.Type != "append_only" || message.Path != folder || message.Level != "deep" || !message.Sound || !message.Loadable ||
		message.Commands != 4 || message.Names["RPUSH"] != 1 || message.Slots != 3 || message.SlotRanges.Len() != 3 || message.First == nil || message.Last == nil ||
		message.Base == nil || message.Base.RDBVersion != 10 || message.Base.CRC64 == "" || message.Base.Digest == nil || len(message.Findings) != 0 {
		t.Errorf("%+v", message)
	}
	if f := message.Files; len(f) != 2 || f[0].Type != "base" || f[1].Type != "incr" || f[1].Commands != 4 || f[1].SafeEnd != f[1].Bytes {
		t.Errorf("files %+v", f)
	}

	whole, err := os.ReadFile(increment)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(whole, []byte("*4\r\n$5\r\nRPUSH"))
	rewrite(t, increment, whole[:len(whole)-3])
	slotark(t, "", "verify", folder).want(t, exitFindings, "damaged: a server with aof-load-truncated yes", "not to be trusted",
		fmt.Sprintf("truncated  appendonly.aof.1.incr.aof  at byte %d\n", last), fmt.Sprintf("byte %d, %d B short", last, len(whole)-3-last))
	decode(t, slotark(t, "", "verify", folder, "--json").want(t, exitFindings).stdout, &message)
	if f := message.Findings; len(f) != 1 || f[0].Code != "truncated" || f[0].Subject != "appendonly.aof.1.incr.aof" || f[0].Offset == nil || *f[0].Offset != int64(last) {
		t.Errorf("findings %+v", f)
	}
	rewrite(t, increment, append([]byte("*1\r\n$x\r\n"), whole...))
	slotark(t, "", "verify", folder).want(t, exitFindings, "damaged: a server does not start with it", "appendonly.aof.1.incr.aof  at byte 4")
	if err := os.Remove(increment); err != nil {
		t.Fatal(err)
	}
	slotark(t, "", "verify", folder).want(t, exitFindings, "missing  appendonly.aof.1.incr.aof  the file is not there")
	rewrite(t, manifest, []byte("file appendonly.aof.1.base.rdb seq 1 type b\nfile\n"))
	slotark(t, "", "verify", folder).want(t, exitFindings, "manifest  appendonly.aof.manifest line 2")
}

// TestVerifyFolder verifies what folders hold, and says what that is.
func TestVerifyFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	server := startServer(t, data, "--appendonly", "yes", "--appendfsync", "always")
	do(t, server.Addr(), "SET", "a", "1")
	do(t, server.Addr(), "SAVE")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	slotark(t, "", "verify", data).want(t, exitDone, data+" holds 1 dump and 1 set of append-only files\n",
		filepath.Join(data, "dump.rdb")+"\n  RDB 10", filepath.Join(data, "appendonlydir")+"  append-only files", "Of 2: 2 sound, 0 damaged\n")

	// A dump is known by what it holds too, and what a server left half written is passed over.
	if err := os.Rename(filepath.Join(data, "dump.rdb"), filepath.Join(data, "nightly")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(data, "temp-77.rdb"), "REDIS0010")
	writeFile(t, filepath.Join(data, "nodes.conf"), "vars currentEpoch 0 lastVoteEpoch 0\n")
	writeFile(t, filepath.Join(data, "cut.rdb"), "REDIS00")
	slotark(t, "", "verify", data).want(t, exitFindings, " holds 2 dumps and 1 set of append-only files; passed over, not written to the end: temp-77.rdb\n",
		filepath.Join(data, "nightly")+"\n  RDB 10", filepath.Join(data, "cut.rdb")+"  7 B", "truncated  at byte 7", "Of 3: 2 sound, 1 damaged\n")
	slotark(t, "", "verify", data, "--json").want(t, exitFindings, `"dumps":2,"append_only":1,"unfinished":["temp-77.rdb"]}`)

	// One alone needs no summary.
	one := t.TempDir()
	copyFixture(t, "redis-7.0.15-empty.rdb", filepath.Join(one, "dump.rdb"))
	if o := slotark(t, "", "verify", one).want(t, exitDone, one+" holds 1 dump\n", "it holds no key"); strings.Contains(o.stdout, "Of ") {
		t.Errorf("a summary of one:\n%s", o.stdout)
	}
	empty := t.TempDir()
	slotark(t, "", "verify", empty).want(t, exitFailed, "verify "+empty+": nothing to verify in this folder", "hint: name a dump").wantOneLine(t)
	writeFile(t, filepath.Join(empty, "temp-1.rdb"), "")
	slotark(t, "", "verify", empty).want(t, exitFailed, "(but temp-1.rdb, not written to its end)").wantOneLine(t)
	writeFile(t, filepath.Join(empty, "slotark.json"), "{}")
	slotark(t, "", "verify", empty).want(t, exitFailed, "hint: this is a repository: slotark verify latest --repo "+empty).wantOneLine(t)
}
