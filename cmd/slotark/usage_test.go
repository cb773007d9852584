package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestUsage gives what a person can get wrong on the command line. None of it
// reaches a node or a store.
func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	repo := []string{"--repo", filepath.Join(dir, "repo")}
	snapshot := func(args ...string) []string {
		return append(append([]string{"snapshot", "--node", "127.0.0.1:1"}, repo...), args...)
	}
	list := func(args ...string) []string { return append([]string{"list"}, args...) }
	restore := func(args ...string) []string { return append(append([]string{"restore", "latest"}, repo...), args...) }
	for _, test := range []struct {
		name string
		args []string
		says []string
	}{
		{"unknown verb", []string{"frobnicate"}, []string{`no verb "frobnicate"`, "slotark --help"}},
		{"misspelt verb", []string{"snapshto"}, []string{`no verb "snapshto"`, "perhaps you mean slotark snapshot"}},
		{"unknown flag", snapshot("--frob"), []string{"unknown flag: --frob", "slotark snapshot --help"}},
		{"unknown flag of no verb", []string{"--frob"}, []string{"unknown flag: --frob", "slotark --help"}},
		{"flag without a value", list("--repo"), []string{"flag needs an argument", "--repo"}},
		{"flag of another verb", list("--to", "a:1"), []string{"unknown flag: --to"}},
		{"argument too many", snapshot("now"), []string{`slotark snapshot takes no arguments, got "now"`}},
		{"version takes none", []string{"version", "now"}, []string{"takes no arguments"}},
		{"show what", []string{"show"}, []string{"slotark show takes one snapshot", "slotark list"}},
		{"show two", []string{"show", "a", "b"}, []string{"slotark show takes one snapshot"}},
		{"show two things", []string{"show", "a", "--key", "k", "--slots"}, []string{"want one of --key, --key-base64 and --slots"}},
		{"show a bad key", []string{"show", "a", "--key-base64", "?"}, []string{`--key-base64 "?": want base64`}},
		{"show a bad database", []string{"show", "a", "--key", "k", "--db", "-1"}, []string{"--db -1: want a database's number"}},
		{"database without a key", []string{"show", "a", "--db", "1"}, []string{"--db goes with --key"}},
		{"verify what", []string{"verify"}, []string{"slotark verify takes snapshots", "slotark list"}},
		{"restore what", []string{"restore"}, []string{"slotark restore takes one snapshot"}},
		{"drill two", []string{"drill", "a", "b"}, []string{"slotark drill takes one snapshot at most, got 2"}},
		{"restore where to", restore(), []string{"say where to: --to ADDR,... or --to-dir DIR"}},
		{"restore to both", restore("--to", "a:1", "--to-dir", dir), []string{"say where to: --to ADDR,... or --to-dir DIR"}},
		{"at without a folder", restore("--to", "a:1", "--at", "b:1"), []string{"--at goes with --to-dir"}},
		{"replicas below none", restore("--to", "a:1", "--replicas", "-2"), []string{"--replicas -2"}},
		{"bad level", append([]string{"verify", "latest", "--level", "all"}, repo...), []string{`level "all": want exists, checksum, parse or deep`}},
		{"no repository named", list(), []string{"no repository was named", "--repo"}},
		{"no node named", append([]string{"snapshot"}, repo...), []string{"no node of the cluster was named", "--node"}},
		{"no node to look at", []string{"doctor"}, []string{"no node of the cluster was named", "--node"}},
		{"doctor takes none", []string{"doctor", "now"}, []string{"slotark doctor takes no arguments"}},
		{"no node to compare with", append([]string{"verify", "latest", "--live"}, repo...), []string{"no node of the cluster was named"}},
		{"bad node", append([]string{"snapshot", "--node", "somewhere"}, repo...), []string{`--node: "somewhere" is not an address`, "HOST:PORT"}},
		{"bad cluster name", snapshot("--cluster", "../prod"), []string{"--cluster: ", `"../prod"`, "letters, digits"}},
		{"bad collect", snapshot("--collect", "aof"), []string{`--collect: "aof" is not known: want auto, agent, bgsave, stream`}},
		{"bad prefer", snapshot("--prefer", "both"), []string{`--prefer "both": want replica or primary`}},
		{"bad replicas", snapshot("--replicas", "some"), []string{`--replicas: "some" is not known: want prefer, require, never`}},
		{"no replicas", snapshot("--replicas", ""), []string{`--replicas "": want prefer, require or never`}},
		{"bad forks", snapshot("--forks", "often"), []string{`--forks: "often" is not known: want apart, staggered, together`}},
		{"no skew", snapshot("--max-skew", "0s"), []string{"--max-skew: want more than nothing"}},
		{"nobody forks", snapshot("--parallel", "0"), []string{"--parallel: 0: want at least 1"}},
		{"no try", snapshot("--tries", "0"), []string{"--tries: 0: want at least 1"}},
		{"bad lag", snapshot("--max-lag", "much"), []string{`--max-lag: "much" is not a size`}},
		{"no lag", snapshot("--max-lag", "0"), []string{"--max-lag: want more than nothing"}},
		{"a trickle", snapshot("--node-bandwidth", "1KB"), []string{"--node-bandwidth: want at least 1MiB a second"}},
		{"bad bandwidth", snapshot("--node-bandwidth", "1 Mbit"), []string{`--node-bandwidth: "1 Mbit" is not a size`}},
		{"no time", snapshot("--time-limit", "0s"), []string{"--time-limit: want more than nothing"}},
		{"bad data folder", snapshot("--data-dir", "/data"), []string{`--data-dir "/data": want HOST:PORT=FOLDER`}},
		{"bad nat", snapshot("--nat", "here"), []string{`"here"`, "ANNOUNCED:PORT=REACHABLE:PORT"}},
		{"bad timeout", snapshot("--timeout", "5"), []string{`"5"`, "--timeout"}},
		{"timeout of nothing", snapshot("--timeout", "0s"), []string{"--timeout: want more than nothing"}},
		{"mirror of itself", snapshot("--mirror", repo[1]), []string{"--mirror: is the same place as"}},
		{"unknown store", list("--repo", "ftp://host/x"), []string{`--repo: "ftp://host/x" is not a store`}},
		{"credentials in a store", list("--repo", "s3://key:"+wrongSecretKey+"@bucket"), []string{"--repo: ", "without credentials"}},
		{"unknown parameter of a store", list("--repo", "s3://bucket/x?secret="+wrongSecretKey), []string{"unknown parameter secret", "known are"}},
		{"no such password file", snapshot("--password-file", filepath.Join(dir, "none")), []string{"read the password file", "none"}},
		{"no such certificate", snapshot("--tls-ca", filepath.Join(dir, "ca.pem")), []string{"ca.pem"}},
		{"no such configuration", list("--config", filepath.Join(dir, "slotark.yaml")), []string{"read the configuration", "slotark.yaml"}},
		{"bad runtime", append([]string{"drill", "--runtime", "vm"}, repo...), []string{`--runtime: "vm" is not known`}},
		{"bad schedule", append([]string{"serve", "--node", "a:1", "--snapshot-schedule", "daily"}, repo...), []string{`--snapshot-schedule: "daily" is not a cron expression`}},
		{"prune by schedule without a rule", append([]string{"serve", "--node", "a:1", "--prune-schedule", "@daily"}, repo...), []string{"no retention rule", "--keep-daily"}},
		{"bad prune schedule", append([]string{"serve", "--node", "a:1", "--prune-schedule", "daily"}, repo...), []string{`--prune-schedule: "daily" is not a cron expression`}},
		{"nothing scheduled", append([]string{"serve", "--node", "a:1"}, repo...), []string{"nothing is scheduled", "--snapshot-schedule"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := slotark(t, password, test.args...).want(t, exitUsage, test.says...).wantOneLine(t).wantNoSecret(t)
			if o.stdout != "" {
				t.Errorf("stdout holds %q", o.stdout)
			}
		})
	}
	if left := objects(t, repo[1]); len(left) > 0 {
		t.Errorf("wrong usage has stored %v", left)
	}
}

// TestErrorsAsJSON: with --json an error is one object, whatever went wrong and
// wherever the flag stands.
func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	missing, nobody := filepath.Join(t.TempDir(), "repo"), silentAddr(t)
	for _, test := range []struct {
		name string
		code int
		args []string
		says string
	}{
		{"usage", exitUsage, []string{"--json", "show"}, "takes one snapshot"},
		{"flag before", exitUsage, []string{"snapshot", "--frob", "--json"}, "unknown flag"},
		{"unknown verb", exitUsage, []string{"frobnicate", "--json"}, "no verb"},
		{"failed", exitFailed, []string{"snapshot", "--json", "--node", nobody, "--repo", missing}, "connection refused"},
		{"no repository", exitNoRepository, []string{"list", "--json", "--repo", missing}, "no slotark repository"},
		{"two problems", exitUsage, []string{"snapshot", "--json", "--node", "a", "--collect", "b", "--repo", missing}, "--node: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := slotark(t, password, test.args...).want(t, test.code).wantNoSecret(t)
			var message exitError
			decoder := json.NewDecoder(strings.NewReader(o.stderr))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&message); err != nil || decoder.More() {
				t.Fatalf("stderr is not one object (%v):\n%s", err, o.stderr)
			}
			if message.Type != "exit_error" || message.Code != test.code || !strings.Contains(message.Error, test.says) || strings.Contains(message.Error, "\n") {
				t.Errorf("it says %+v", message)
			}
			if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	verbs := []string{"doctor", "snapshot", "list", "show", "verify", "restore", "drill", "prune", "hold", "serve"}
	for _, verb := range verbs {
		o := slotark(t, "", verb, "--help").want(t, exitDone, "EXIT STATUS", "Examples:", "slotark "+verb, "--repo")
		if o.stderr != "" {
			t.Errorf("%s --help prints on stderr: %s", verb, o.stderr)
		}
		if other := slotark(t, "", "help", verb).want(t, exitDone); other.stdout != o.stdout {
			t.Errorf("help %s differs from %s --help", verb, verb)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"help"}} {
		slotark(t, "", args...).want(t, exitDone, append(verbs, "EXIT STATUS", "Examples:", "130  interrupted")...)
	}
	slotark(t, "", "version", "--help").want(t, exitDone, "version")
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if o := slotark(t, "", args...).want(t, exitDone); !strings.HasPrefix(o.stdout, "slotark test") || strings.Count(o.stdout, "\n") != 1 {
			t.Errorf("%v prints %q", args, o.stdout)
		}
	}
	slotark(t, "", "version", "--json").want(t, exitDone, `"message_type":"version"`, `"test"`)
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigProblems wants all of them at once, each with its line and path.
func TestConfigProblems(t *testing.T) {
	t.Parallel()
	path := writeFile(t, filepath.Join(t.TempDir(), "slotark.yaml"), `cluster:
  name: "a/b"
  nodes: [here]
  password: `+wrongPassword+`
  timeout: soon
repository:
  primary: ftp://host/x
  mirror: /var/backups
snapshot:
  collect: aof
schedule:
  snapshot: "0 25 * * *"
`)
	for _, verb := range [][]string{{"snapshot"}, {"list"}, {"serve"}} {
		o := slotark(t, password, append(verb, "--config", path)...).want(t, exitUsage).wantNoSecret(t)
		for _, part := range []string{
			"slotark.yaml:2: cluster.name: ", `slotark.yaml:3: cluster.nodes[0]: "here" is not an address`, "slotark.yaml:4: cluster.password: ",
			"slotark.yaml:5: cluster.timeout: ", "slotark.yaml:7: repository.primary: ", "slotark.yaml:8: repository.mirror: unknown key",
			"slotark.yaml:10: snapshot.collect: ", "slotark.yaml:12: schedule.snapshot: ",
		} {
			if !strings.Contains(o.stderr, "slotark: "+part) {
				t.Errorf("%s does not say %q:\n%s", verb[0], part, o.stderr)
			}
		}
		if o.stdout != "" || strings.Count(o.stderr, "\n") != 8 {
			t.Errorf("%s prints %q and\n%s", verb[0], o.stdout, o.stderr)
		}
	}
	slotark(t, password, "list", "--config", writeFile(t, filepath.Join(t.TempDir(), "bad.yaml"), "cluster: [")).
		want(t, exitUsage, "bad.yaml:", "not YAML").wantOneLine(t)
}

// TestConfigFile is a complete flow by a configuration file, and flags that win
// over it.
func TestConfigFile(t *testing.T) {
	t.Parallel()
	c := small(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "redis.password"), password+"\n")
	path := writeFile(t, filepath.Join(dir, "slotark.yaml"), `cluster:
  name: prod
  nodes: [`+strings.Join(c.Addrs(), ", ")+`]
  password_file: redis.password
repository:
  primary: store
  mirrors: [mirror]
snapshot:
  collect: stream
`)
	run := func(args ...string) outcome { return slotark(t, "", append(args, "--config", path)...).wantNoSecret(t) }
	run("snapshot", "--dry-run").want(t, exitDone, "prod  3 shards", "Nothing was saved")
	run("list").want(t, exitNoRepository)
	run("snapshot").want(t, exitDone, "prod  3 shards", "by stream", "store stored   mirror stored", "600 keys in 16384 slots")
	run("list").want(t, exitDone, "600", "2 of 2")
	run("show", "latest").want(t, exitDone, "prod, 3 shards", "2 of 2")
	run("verify", "latest").want(t, exitDone, "sound at level deep in store and mirror")
	run("verify", "latest", "--live").want(t, exitDone, "equal: 600 keys")
	if left := objects(t, filepath.Join(dir, "store", "prod")); !slices.ContainsFunc(left, func(name string) bool { return strings.HasSuffix(name, "manifest.json") }) {
		t.Errorf("the store is not beside the file: %v", objects(t, dir))
	}

	// Flags win, each on its own.
	other := filepath.Join(t.TempDir(), "other")
	run("snapshot", "--dry-run", "--cluster", "stage", "--prefer", "primary").want(t, exitDone, "stage  3 shards")
	run("snapshot", "--repo", other, "--mirror", filepath.Join(dir, "third"), "--collect", "bgsave", "--cluster", "stage").
		want(t, exitDone, "stage  3 shards", "by bgsave", "other stored   third stored")
	run("list", "--cluster", "stage", "--repo", other).want(t, exitDone, "600")
	run("list").want(t, exitDone, "600") // what is in the file is as it was
	run("snapshot", "--node", silentAddr(t)).wantFailure(t, exitFailed, "connection refused")
	run("snapshot", "--password-file", writeFile(t, filepath.Join(dir, "wrong"), wrongPassword)).wantFailure(t, exitFailed, "refused the password")

	// A password file that others can read is used, and told of.
	if err := os.Chmod(filepath.Join(dir, "redis.password"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("snapshot", "--dry-run").want(t, exitDone, "slotark: warning: everyone on this machine can read the password file")
	// One that is empty is a mistake in the configuration.
	writeFile(t, filepath.Join(dir, "redis.password"), "")
	run("snapshot").want(t, exitUsage, "redis.password", "is empty").wantOneLine(t)
}
