package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "probes.yaml")
	text := `probes:
  - name: orders are there
    pattern: "order:*"
    count: 1000..
  - {key: session, type: hash, field: user, value: Ann, ttl: 1h..2d, length: 2}
  - {key: gone, exists: false}
  - {function: add, args: [1, 2], result: 3}
  - script: return redis.call('MGET', KEYS[1], KEYS[2])
    keys: ["{a}1", "{a}2"]
    result: |
      one
      two
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	probes, err := LoadProbes(path)
	if err != nil || len(probes) != 5 {
		t.Fatalf("%+v, %v", probes, err)
	}
	if p := probes[1]; p.Key != "session" || p.Field != "user" || *p.Value != "Ann" || p.TTL.String() != "1h0m0s to 48h0m0s" || p.Length.String() != "2" {
		t.Errorf("%+v", p)
	}
	if probes[0].Title() != "orders are there" || *probes[2].Exists || *probes[3].Result != "3" || *probes[4].Result != "one\ntwo\n" {
		t.Errorf("%+v", probes)
	}
	if _, err := LoadProbes(path + ".no"); err == nil {
		t.Error("a file that is not there was read")
	}
}

// What is wrong with probes is told with its line and its path, all at once.
func TestWrongProbes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {"", "p.yaml:1: probes: there is no probe"},
		"not YAML":       {"probes: [", "p.yaml:1: not YAML: "},
		"unknown key":    {"probes:\n  - key: a\n    vale: b\n", "p.yaml:3: probes[0].vale: unknown key; known here: args, count, exists, "},
		"no subject":     {"probes:\n  - name: a\n", "p.yaml:2: probes[0]: want exactly one of key, pattern, script and function, got none"},
		"two subjects":   {"probes:\n  - key: a\n    script: b\n", "got key and script"},
		"not a range":    {"probes:\n  - key: a\n    length: many\n", `p.yaml:3: probes[0].length: "many" is not how many: want 3, 1..5, 1.. or ..5`},
		"not a lifetime": {"probes:\n  - key: a\n    ttl: 1h\n", `p.yaml:3: probes[0].ttl: "1h" is not how long: want none, 1h..24h, 10m.. or ..30d`},
		"unknown type":   {"probes:\n  - {key: a, type: map}\n", `p.yaml:2: probes[0].type: "map" is not known: want string, list, set, zset, hash or stream`},
		"value of list":  {"probes:\n  - {key: a, type: list, value: b}\n", "p.yaml:2: probes[0].type: list has no such value"},
		"field alone":    {"probes:\n  - {key: a, field: b}\n", "p.yaml:2: probes[0].field: want the value that it must have"},
		"gone and long":  {"probes:\n  - {key: a, exists: false, length: 3}\n", "p.yaml:2: probes[0].exists: a key that must not be there has nothing else to be checked"},
		"count of a key": {"probes:\n  - {key: a}\n  - key: b\n    count: 3\n", "p.yaml:4: probes[1].count: belongs to a pattern, and this probe has none"},
		"no count":       {"probes:\n  - pattern: \"a*\"\n", "p.yaml:2: probes[0].count: want how many keys: 1000, 1000.. or 1000..2000"},
		"no result":      {"probes:\n  - script: return 1\n", "p.yaml:2: probes[0].result: want the answer, as redis-cli --raw shows it"},
		"twice":          {"probes:\n  - key: a\n    key: b\n", "p.yaml:3: probes[0].key: is there twice"},
		"all at once":    {"probes:\n  - {key: a, ttl: 1h}\n  - {key: b, length: x}\n", "\np.yaml:3: probes[1].length: "},
		"list of lists":  {"probes:\n  - {key: a, length: [1]}\n", "p.yaml:2: probes[0].length: want a single value"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadProbes(path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// The probes of docs/config.md are read as they stand there.
func TestDocumentedProbes(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\nprobes:")
	text, _, found := strings.Cut("probes:"+text, "```\n")
	path := filepath.Join(t.TempDir(), "probes.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if probes, err := LoadProbes(path); err != nil || !found || len(probes) != 9 {
		t.Errorf("%d probes, %v", len(probes), err)
	}
}
