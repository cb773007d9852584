package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/config"
)

// write puts a file into a folder of this test and returns its name.
func write(t *testing.T, name, text string, mode fs.FileMode) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // the umask has no say
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Load(write(t, "slotark.yaml", text, 0o644))
}

// example is the YAML of docs/config.md.
func example(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "```yaml\n")
	text, _, closed := strings.Cut(text, "```\n")
	if !found || !closed {
		t.Fatal("docs/config.md has no example")
	}
	return text
}

func TestDocumentedExample(t *testing.T) {
	text := example(t)
	c, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(c.Cluster.PasswordFile)
	want := &config.Config{
		Cluster: config.Cluster{
			Name: "prod", Nodes: []string{"10.0.1.10:6379", "10.0.1.11:6379", "[fd00::12]:6379"},
			Username: "backup", PasswordFile: folder + "/redis.password",
			TLS:     &config.TLS{CA: folder + "/ca.pem", Cert: folder + "/client.pem", Key: folder + "/client.key", ServerName: "redis.internal"},
			NAT:     map[string]string{"172.18.0.2:6379": "127.0.0.1:7001"},
			Timeout: 5 * time.Second,
		},
		Repository: config.Repository{
			Primary: "s3://acme-redis-eu/backups?region=eu-west-1",
			Mirrors: []string{"s3://acme-redis-us/backups?region=us-east-1", "file:///var/backups/redis"},
			Seal: config.Seal{
				Compression: "zstd", Level: "fastest", Window: 16 << 20, Workers: 2, RecipientsFile: folder + "/recipients.txt",
				Recipients: []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
			},
			IdentityFile: folder + "/age.key",
			Require:      "primary", MirrorPatience: 10 * time.Minute,
			Limits: map[string]config.Limit{"us-east-1": {Put: 20_000_000, Get: 100_000_000}},
		},
		Snapshot: config.Snapshot{
			Collect: "auto", Settings: "auto", Replicas: "prefer", MaxLag: 16 << 20, Forks: "apart", MaxSkew: time.Second, Parallel: 4, Tries: 4, NodeBandwidth: 200_000_000,
			DataDirs: map[string]string{"10.0.1.10:6379": "/mnt/redis-1"}, Timeout: 2 * time.Hour,
		},
		Agents: config.Agents{
			URLs: map[string]string{"10.0.1.10:6379": "https://10.0.1.10:7600"},
			CA:   folder + "/agents-ca.pem", Cert: folder + "/this-machine.pem", Key: folder + "/this-machine.key", Listen: "10.0.1.10:7600", Grace: 2 * time.Minute,
			Nodes: map[string]config.AgentNode{"10.0.1.10:6379": {Stop: []string{"systemctl", "stop", "redis"}, Start: []string{"systemctl", "start", "redis"},
				DBFilename: "dump.rdb", AppendDirname: "appendonlydir", AppendFilename: "appendonly.aof", ClusterConfigFile: "nodes.conf"}},
		},
		Restore: config.Restore{Zones: map[string]string{"10.0.2.10": "us-east-1a", "10.0.2.11": "us-east-1b"}},
		Drill:   config.Drill{Runtime: "auto", Image: "redis:7.0.15", Timeout: time.Hour, Pick: "rotate", From: "us-east-1", Shards: 2, Replicas: 1, Credentials: "restorer", Probes: folder + "/probes.yaml"},
		Retention: config.Retention{KeepLast: 3, KeepWithin: config.Span(48 * time.Hour), KeepHourly: 24, KeepDaily: 7, KeepWeekly: 4, KeepMonthly: 12,
			KeepYearly: 3, KeepMinimum: 3, OrphansOlder: config.Span(24 * time.Hour), TimeZone: "UTC"},
		Schedule: config.Schedule{Snapshot: "0 2 * * *", Drill: "0 4 * * *", Prune: "0 6 * * *", TimeZone: "UTC"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The document shows every key there is.
func TestDocumentIsComplete(t *testing.T) {
	text := example(t)
	var look func(reflect.Type)
	look = func(section reflect.Type) {
		for i := range section.NumField() {
			field := section.Field(i)
			if key := field.Tag.Get("yaml"); !strings.Contains(text, " "+key+":") && !strings.Contains(text, "\n"+key+":") && !strings.HasPrefix(text, key+":") {
				t.Errorf("docs/config.md does not show %s.%s", section.Name(), key)
			}
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				look(inner)
			}
		}
	}
	look(reflect.TypeFor[config.Config]())
}

func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "only comments": "# nothing\n", "empty sections": "cluster:\nsnapshot:\n  # collect: auto\ndrill: {}\n", "empty lists": "cluster: {nodes: , nat: }\n",
	} {
		c, err := load(t, text)
		if diff := cmp.Diff(config.Default(), c); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	if err := config.Default().Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

// Each mistake is told once, with its line and its path.
func TestMistakes(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"unknown key":           {"repository:\n  mirror: x\n", "slotark.yaml:2: repository.mirror: unknown key; known here: identity_file, limits, mirror_patience, mirrors, primary, require, seal"},
		"unknown section":       {"\nsnapshots: {}\n", "slotark.yaml:2: snapshots: unknown key; known here: agents, cluster, drill, repository, restore, retention, schedule, snapshot"},
		"password":              {"cluster:\n  password: hunter2\n", "slotark.yaml:2: cluster.password: a password does not belong in this file: name a file that holds it in password_file, or an environment variable in password_env"},
		"twice":                 {"cluster:\n  name: a\n  name: b\n", "slotark.yaml:3: cluster.name: is there twice, first on line 2"},
		"not YAML":              {"cluster:\n  name: 'a\n", "slotark.yaml:2: not YAML: found unexpected end of stream"},
		"two documents":         {"cluster: {}\n---\ndrill: {}\n", "slotark.yaml:2: the file holds a second document: there is one configuration a file"},
		"not a mapping":         {"- a\n", "slotark.yaml:1: want keys with values, as in \"key: value\""},
		"section is a word":     {"cluster: prod\n", "slotark.yaml:1: cluster: want keys with values, as in \"key: value\""},
		"list is a word":        {"cluster:\n  nodes: 10.0.0.1:6379\n", "slotark.yaml:2: cluster.nodes: want a list, each entry on a line of its own that begins with a dash"},
		"word is a list":        {"cluster:\n  name: [a]\n", "slotark.yaml:2: cluster.name: want a single value"},
		"no value":              {"cluster:\n  name:\n", "slotark.yaml:2: cluster.name: has no value: give it one, or remove the key"},
		"no TLS value":          {"cluster:\n  tls:\n", "slotark.yaml:2: cluster.tls: has no value: write {} to have it with its defaults, or remove the key"},
		"odd key":               {"cluster:\n  [a]: b\n", "slotark.yaml:2: cluster: want a plain word for a key"},
		"truth":                 {"snapshot:\n  prefer_replica: yes\n", `slotark.yaml:2: snapshot.prefer_replica: "yes" is neither true nor false`},
		"duration":              {"drill:\n  timeout: 90\n", `slotark.yaml:2: drill.timeout: "90" is not a duration: want a number with a unit, such as 30s, 5m or 2h`},
		"no time at all":        {"cluster: {timeout: -5s}\n", "slotark.yaml:1: cluster.timeout: want more than nothing, such as 30s: every wait has a limit"},
		"size":                  {"snapshot:\n  max_lag: 16 megs\n", `slotark.yaml:2: snapshot.max_lag: "16 megs" is not a size: want a number with a unit, such as 512KiB, 16MiB or 2GiB`},
		"cluster name":          {"cluster:\n  name: ../etc\n", `slotark.yaml:2: cluster.name: cluster name "../etc": want 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or a digit`},
		"node":                  {"cluster:\n  nodes:\n    - 10.0.0.1:6379\n    - redis-2\n", `slotark.yaml:4: cluster.nodes[1]: "redis-2" is not an address: want HOST:PORT, such as 10.0.1.10:6379 or [fd00::1]:6379`},
		"port":                  {"cluster: {nodes: ['a:70000']}\n", `slotark.yaml:1: cluster.nodes[0]: "a:70000" is not an address: want HOST:PORT, such as 10.0.1.10:6379 or [fd00::1]:6379`},
		"two passwords":         {"cluster:\n  password_file: a\n  password_env: B\n", "slotark.yaml:3: cluster.password_env: there is a password_file too: give one of them"},
		"password as a name":    {"cluster:\n  password_env: $hunter2\n", "slotark.yaml:2: cluster.password_env: want the name of an environment variable, such as REDIS_PASSWORD"},
		"half a certificate":    {"cluster:\n  tls:\n    cert: a\n", "slotark.yaml:2: cluster.tls: cert and key belong together: give both or none"},
		"NAT":                   {"cluster:\n  nat:\n    \"10.0.0.1:6379\": here\n", `slotark.yaml:3: cluster.nat[10.0.0.1:6379]: "here" is not an address: want HOST:PORT, such as 10.0.1.10:6379 or [fd00::1]:6379`},
		"store":                 {"repository:\n  primary: gs://bucket\n", `slotark.yaml:2: repository.primary: "gs://bucket" is not a store: want a folder, file:///folder or s3://bucket/prefix?region=REGION`},
		"credentials":           {"repository:\n  primary: s3://AKIA:hunter2@bucket\n", "slotark.yaml:2: repository.primary: want a store: a folder, file:///folder or s3://bucket/prefix?region=REGION, without credentials in it: those come from the environment or a profile"},
		"mirror of itself":      {"repository:\n  primary: /a\n  mirrors: [/b, /a]\n", "slotark.yaml:3: repository.mirrors[1]: is the same place as repository.primary: a copy there protects nothing"},
		"mirror of nothing":     {"repository:\n  mirrors: [/b]\n", "slotark.yaml:1: repository.primary: is missing, and there are mirrors: one store is the primary"},
		"collect":               {"snapshot:\n  collect: magic\n", `slotark.yaml:2: snapshot.collect: "magic" is not known: want auto, agent, bgsave, stream`},
		"compression":           {"repository:\n  seal: {compression: gzip}\n", `slotark.yaml:2: repository.seal.compression: "gzip" is not known: want zstd, none`},
		"level":                 {"repository:\n  seal: {level: 19}\n", `slotark.yaml:2: repository.seal.level: "19" is not known: want fastest, default, better, best`},
		"window":                {"repository:\n  seal: {window: 3MiB}\n", "slotark.yaml:2: repository.seal.window: want a power of two from 1KiB to 128MiB"},
		"workers":               {"repository:\n  seal: {workers: two}\n", `slotark.yaml:2: repository.seal.workers: "two" is not a whole number`},
		"many workers":          {"repository:\n  seal: {workers: 65}\n", "slotark.yaml:2: repository.seal.workers: want 1 to 64"},
		"a private recipient":   {"repository:\n  seal:\n    recipients: [AGE-SECRET-KEY-1hunter2]\n", "slotark.yaml:3: repository.seal.recipients[0]: is a private identity, not a recipient"},
		"no recipient":          {"repository:\n  seal:\n    recipients: [hunter2]\n", "slotark.yaml:3: repository.seal.recipients[0]: is not a recipient: want a public key, age1… or ssh-ed25519 … or ssh-rsa …"},
		"data folder":           {"snapshot:\n  data_dirs: {'a:1': data}\n", `slotark.yaml:2: snapshot.data_dirs[a:1]: "data" is not an absolute path`},
		"no lag":                {"snapshot:\n  max_lag: 0\n", "slotark.yaml:2: snapshot.max_lag: want more than nothing, such as 16MiB"},
		"replicas":              {"snapshot:\n  replicas: some\n", `slotark.yaml:2: snapshot.replicas: "some" is not known: want prefer, require, never`},
		"replicas twice":        {"snapshot:\n  prefer_replica: true\n  replicas: prefer\n", "slotark.yaml:2: snapshot.prefer_replica: is the older name of replicas, which is there too: remove this one"},
		"forks":                 {"snapshot:\n  forks: sometimes\n", `slotark.yaml:2: snapshot.forks: "sometimes" is not known: want apart, staggered, together`},
		"no skew":               {"snapshot:\n  max_skew: 0s\n", "slotark.yaml:2: snapshot.max_skew: want more than nothing, such as 30s: every wait has a limit"},
		"nobody forks":          {"snapshot:\n  parallel: 0\n", "slotark.yaml:2: snapshot.parallel: 0: want at least 1"},
		"no try":                {"snapshot:\n  tries: 0\n", "slotark.yaml:2: snapshot.tries: 0: want at least 1"},
		"a trickle":             {"snapshot:\n  node_bandwidth: 100KB\n", "slotark.yaml:2: snapshot.node_bandwidth: want at least 1MiB a second: a node drops who takes no byte of its stream for a minute (repl-timeout)"},
		"runtime":               {"drill:\n  runtime: podman\n", `slotark.yaml:2: drill.runtime: "podman" is not known: want auto, docker, process`},
		"pick":                  {"drill:\n  pick: oldest\n", `slotark.yaml:2: drill.pick: "oldest" is not known: want latest, rotate`},
		"too many shards":       {"drill:\n  shards: 20000\n", "slotark.yaml:2: drill.shards: 20000: want 1 to 16384, or 0 for the snapshot's"},
		"negative replicas":     {"drill:\n  replicas: -2\n", "slotark.yaml:2: drill.replicas: -2: want how many, or -1 for one for each shard that had any"},
		"program of containers": {"drill:\n  runtime: docker\n  program: /usr/bin/redis-server\n", "slotark.yaml:3: drill.program: containers run an image, not a program"},
		"image of a process":    {"drill:\n  runtime: process\n  image: redis:7\n", "slotark.yaml:3: drill.image: an image means nothing to runtime: process"},
		"a count in words":      {"retention:\n  keep_last: ten\n", `slotark.yaml:2: retention.keep_last: "ten" is not a whole number`},
		"a count below none":    {"retention:\n  keep_daily: -1\n", "slotark.yaml:2: retention.keep_daily: -1: want how many to keep, or 0 to leave the rule out"},
		"no minimum":            {"retention:\n  keep_minimum: 0\n", "slotark.yaml:2: retention.keep_minimum: 0: want at least 1: the newest whole snapshot always stays"},
		"no margin":             {"retention:\n  orphans_older: 5m\n", "slotark.yaml:2: retention.orphans_older: 5m0s: want at least an hour: what is younger may be a snapshot under way"},
		"span":                  {"retention:\n  keep_within: 2 months\n", `slotark.yaml:2: retention.keep_within: "2 months" is not a time span: want a number with a unit, such as 36h, 30d or 8w`},
		"retention's zone":      {"retention:\n  time_zone: Mars\n", `slotark.yaml:2: retention.time_zone: "Mars" is not a time zone: want a name such as UTC or Europe/Berlin`},
		"schedule":              {"schedule:\n  snapshot: \"0 25 * * *\"\n", `slotark.yaml:2: schedule.snapshot: "0 25 * * *" is not a cron expression: end of range (25) above maximum (23): 25`},
		"time zone":             {"schedule:\n  time_zone: Mars/Olympus\n", `slotark.yaml:2: schedule.time_zone: "Mars/Olympus" is not a time zone: want a name such as UTC or Europe/Berlin`},
		"through an alias":      {"cluster: &c\n  name: a/b\ndrill: *c\n", "slotark.yaml:2: cluster.name: cluster name \"a/b\": want 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or a digit\nslotark.yaml:2: drill.name: unknown key; known here: credentials, from, image, pick, probes, program, replicas, runtime, shards, timeout"},
		"an alias of its own":   {"cluster:\n  nodes: &n [*n]\n", "slotark.yaml:2: cluster.nodes[0]: want a single value"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, c.text)
			var invalid *config.Invalid
			if got != nil || !errors.As(err, &invalid) {
				t.Fatalf("got %v, %v", got, err)
			}
			wanted := strings.Split(c.want, "\n")
			sameLines := len(wanted) == len(invalid.Problems)
			for _, line := range wanted {
				sameLines = sameLines && strings.Contains(err.Error()+"\n", line+"\n")
			}
			if !sameLines {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := load(t, `cluster:
  nodes: [here, "10.0.0.1:6379"]
  pasword_file: x
  timeout: soon
repository:
  primary: s3:/bucket
schedule:
  snapshot: often
`)
	var invalid *config.Invalid
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range invalid.Problems {
		got = append(got, p.Path)
	}
	want := []string{"cluster.nodes[0]", "cluster.pasword_file", "cluster.timeout", "repository.primary", "schedule.snapshot"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the order of their lines (-want +got):\n%s\n%v", diff, err)
	}
}

// The older name of a setting still means what it did.
func TestPreference(t *testing.T) {
	for text, want := range map[string]string{
		"": "prefer", "snapshot: {prefer_replica: true}": "prefer", "snapshot: {prefer_replica: false}": "never", "snapshot: {replicas: require}": "require",
	} {
		c, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Snapshot.Preference(); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// What flags put together is checked in the same way, without lines.
func TestValidateWithoutAFile(t *testing.T) {
	c := config.Default()
	c.Cluster.Nodes = []string{"nowhere"}
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), `cluster.nodes[0]: "nowhere" is not an address`) {
		t.Errorf("got %v", err)
	}
}

// Names in the file are meant from where the file is, not from where slotark
// was started.
func TestFilesBesideTheFile(t *testing.T) {
	name := write(t, "slotark.yaml", "cluster: {password_file: p, tls: {ca: c/a.pem}}\nrepository:\n  primary: backups\n  mirrors: [/b, ../c, s3://d/e, 'file:///f']\n", 0o600)
	c, err := config.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(name)
	got := append([]string{c.Cluster.PasswordFile, c.Cluster.TLS.CA, c.Cluster.TLS.Cert, c.Repository.Primary}, c.Repository.Mirrors...)
	want := []string{folder + "/p", folder + "/c/a.pem", "", folder + "/backups", "/b", filepath.Dir(folder) + "/c", "s3://d/e", "file:///f"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadWithoutAFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "42": 42, "1B": 1, "16MiB": 16 << 20, "1.5 GiB": 3 << 29, "500MB": 500e6, "2TiB": 2 << 40} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1MiB", "1MiBB", "1 ", "1e30", "NaN", "inf", "1XiB", "16M", "9000000TiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}
