package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/sealtest"
)

// newIdentity makes a pair of keys: the public one, and the private one's file.
func newIdentity(t *testing.T) (recipient, file string) {
	t.Helper()
	key := sealtest.NewKey(t)
	return key.Public, key.File
}

// sealing is a way to seal a snapshot.
type sealing struct {
	take, read []string // flags of who takes it, and of who reads it
	suffix     string   // what the dumps' names end in
}

func sealings(t *testing.T) map[string]sealing {
	t.Helper()
	recipient, identity := newIdentity(t)
	return map[string]sealing{
		"as it is":   {[]string{"--compression", "none"}, nil, ".rdb"},
		"compressed": {nil, nil, ".rdb.zst"},
		"encrypted":  {[]string{"--compression", "none", "--recipient", recipient}, []string{"--identity", identity}, ".rdb.age"},
		"both":       {[]string{"--recipient", recipient, "--compression-level", "default"}, []string{"--identity", identity}, ".rdb.zst.age"},
	}
}

// TestSealedRoundTrip takes a snapshot to S3 sealed in each way, verifies it,
// restores it, and compares it.
func TestSealedRoundTrip(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 3_000, Seed: 21})
	s3 := s3test.Start(t)
	for name, way := range sealings(t) {
		t.Run(name, func(t *testing.T) {
			mirror := filepath.Join(t.TempDir(), "mirror")
			stores := []string{"--repo", s3.URL(s3.Bucket(t, strings.ReplaceAll(name, " ", "-")), "x"), "--mirror", mirror}
			run := func(code int, args []string, parts ...string) {
				t.Helper()
				slotark(t, password, append(args, stores...)...).want(t, code, parts...)
			}
			run(exitDone, append([]string{"snapshot", "--node", c.Addrs()[0]}, way.take...), "3,000 keys in 16384 slots")
			if n := len(slices.DeleteFunc(objects(t, mirror), func(o string) bool { return !strings.HasSuffix(o, way.suffix) })); n != 3 {
				t.Errorf("%d objects end in %s, want 3: %v", n, way.suffix, objects(t, mirror))
			}
			run(exitDone, append([]string{"verify", "latest"}, way.read...), "sound at level deep")
			run(exitDone, []string{"verify", "latest", "--level", "checksum"}, "sound at level checksum")
			run(exitDone, append([]string{"show", "latest", "--slots"}, way.read...), "fingerprint ")
			run(exitDone, append([]string{"verify", "latest", "--live", "--node", c.Addrs()[0]}, way.read...), "equal: 3,000 keys")
			run(exitDone, append([]string{"restore", "latest", "--to", strings.Join(emptyNodes(t, 3), ",")}, way.read...), "equal: 3,000 keys")
			run(exitDone, append([]string{"restore", "latest", "--to-dir", filepath.Join(t.TempDir(), "seeded"), "--at", "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003"}, way.read...))
		})
	}
}

// TestWrongIdentity: a missing or wrong identity is exit code 12 with the
// recipients' public keys, before anything is asked of a target.
func TestWrongIdentity(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 22})
	recipient, identity := newIdentity(t)
	second, secondIdentity := newIdentity(t)
	_, stranger := newIdentity(t)
	repo := filepath.Join(t.TempDir(), "repo")
	config := filepath.Join(t.TempDir(), "slotark.yaml")
	text := fmt.Sprintf("repository:\n  primary: %s\n  seal: {recipients: [%s, %s]}\n  identity_file: %s\n", repo, recipient, second, filepath.Join(t.TempDir(), "not-here"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Taking needs no identity: that the file is not there is nobody's concern.
	slotark(t, password, "snapshot", "--config", config, "--node", c.Addrs()[0]).want(t, exitDone, "encrypted to "+recipient+" and "+second)
	targets := strings.Join(emptyNodes(t, 3), ",")
	for _, verb := range [][]string{
		{"verify", "latest"}, {"show", "latest", "--slots"}, {"drill", "--runtime", "process"}, {"restore", "latest", "--to", targets},
		{"restore", "latest", "--to-dir", filepath.Join(t.TempDir(), "seeded")}, {"verify", "latest", "--live", "--node", c.Addrs()[0]},
		{"reseal", "latest", "--recipient", recipient},
	} {
		verb = append(verb, "--repo", repo)
		slotark(t, password, verb...).want(t, exitNoIdentity, "no identity was given", recipient, second, "--identity FILE").wantOneLine(t)
		o := slotark(t, password, append(verb, "--identity", stranger)...).want(t, exitNoIdentity, "is another's", recipient).wantOneLine(t)
		if strings.Contains(o.stdout+o.stderr, "SECRET") {
			t.Errorf("it prints a secret: %s%s", o.stdout, o.stderr)
		}
	}
	for _, verb := range [][]string{{"list"}, {"show", "latest"}, {"verify", "latest", "--level", "checksum"}, {"verify", "latest", "--level", "exists"}} {
		slotark(t, password, append(verb, "--repo", repo)...).want(t, exitDone)
	}
	slotark(t, password, "verify", "latest", "--config", config).want(t, exitUsage, "not-here")
	slotark(t, password, "verify", "latest", "--repo", repo, "--identity", stranger, "--identity", secondIdentity).want(t, exitDone, "sound")
	cmd := command(t.Context(), password, "restore", "latest", "--repo", repo, "--to", targets)
	cmd.Env = append(cmd.Env, identityEnv+"="+identity)
	finish(t, cmd).want(t, exitDone, "equal: 300 keys")

	secret, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	o := slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0], "--recipient", strings.TrimSpace(string(secret))).
		want(t, exitUsage, "--recipient", "is a private identity")
	if strings.Contains(o.stdout+o.stderr, strings.TrimSpace(string(secret))) {
		t.Errorf("it repeats the private key: %s", o.stderr)
	}
}

// TestReseal seals snapshots again to another: the old key opens the old ones,
// the new one the new, which are the same.
func TestReseal(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 23})
	oldRecipient, oldKey := newIdentity(t)
	newRecipient, newKey := newIdentity(t)
	stores := []string{"--repo", filepath.Join(t.TempDir(), "repo"), "--mirror", filepath.Join(t.TempDir(), "mirror")}
	run := func(code int, args []string, parts ...string) outcome {
		t.Helper()
		return slotark(t, password, append(args, stores...)...).want(t, code, parts...)
	}
	run(exitDone, []string{"snapshot", "--node", c.Addrs()[0], "--compression", "none", "--cluster", "other"})
	run(exitDone, []string{"snapshot", "--node", c.Addrs()[0], "--recipient", oldRecipient, "--cluster", "prod"})
	var was manifest.Manifest
	show := func(m *manifest.Manifest) {
		t.Helper()
		var message struct{ Manifest *manifest.Manifest }
		if err := json.Unmarshal([]byte(run(exitDone, []string{"show", "latest", "--json", "--cluster", "prod"}).stdout), &message); err != nil {
			t.Fatal(err)
		}
		*m = *message.Manifest
	}
	show(&was)
	run(exitUsage, []string{"reseal", "latest", "--identity", oldKey}, "no recipient was named")
	reseal := []string{"reseal", "--all", "--identity", oldKey, "--recipient", newRecipient}
	if o := run(exitDone, reseal, "holds the dumps of "+string(was.ID), newRecipient); strings.Count(o.stdout, "holds the dumps of") != 2 {
		t.Errorf("want two new snapshots: %s", o.stdout)
	}
	run(exitDone, reseal, "nothing to do")
	var is manifest.Manifest
	show(&is)
	if is.ResealedFrom != was.ID || is.ID.Time() != was.ID.Time() || is.ID <= was.ID || is.Shards[1].Dump.Plain != was.Shards[1].Dump.Plain {
		t.Errorf("the latest is %s of %s with %+v, want one of %s with %+v", is.ID, is.ResealedFrom, is.Shards[1].Dump.File, was.ID, was.Shards[1].Dump.File)
	}
	run(exitNoIdentity, []string{"verify", "latest", "--identity", oldKey, "--cluster", "prod"}, newRecipient)
	run(exitDone, []string{"verify", "latest", "--identity", newKey, "--cluster", "prod"}, "sound at level deep in repo and mirror")
	run(exitDone, []string{"verify", string(was.ID), "--identity", oldKey}, "sound at level deep in repo and mirror")
	run(exitDone, []string{"restore", "latest", "--cluster", "prod", "--identity", newKey, "--to", strings.Join(emptyNodes(t, 3), ",")}, "equal: 500 keys")

	// A damaged copy is passed over; where both are, there is no new snapshot.
	third, _ := newIdentity(t)
	dump := filepath.Join("prod", "snapshots", string(is.ID), is.Shards[1].Dump.Object)
	for i, code := range []int{exitDone, exitFailed} {
		path := filepath.Join(stores[1+2*i], dump)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, path, damages(whole)[0].bytes)
		before := objects(t, stores[1])
		run(code, []string{"reseal", string(is.ID), "--identity", newKey, "--recipient", third}, map[int]string{exitDone: "holds the dumps of", exitFailed: "damaged"}[code])
		if after := objects(t, stores[1]); code == exitFailed && !slices.Equal(before, after) {
			t.Errorf("something is left: %v, was %v", after, before)
		}
	}
}

// TestByHand gets a dump out of a repository as docs/storage.md says: by those
// lines, with age and zstd and without slotark, and loads it into a server.
func TestByHand(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 2_000, Seed: 24})
	recipient, identity := newIdentity(t)
	repo := filepath.Join(t.TempDir(), "repo")
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo, "--cluster", "prod", "--recipient", recipient).want(t, exitDone)
	folders, err := filepath.Glob(filepath.Join(repo, "prod", "snapshots", "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("%v, %v", folders, err)
	}
	m, err := os.ReadFile(filepath.Join(folders[0], "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := manifest.Decode(bytes.NewReader(m))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "by-hand")
	script := documented(t)
	for from, to := range map[string]string{
		"/var/backups/redis": repo, "20260131T020000Z-x7k2p9": string(snapshot.ID), "/root/age.key": identity, "/tmp/redis": folder,
	} {
		script = strings.ReplaceAll(script, from, to)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Dir = folder
	output, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(output), ": OK\n") != 2 || !strings.Contains(string(output), "RDB looks OK!") {
		t.Fatalf("%v\n%s\n%s", err, script, output)
	}
	dump := snapshot.Shards[0].Dump
	if sum := dump.Plain.SHA256; !strings.Contains(string(m), sum) || dump.Plain.Bytes == dump.Bytes {
		t.Errorf("the manifest says %+v of the dump", dump)
	}
	p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: folder, Args: []string{"--appendonly", "no", "--save", ""}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	reply, err := (&cluster.Access{}).Open(p.Addr()).Int(t.Context(), "DBSIZE")
	if err != nil || uint64(reply) != dump.Keys {
		t.Errorf("the server holds %d keys, want %d: %v", reply, dump.Keys, err)
	}
}

// documented are the lines of the first script in that section of the document.
func documented(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "storage.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "## A dump by hand\n")
	_, text, begins := strings.Cut(text, "```sh\n")
	text, _, ends := strings.Cut(text, "```\n")
	if !found || !begins || !ends {
		t.Fatal("docs/storage.md has no script under \"A dump by hand\"")
	}
	return text
}
