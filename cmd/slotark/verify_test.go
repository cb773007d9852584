package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/verify"
)

// fixtures are dumps that real servers wrote, each with what it holds.
const fixtures = "../../internal/rdb/testdata"

// copyFixture gives a test a fixture of its own.
func copyFixture(t *testing.T, name, to string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, to, string(data))
}

// wantText fails the test unless standard output is exactly this, a folder's
// name left out.
func (o outcome) wantText(t *testing.T, without, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), strings.ReplaceAll(o.stdout, without+"/", "")); diff != "" {
		t.Errorf("the report is not what it was (- want, + got):\n%s", diff)
	}
}

func TestVerifyDumpReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := copyFixture(t, "redis-7.0.15-types.rdb", filepath.Join(dir, "dump.rdb"))
	slotark(t, "", "verify", path).want(t, exitDone).wantText(t, dir, `
dump.rdb
  RDB 10, Redis 7.0.15, standalone, written 2026-11-22 18:00:35 UTC, 14.1 kB
  sound at level deep
  keys       45: 23 strings, 7 sets, 6 lists, 3 hashes, 3 streams, 3 zsets
  expiring   5
  databases  0 (41 keys), 3 (2 keys), 15 (2 keys)
  functions  2 libraries
  memory     1.6 MB used by the server
  checksum   CRC64 5e9c66ac97375419
  digest     5d55c72c0d1ebbcc5a14a43dbfb8893e
  BIGGEST KEYS  TYPE    IN THE DUMP  DB
  l:many        list    4.0 kB       0
  x:groups      stream  3.6 kB       0
  l:plain       list    1.2 kB       0
  h:many        hash    1.1 kB       0
  set:many      set     654 B        0
  set:mixed     set     459 B        0
  l:wide        list    456 B        0
  s:binary      string  314 B        0
  s:32-bit      string  242 B        0
  s:14-bit      string  221 B        0
`)
	// A damaged one says what had been read up to there, and that it proves nothing.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, data[:2000])
	slotark(t, "", "verify", path).want(t, exitFindings).wantText(t, dir, `
dump.rdb
  RDB 10, Redis 7.0.15, written 2026-11-22 18:00:35 UTC, 2.0 kB
  damaged: 1 finding
    truncated  at byte 1936
      140 bytes are announced here and at most 64 can follow
  read up to byte 1936, and not to be trusted:
    keys       13: 6 strings, 3 sets, 2 zsets, 1 hash, 1 stream
    expiring   2
    slots      13 with keys: 638, 1728, 4477, 5006, 5878, 8304, 9361, 9637,
               9905, 10247, 13038, 15429, 15808
    functions  2 libraries
    memory     1.6 MB used by the server
What comes after the damage was not read; what came before it cannot be trusted.
Restore from another copy: slotark list
`)
	// One whose checksum is wrong was read to its end.
	data[len(data)-1] ^= 1
	rewrite(t, path, data)
	if out := slotark(t, "", "verify", path).want(t, exitFindings).stdout; !strings.Contains(out, "Its structure was read to the end") || strings.Contains(out, "was not read") {
		t.Errorf("of a wrong checksum it says\n%s", out)
	}
	copyFixture(t, "redis-7.0.15-empty.rdb", filepath.Join(dir, "empty.rdb"))
	slotark(t, "", "verify", filepath.Join(dir, "empty.rdb"), "--level", "parse").want(t, exitDone).wantText(t, dir, `
empty.rdb
  RDB 10, Redis 7.0.15, written 2026-11-22 18:00:39 UTC, 89 B
  sound at level parse: it holds no key
  memory    964 kB used by the server
  checksum  CRC64 92a947a095275573
`)
}

// TestVerifyFixturesAsJSON verifies the folder of all fixtures and holds each
// message against what is kept of its dump.
func TestVerifyFixturesAsJSON(t *testing.T) {
	t.Parallel()
	o := slotark(t, "", "verify", fixtures, "--json").want(t, exitDone)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	dumps, err := filepath.Glob(filepath.Join(fixtures, "*.rdb"))
	if err != nil || len(lines) != len(dumps)+2 {
		t.Fatalf("%v, %d lines for %d dumps", err, len(lines), len(dumps))
	}
	if want := fmt.Sprintf(`{"message_type":"folder","path":"%s","dumps":%d,"append_only":0}`, fixtures, len(dumps)); lines[0] != want {
		t.Errorf("it begins with %s", lines[0])
	}
	if want := fmt.Sprintf(`{"message_type":"verify_summary","sound":%d,"damaged":0,"failed":0}`, len(dumps)); lines[len(lines)-1] != want {
		t.Errorf("it ends with %s", lines[len(lines)-1])
	}
	for i, path := range dumps {
		var message fileMessage
		decode(t, lines[i+1], &message)
		var kept struct {
			Server         string
			Checksum       bool
			Keys, Expiring uint64
			Types          map[string]uint64
			Functions      []string
			Slots          map[string][]uint32
			Digest         *rdb.Digest
		}
		text, err := os.ReadFile(strings.TrimSuffix(path, ".rdb") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &kept); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		engine, _, _ := strings.Cut(name, "-")
		if message.Path != path || !message.Sound || message.Level != "deep" || message.BytesRead != message.Bytes ||
			message.Server != engine || message.ServerVersion != kept.Server || message.Unverifiable == kept.Checksum || (message.CRC64 == "") == kept.Checksum ||
			message.Keys != kept.Keys || message.Expiring != kept.Expiring || message.Functions != len(kept.Functions) ||
			message.Slots != len(kept.Slots) || message.SlotRanges.Len() != len(kept.Slots) || len(message.Biggest) != int(min(kept.Keys, 10)) {
			t.Errorf("%s: %+v is not what is kept: %+v", name, message, kept)
		}
		if kept.Keys > 0 && !cmp.Equal(message.Types, kept.Types) || *message.Digest != *kept.Digest {
			t.Errorf("%s: types %v, digest %s", name, message.Types, message.Digest)
		}
		if want := modeOf(name, message); message.Mode != want {
			t.Errorf("%s: mode %q, want %q", name, message.Mode, want)
		}
	}
}

// modeOf is how the server of a fixture was run, as far as its dump can tell:
// Redis 7.0 does not announce slots, and no key is announced with none.
func modeOf(name string, message fileMessage) verify.Mode {
	switch {
	case message.Keys == 0:
		return verify.ModeUnknown
	case strings.Contains(name, "-cluster") && message.RDBVersion > 10:
		return verify.ModeCluster
	case len(message.Databases) > 1 || message.RDBVersion > 10:
		return verify.ModeStandalone
	}
	return verify.ModeUnknown
}

// decode reads one message, which may hold nothing that the type does not.
func decode(t *testing.T, line string, message any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(message); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
}

// TestVerifySeveral: what can be verified is, and the worst decides the status.
func TestVerifySeveral(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sound := copyFixture(t, "redis-7.0.15-lfu.rdb", filepath.Join(dir, "sound.rdb"))
	data, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	damaged := writeFile(t, filepath.Join(dir, "damaged.rdb"), string(data))
	missing := filepath.Join(dir, "missing.rdb")

	o := slotark(t, "", "verify", sound, missing, sound).want(t, exitFailed, "Of 3: 2 sound, 0 damaged, 1 not verified\n").wantOneLine(t)
	if want := "slotark: verify: stat " + missing + ": no such file or directory\n"; o.stderr != want {
		t.Errorf("stderr is %q, want %q", o.stderr, want)
	}
	o = slotark(t, "", "verify", missing, damaged, sound).want(t, exitFindings, "Of 3: 1 sound, 1 damaged, 1 not verified\n", "no such file").wantOneLine(t)
	if strings.Count(o.stdout, "RDB 10") != 2 {
		t.Errorf("not both dumps are reported:\n%s", o.stdout)
	}
	if o := slotark(t, "", "verify", missing).want(t, exitFailed, "no such file").wantOneLine(t); o.stdout != "" {
		t.Errorf("stdout is %q", o.stdout)
	}
	o = slotark(t, "", "verify", missing, damaged, "--json").want(t, exitFindings)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if len(lines) != 3 || o.stderr != "" {
		t.Fatalf("stdout %s\nstderr %s", o.stdout, o.stderr)
	}
	var failed verifyErrorMessage
	var file fileMessage
	var summary verifySummaryMessage
	decode(t, lines[0], &failed)
	decode(t, lines[1], &file)
	decode(t, lines[2], &summary)
	if failed.Type != "verify_error" || !strings.Contains(failed.Error, "missing.rdb: no such file") || summary != (verifySummaryMessage{"verify_summary", 0, 1, 1}) {
		t.Errorf("%+v, %+v", failed, summary)
	}
	if file.Sound || len(file.Findings) != 1 || file.Digest != nil || file.CRC64 != "" {
		t.Fatalf("%+v", file)
	}
	if f := file.Findings[0]; f.Code != "crc64" || f.Severity != "error" || f.Subject != damaged || *f.Offset != int64(len(data)-8) || f.Detail == "" {
		t.Errorf("%+v", f)
	}
	slotark(t, "", "verify", missing, sound, "--json").want(t, exitFailed, `"message_type":"exit_error","code":1`)
}

// spliced is the dump of a real server without checksums, in which one key
// stands twice.
func spliced(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	server := startServer(t, dir, "--rdbchecksum", "no")
	do(t, server.Addr(), "SET", "dup", "v")
	do(t, server.Addr(), "SAVE")
	data, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	record := []byte("\x00\x03dup\x01v")
	if bytes.Count(data, record) != 1 {
		t.Fatalf("the key stands %d times in the dump", bytes.Count(data, record))
	}
	return bytes.Replace(data, record, bytes.Repeat(record, 2), 1)
}

func startServer(t *testing.T, dir string, args ...string) *redisproc.Process {
	t.Helper()
	server, err := redisproc.Start(t.Context(), redisproc.Options{Dir: dir, Password: password, Args: append([]string{"--save", ""}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	return server
}

// TestVerifyLevelsOfFiles: what only the level deep sees, of a dump and of a
// set that begins with it.
func TestVerifyLevelsOfFiles(t *testing.T) {
	t.Parallel()
	dump := string(spliced(t))
	dir := t.TempDir()
	path := writeFile(t, filepath.Join(dir, "dump.rdb"), dump)
	set := filepath.Join(dir, "aof")
	if err := os.Mkdir(set, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(set, "a.1.base.rdb"), dump)
	writeFile(t, filepath.Join(set, "a.manifest"), "file a.1.base.rdb seq 1 type b\n")

	slotark(t, "", "verify", path).want(t, exitFindings, "damaged: 1 finding", "duplicate  at byte ", `key "dup" stands in database 0 for the second time`)
	slotark(t, "", "verify", path, "--level", "parse").want(t, exitDone, "sound at level parse", "unverifiable: it has no CRC64",
		"note      resize-db at byte ", "announced with 1 keys")
	slotark(t, "", "verify", set).want(t, exitFindings, "damaged: a server does not start with it", "dump  a.1.base.rdb  at byte ", "duplicate: key", "not to be trusted")
	slotark(t, "", "verify", set, "--level", "parse").want(t, exitDone, "sound: a server loads all of it (level parse)")
	for _, level := range []string{"exists", "checksum"} {
		for _, what := range []string{path, set, dir} {
			slotark(t, "", "verify", what, "--level", level).want(t, exitUsage, "--level "+level+" is for snapshots", "--level parse or --level deep").wantOneLine(t)
		}
	}
	slotark(t, "", "verify", path, "--live").want(t, exitUsage, "--live compares a cluster with a snapshot").wantOneLine(t)
}

// TestVerifyUnchecked: what was not checked is said, and is no damage.
func TestVerifyUnchecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startServer(t, dir)
	for part := range 12 {
		do(t, server.Addr(), "EVAL", "for i = 1, 50000 do redis.call('SADD', 's', 'm' .. ARGV[1] .. '-' .. i) end", "0", part)
	}
	do(t, server.Addr(), "SAVE")
	path := filepath.Join(dir, "dump.rdb")
	slotark(t, "", "verify", path).want(t, exitDone, "sound at level deep", "unchecked  some names, or members of a value, were not held against", "That is no damage.")
	slotark(t, "", "verify", path, "--json").want(t, exitDone, `"sound":true`, `"duplicates_unchecked":true`)
}

// TestVerifySnapshotReport: each shard has a line with what came of it in each
// store, whatever the level, and the whole a fingerprint where it is sound.
func TestVerifySnapshotReport(t *testing.T) {
	t.Parallel()
	c := small(t)
	dir := t.TempDir()
	eu, us := filepath.Join(dir, "eu"), filepath.Join(dir, "us")
	stores := []string{"--repo", eu, "--mirror", us}
	slotark(t, password, append([]string{"snapshot", "--compression", "none", "--node", c.Addrs()[0]}, stores...)...).want(t, exitDone)
	run := func(args ...string) outcome {
		return slotark(t, "", append(append([]string{"verify", "latest"}, args...), stores...)...)
	}
	var message verificationMessage
	for _, level := range []string{"exists", "checksum", "parse", "deep"} {
		o := run("--level", level).want(t, exitDone, "SLOTS", "IN eu", "IN us", "5461-1092", "sound at level "+level+" in eu and us: 16 objects")
		if strings.Contains(o.stdout, "fingerprint") != (level == "deep") {
			t.Errorf("level %s prints\n%s", level, o.stdout)
		}
		message = verificationMessage{}
		decode(t, run("--level", level, "--json").want(t, exitDone).stdout, &message)
		if message.Level != level || !message.Sound || message.Keys != 600 || len(message.Shards) != 6 || (message.Fingerprint == nil) == (level == "deep") {
			t.Errorf("level %s: %+v", level, message)
		}
	}
	var sum rdb.Digest
	keys := uint64(0)
	for i, shard := range message.Shards {
		other := message.Shards[(i+3)%6]
		if shard.Store != []string{"eu", "us"}[i/3] || shard.Slots != other.Slots || *shard.Digest != *other.Digest || !shard.Sound || shard.Bytes == 0 {
			t.Errorf("shard %d: %+v", i, shard)
		}
		if i < 3 {
			sum, keys = sum.Add(*shard.Digest), keys+shard.Keys
		}
	}
	if keys != 600 || sum != *message.Fingerprint {
		t.Errorf("%d keys, sum %s, fingerprint %s", keys, sum, message.Fingerprint)
	}

	// Damage in one store is that store's alone, and says where it is.
	dumps, err := filepath.Glob(filepath.Join(us, "*", "snapshots", "*", "*", "dump.rdb"))
	if err != nil || len(dumps) != 3 {
		t.Fatalf("%v, dumps %v", err, dumps)
	}
	data, err := os.ReadFile(dumps[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	rewrite(t, dumps[0], data)
	run().want(t, exitFindings, "damaged: checksum", "damaged at level deep: 2 findings", "Restore from a store without findings",
		fmt.Sprintf("crc64     us: %s/dump.rdb  at byte %d\n", filepath.Base(filepath.Dir(dumps[0])), len(data)-8))
	decode(t, run("--json").want(t, exitFindings).stdout, &message)
	if f := message.Findings; len(f) != 2 || f[0].Code != "checksum" || f[0].Offset != nil || f[1].Code != "crc64" || f[1].Offset == nil || *f[1].Offset != int64(len(data)-8) {
		t.Errorf("findings %+v", f)
	}
	if message.Fingerprint == nil || message.Sound || message.Shards[3].Sound == message.Shards[0].Sound {
		t.Errorf("%+v", message)
	}
	run("--level", "exists").want(t, exitDone)

	// Several at once: a snapshot and a path, and a snapshot that is not there.
	slotark(t, "", append([]string{"verify", "latest", dumps[1], "19990101T000000Z-aaaaaa"}, stores...)...).
		want(t, exitFindings, "Of 3: 1 sound, 1 damaged, 1 not verified", "19990101T000000Z-aaaaaa").wantOneLine(t)
	slotark(t, "", "verify", dumps[1], "latest").want(t, exitUsage, "no repository was named").wantOneLine(t)
}

// Names of keys are any bytes: a person sees them quoted where they are not
// plain, and a program gets them whole.
func TestBiggestKeyNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key       string
		shortened bool
		text      string
		json      string
	}{
		{"user:1", false, "user:1", `{"key":"user:1","db":0,"slot":7,"type":"hash","bytes":9}`},
		{"größe", false, "größe", `{"key":"größe","db":0,"slot":7,"type":"hash","bytes":9}`},
		{"a b", false, `"a b"`, `{"key":"a b","db":0,"slot":7,"type":"hash","bytes":9}`},
		{"\x1b[2J", false, `"\x1b[2J"`, `{"key":"\u001b[2J","db":0,"slot":7,"type":"hash","bytes":9}`},
		{"\xff", false, `"\xff"`, `{"key_base64":"/w==","db":0,"slot":7,"type":"hash","bytes":9}`},
		{"long", true, "long…", `{"key":"long","shortened":true,"db":0,"slot":7,"type":"hash","bytes":9}`},
		{strings.Repeat("k", 60), false, strings.Repeat("k", 48) + "…", `{"key":"` + strings.Repeat("k", 60) + `","db":0,"slot":7,"type":"hash","bytes":9}`},
	} {
		if got := keyText(test.key, test.shortened); got != test.text {
			t.Errorf("%q is shown as %s, want %s", test.key, got, test.text)
		}
		report := &rdb.Report{Biggest: []rdb.KeySize{{Slot: 7, Key: test.key, Shortened: test.shortened, Family: rdb.Hash, Bytes: 9}}}
		var out bytes.Buffer
		writeJSON(&out, newDumpFacts(report, verify.Deep, true).Biggest[0])
		if got := strings.TrimSpace(out.String()); got != test.json {
			t.Errorf("%q is %s as JSON, want %s", test.key, got, test.json)
		}
	}
}
