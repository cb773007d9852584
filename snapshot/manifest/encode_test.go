package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden manifest of the current format version")

// The golden files are kept for ever: what once was a snapshot stays one. Only
// that of the version under development may be rewritten, with -update.
func TestGolden(t *testing.T) {
	for version, want := range map[int]*manifest.Manifest{1: sampleV1(), manifest.Version: sample()} {
		path := filepath.Join("testdata", fmt.Sprintf("manifest-v%d.json", version))
		encoded, err := manifest.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if *update && version == manifest.Version {
			if err := os.WriteFile(path, encoded, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), string(encoded)); diff != "" {
			t.Errorf("version %d: the sample is written another way than it was (- before, + now):\n%s", version, diff)
		}
		decoded, err := manifest.Decode(bytes.NewReader(golden))
		if err != nil {
			t.Fatal(err)
		}
		decoded.Checksum = "" // of the text, not of the snapshot
		if diff := cmp.Diff(want, decoded, cmp.AllowUnexported(slot.Set{})); diff != "" {
			t.Errorf("version %d: the golden manifest reads otherwise (- sample, + read):\n%s", version, diff)
		}
	}
}

// A manifest of version 1 has the fields of version 1 alone.
func TestVersion1StaysStrict(t *testing.T) {
	for want, change := range map[string]func(*manifest.Manifest){
		"checksum: unknown field":                 func(m *manifest.Manifest) { m.Checksum = strings.Repeat("0", 64) },
		"seal: unknown field":                     func(m *manifest.Manifest) { m.Seal = sample().Seal },
		"settings: unknown field":                 func(m *manifest.Manifest) { m.Settings = sample().Settings },
		"aof: unknown field":                      func(m *manifest.Manifest) { m.Shards[1].AOF = &manifest.AOF{} },
		"resealed_from: unknown field":            func(m *manifest.Manifest) { m.ResealedFrom = sample().ResealedFrom },
		"shard-0/slots.idx: plain: unknown field": func(m *manifest.Manifest) { m.Shards[0].SlotIndex.Plain = sample().Shards[0].SlotIndex.Plain },
	} {
		m := sampleV1()
		change(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Decode(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// Every flipped bit of a manifest is found, in the one store that has it.
func TestFlippedBits(t *testing.T) {
	small := sample()
	small.Shards[0].AOF = nil
	for _, c := range []struct {
		m    *manifest.Manifest
		bits func(at int) []int
	}{
		{small, func(int) []int { return []int{0, 1, 2, 3, 4, 5, 6, 7} }},
		{sample(), func(at int) []int { return []int{at % 8} }},
	} {
		text, err := manifest.Encode(c.m)
		if err != nil {
			t.Fatal(err)
		}
		for at := range text {
			for _, bit := range c.bits(at) {
				text[at] ^= 1 << bit
				if _, err := manifest.Decode(bytes.NewReader(text)); err == nil {
					t.Fatalf("bit %d of byte %d was flipped, and nothing is found: %.60s", bit, at, text[max(0, at-30):])
				}
				text[at] ^= 1 << bit
			}
		}
		if _, err := manifest.Decode(bytes.NewReader(text)); err != nil {
			t.Errorf("as it was: %v", err)
		}
	}
}

func TestContent(t *testing.T) {
	sealed, old := sample().Shards[0].Dump.File, sampleV1().Shards[0].Dump.File
	if sealed.Content() != sealed.Plain || old.Content() != (manifest.Plain{Bytes: old.Bytes, SHA256: old.SHA256}) {
		t.Errorf("they hold %v and %v", sealed.Content(), old.Content())
	}
}

// The sample must have no empty field, or the golden test proves nothing of it.
func TestSampleHasEveryField(t *testing.T) {
	text, err := manifest.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{
		"format_version", "id", "cluster", "created_by", "started", "finished", "server", "engine", "version", "topology",
		"current_epoch", "nodes", "address", "bus_port", "hostname", "role", "primary", "config_epoch", "slots", "shards",
		"replicas", "source", "node", "collect", "lag_bytes", "taken", "replication", "offset", "exact", "dump", "object",
		"bytes", "sha256", "rdb_version", "created", "crc64", "checksum_disabled", "keys", "expiring", "max_db",
		"used_memory", "functions", "slot_index", "stores", "findings", "code", "severity", "subject", "detail",
		"seal", "compression", "encryption", "recipients", "plain", "resealed_from", "checksum", "settings",
	} {
		if !bytes.Contains(text, []byte(`"`+field+`": `)) {
			t.Errorf("the sample has no %q", field)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	cases := map[string]func(*manifest.Manifest){
		"as it is":     func(*manifest.Manifest) {},
		"of version 1": func(m *manifest.Manifest) { *m = *sampleV1() },
		"sealed by none": func(m *manifest.Manifest) {
			*m = *sampleV1()
			m.Version, m.Seal = 2, manifest.Seal{Compression: "none", Encryption: "none"}
		},
		"no settings":    func(m *manifest.Manifest) { m.Settings = manifest.File{} },
		"no findings":    func(m *manifest.Manifest) { m.Findings = nil },
		"no keys at all": func(m *manifest.Manifest) { m.Shards[0].Dump.Keys, m.Shards[0].Dump.Expiring = 0, 0 },
		"a primary without slots": func(m *manifest.Manifest) {
			m.Topology.Nodes = append(m.Topology.Nodes, manifest.Node{ID: "f", Role: "primary"})
		},
		"finished when it started":   func(m *manifest.Manifest) { m.Finished = m.Started },
		"text that JSON must escape": func(m *manifest.Manifest) { m.Findings[0].Detail = "a <b> & \"c\" \n \u2028 é" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			want := sample()
			change(want)
			text, err := manifest.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasSuffix(text, []byte("}\n")) {
				t.Errorf("it ends in %q", text[len(text)-2:])
			}
			// One byte a read: Decode must not depend on how the text arrives.
			got, err := manifest.Decode(iotest.OneByteReader(bytes.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			got.Checksum = "" // as above
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(slot.Set{})); diff != "" {
				t.Errorf("- before, + after:\n%s", diff)
			}
		})
	}
}

func TestEncodeRefusesWhatIsIncoherent(t *testing.T) {
	m := sample()
	m.Shards = m.Shards[:1]
	text, err := manifest.Encode(m)
	if err == nil || !strings.Contains(err.Error(), "8192-16382 are in no shard") {
		t.Errorf("a manifest with a hole was encoded: %v", err)
	}
	if text != nil {
		t.Errorf("there is text beside the error: %.80s", text)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := manifest.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, by string) string {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the sample has no %q to replace", old)
		}
		return strings.Replace(string(good), old, by, 1)
	}
	cases := map[string]struct{ text, want string }{
		"nothing":                    {"", "unexpected end of JSON input"},
		"no JSON":                    {"REDIS0010", "invalid character"},
		"cut in the middle":          {string(good[:len(good)/2]), "unexpected end of JSON input"},
		"a list":                     {"[]", "cannot unmarshal array"},
		"an unknown field":           {replace(`"cluster": `, `"colour": "red", "cluster": `), `unknown field "colour"`},
		"an unknown field in a dump": {replace(`"keys": `, `"quays": 3, "keys": `), `unknown field "quays"`},
		"a second manifest":          {string(good) + string(good), "after top-level value"},
		"one more brace":             {string(good) + "}", "after top-level value"},
		"a slot out of range":        {replace(`"slots": "0-8191,16383"`, `"slots": "0-8191,16384"`), "parse slot range"},
		"a number for a text":        {replace(`"cluster": "prod"`, `"cluster": 5`), "cannot unmarshal number"},
		"a negative number of keys":  {replace(`"keys": 100`, `"keys": -1`), "cannot unmarshal number"},
		"an incoherence":             {replace(`"expiring": 30`, `"expiring": 101`), "101 keys expire of 100"},
		"too large":                  {string(good) + strings.Repeat(" ", manifest.MaxBytes), "larger than 16777216 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.Decode(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if m != nil {
				t.Error("there is a manifest beside the error")
			}
			if errors.Is(err, manifest.ErrVersion) {
				t.Errorf("it is taken for another version: %v", err)
			}
		})
	}
}

// A later version may have any fields; what must be said is that it is one.
func TestDecodeRefusesOtherVersions(t *testing.T) {
	cases := map[string]string{
		"a later version":                     `{"format_version": 3, "id": "20260131T020000Z-x7k2p9"}`,
		"a later version with unknown fields": `{"sealed_with": {"age": ["age1…"]}, "format_version": 99, "shards": "elsewhere"}`,
		"no version":                          `{"id": "20260131T020000Z-x7k2p9"}`,
		"null":                                `null`,
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := manifest.Decode(strings.NewReader(text)); !errors.Is(err, manifest.ErrVersion) {
				t.Errorf("got %v, want ErrVersion", err)
			}
		})
	}
}

func TestDecodeReportsAFailingRead(t *testing.T) {
	broken := errors.New("the store went away")
	if _, err := manifest.Decode(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

func TestSums(t *testing.T) {
	m := sample()
	if m.Keys() != 107 || m.Expiring() != 37 || m.Bytes() != 148001 {
		t.Errorf("%d keys, %d expiring, %d bytes", m.Keys(), m.Expiring(), m.Bytes())
	}
	if m.Slots() != slot.Full() {
		t.Errorf("slots %s", m.Slots())
	}
	if m.Skew() != 3*time.Second {
		t.Errorf("skew %s, want 3s", m.Skew())
	}
	m.Shards[0], m.Shards[1] = m.Shards[1], m.Shards[0]
	if m.Skew() != 3*time.Second {
		t.Errorf("skew %s with the later shard first, want 3s", m.Skew())
	}
	if empty := new(manifest.Manifest); empty.Skew() != 0 || empty.Keys() != 0 {
		t.Error("a manifest without shards has skew or keys")
	}
}
