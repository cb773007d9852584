package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot/preflight"
)

// The rights that docs/access.md gives to the users that take snapshots, compare
// and restore.
const (
	discoverRights = "+info +cluster|nodes +cluster|info +cluster|shards"
	streamRights   = discoverRights + " +time +replconf +psync +sync"
	bgsaveRights   = discoverRights + " +time +bgsave +config|get"
	settingsRights = "+config|get +acl|list +module|list +function|list" // besides those of a snapshot
	aofRights      = bgsaveRights + " +config|set"
	compareRights  = streamRights + " +cluster|countkeysinslot"
	partRights     = discoverRights + " +pexpiretime +dump +restore ~*"
	restoreRights  = compareRights + " +ping +scan +select +restore +config|get +client|id +client|kill" +
		" +cluster|myid +cluster|set-config-epoch +cluster|addslotsrange +cluster|meet +cluster|replicate +cluster|reset" +
		" +function|list +function|load +function|flush +flushall +module|list ~*"
	throughRights = compareRights + " +cluster|myid +config|get +function|list +module|list"         // of who has agents restore
	hostRights    = "+info +ping +dbsize +config|get +cluster|myid"                                  // of these agents
	replaceRights = "+multi +exec +discard"                                                          // besides those of a restore
	logicalRights = "+set +append +rpush +sadd +zadd +hset +xadd +xsetid +xgroup +xclaim +pexpireat" // in the place of +restore
	applyRights   = "+config|set +config|rewrite +acl|list +acl|setuser +acl|save"
)

// TestListedRights takes, compares and restores snapshots, of a TLS cluster, as
// ACL users that may do nothing but what the documentation lists.
func TestListedRights(t *testing.T) {
	t.Parallel()
	const secret = "a long and winding password"
	users := map[string]string{"streamer": streamRights, "keeper": streamRights + " " + settingsRights, "saver": bgsaveRights, "appender": aofRights, "comparer": compareRights, "parter": partRights}
	o := clustertest.Options{Replicas: 3, TLS: true, Password: password, ExtraArgs: []string{"--appendonly", "yes"}}
	for name, rights := range users {
		o.Config = append(o.Config, "user "+name+" on >"+strings.ReplaceAll(secret, " ", "-")+" -@all "+rights)
	}
	c := clustertest.Start(t, o)
	fill(t, c, dataset.Options{Keys: 2_000, Seed: 7})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(secret, " ", "-")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, _, _ := c.CertFiles()
	repo := filepath.Join(t.TempDir(), "repo")
	as := func(user string, args ...string) outcome {
		t.Helper()
		return slotark(t, "", append(args, "--user", user, "--password-file", file, "--tls-ca", ca, "--node", c.Addrs()[0], "--repo", repo)...)
	}
	as("streamer", "snapshot", "--collect", "stream", "--dry-run").want(t, exitDone, "by stream", "Nothing was saved")
	as("streamer", "snapshot", "--collect", "stream").want(t, exitDone, "2,000 keys", "by stream", "User streamer may not read them: give it "+settingsRights)
	if o := as("keeper", "snapshot", "--collect", "stream").want(t, exitDone, "2,000 keys"); strings.Contains(o.stderr, "may not read") {
		t.Errorf("with all rights something is not stored: %s", o.stderr)
	}
	as("saver", "snapshot", "--collect", "bgsave").want(t, exitDone, "2,000 keys", "by bgsave")
	as("appender", "snapshot", "--aof").want(t, exitDone, "2,000 keys", "append-only files")
	as("comparer", "verify", "latest", "--live").want(t, exitDone, "equal: 2,000 keys")
	lost := fmt.Sprint(ask(t, c, c.Addrs()[0], "SCAN", 0, "MATCH", "session:*", "COUNT", 1000).([]any)[1].([]any)[0])
	ask(t, c, c.Addrs()[0], "DEL", lost)
	// Without --node, which a restore takes for the node of a folder.
	slotark(t, "", "restore", "latest", "--into", c.Addrs()[0], "--key", lost, "--user", "parter", "--password-file", file, "--tls-ca", ca, "--repo", repo).
		want(t, exitDone, "restored 1 key")
	// The targets have the user too; the rest of the cluster is still there.
	targets := make([]string, 6)
	for i := range targets {
		targets[i] = startNode(t, t.TempDir(), 0, "user restorer on >"+strings.ReplaceAll(secret, " ", "-")+" -@all "+restoreRights).Addr()
	}
	slotark(t, "", "restore", "latest", "--to", strings.Join(targets, ","), "--user", "restorer", "--password-file", file, "--repo", repo).
		want(t, exitDone, "equal: 2,000 keys")
	again := []string{"restore", "latest", "--to", strings.Join(targets, ","), "--user", "restorer", "--password-file", file, "--repo", repo, "--replace", "default"}
	slotark(t, "", again...).wantFailure(t, exitRefused, targets[0]+" would not be emptied", "docs/access.md lists for --replace")
	for _, target := range targets {
		do(t, target, append([]any{"ACL", "SETUSER", "restorer"}, rules(replaceRights+" "+applyRights)...)...)
	}
	// A snapshot that is not encrypted has no passwords, so that its users cannot be made.
	as("keeper", "snapshot", "--collect", "stream").want(t, exitDone, "2,000 keys")
	slotark(t, "", append(again, "--apply-config", "maxmemory-policy,slowlog-max-len", "--apply-users")...).
		want(t, exitFindings, "what the nodes held before is gone", "equal: 2,000 keys", "the snapshot was taken without passwords", "enable ")
	for _, target := range targets {
		do(t, target, append([]any{"ACL", "SETUSER", "restorer", "-restore"}, rules(logicalRights)...)...)
	}
	slotark(t, "", append(again, "--logical")...).want(t, exitDone, "equal: 2,000 keys")
	// What is missing is named, with the command that gives it, before anything is begun.
	as("saver", "snapshot", "--collect", "stream").
		wantFailure(t, exitRefused, "user saver lacks +replconf +psync +sync", "ACL SETUSER saver "+streamRights)
	as("streamer", "snapshot", "--collect", "bgsave").
		wantFailure(t, exitRefused, "user streamer lacks +bgsave +config|get", "ACL SETUSER streamer "+bgsaveRights)
	as("streamer", "doctor", "--collect", "stream").want(t, exitFindings, "is ready for a snapshot", "[unseen]", "[settings-rights]", "ACL SETUSER streamer "+settingsRights+"\n")
	as("streamer", "doctor", "--collect", "stream", "--keep-settings", "none").want(t, exitDone, "is ready for a snapshot")
	as("keeper", "doctor", "--collect", "stream").want(t, exitDone, "is ready for a snapshot")
	as("saver", "doctor", "--collect", "bgsave").want(t, exitFindings, "is ready for a snapshot", "by bgsave", "+acl|list +module|list +function|list")
	as("saver", "doctor", "--collect", "stream").want(t, exitRefused, "is NOT ready", "ACL SETUSER saver "+streamRights+"\n")
	as("saver", "snapshot", "--aof").wantFailure(t, exitRefused, "user saver lacks +config|set", "ACL SETUSER saver "+aofRights)
}

// TestAccessDocument holds docs/access.md to the rights that are proved above.
func TestAccessDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	for way, rights := range map[preflight.Way]string{preflight.Stream: streamRights, preflight.Folder: bgsaveRights} {
		if got := strings.Join(preflight.Rules(way), " "); got != rights {
			t.Errorf("by %s, doctor wants %s, documented are %s", way, got, rights)
		}
	}
	words := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\\\n", " ")), " ")
	for user, rights := range map[string]string{"snapshots by stream": streamRights, "snapshots by bgsave": bgsaveRights, "settings": settingsRights, "snapshots with append-only files": aofRights, "comparing": compareRights, "restoring": restoreRights, "having agents restore": throughRights, "an agent that restores": hostRights, "replacing": replaceRights, "applying": applyRights, "commands": logicalRights, "restoring keys": partRights} {
		if !strings.Contains(words, "-@all "+rights) && !strings.Contains(words, "SETUSER slotark "+rights) {
			t.Errorf("docs/access.md does not give the rights for %s: -@all %s", user, rights)
		}
	}
}

// rules are rights as arguments of ACL SETUSER.
func rules(rights string) (args []any) {
	for _, rule := range strings.Fields(rights) {
		args = append(args, rule)
	}
	return args
}
