package manifest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

func TestValidateAcceptsTheSample(t *testing.T) {
	if err := sample().Validate(); err != nil {
		t.Fatal(err)
	}
}

// shrink takes slots from a shard and from its primary, so that nothing but
// the coverage is wrong.
func shrink(m *manifest.Manifest, shard int, by slot.Set) {
	rest := m.Shards[shard].Slots.Minus(by)
	setSlots(m, shard, rest)
}

func setSlots(m *manifest.Manifest, shard int, slots slot.Set) {
	m.Shards[shard].Slots = slots
	for i, n := range m.Topology.Nodes {
		if n.ID == m.Shards[shard].Primary {
			m.Topology.Nodes[i].Slots = slots
		}
	}
}

// Each incoherence is caused once and found once: one line, that names it.
func TestValidateFinds(t *testing.T) {
	type m = manifest.Manifest
	cases := map[string]struct {
		cause func(*m)
		want  string
	}{
		"a hole in the slots": {func(m *m) { shrink(m, 0, slot.SetOf(slot.Range{First: 42, Last: 43})) }, "slots 42-43 are in no shard"},
		"a slot twice":        {func(m *m) { setSlots(m, 1, m.Shards[1].Slots.Union(slot.SetOf(slot.Range{First: 7, Last: 7}))) }, "slots 7 are in two shards"},
		"unknown primary": {func(m *m) {
			m.Topology.Nodes[2].ID = "x"
			m.Shards[1].Source.Node = "x"
			m.Topology.Nodes[2].Slots = slot.Set{}
		}, "is not in the topology"},
		"unknown source":            {func(m *m) { m.Shards[1].Source.Node = "x" }, `its source "x" is not in the topology`},
		"slots are not the node's":  {func(m *m) { m.Topology.Nodes[2].Slots.Add(0) }, "the topology gives its primary slots 0,8192-16382"},
		"slots of a node unknown":   {func(m *m) { m.Topology.Nodes[1].Slots.Add(9) }, "and no shard is its"},
		"a node twice":              {func(m *m) { m.Topology.Nodes = append(m.Topology.Nodes, m.Topology.Nodes[1]) }, "twice or without an id"},
		"a node without an id":      {func(m *m) { m.Topology.Nodes = append(m.Topology.Nodes, manifest.Node{Role: "replica"}) }, "twice or without an id"},
		"a role nobody has":         {func(m *m) { m.Topology.Nodes[1].Role = "witness" }, `the role "witness"`},
		"sha of other length":       {func(m *m) { m.Shards[0].Dump.SHA256 = "1f" }, `"1f" is not a SHA-256`},
		"sha that is no hex":        {func(m *m) { m.Shards[0].SlotIndex.SHA256 = strings.Repeat("zz", 32) }, "is not a SHA-256"},
		"object above the folder":   {func(m *m) { m.Shards[0].Dump.Object = "../x" }, `"../x"`},
		"object beside the folder":  {func(m *m) { m.Shards[0].Dump.Object = "a/../../x" }, `"a/../../x"`},
		"object with a root":        {func(m *m) { m.Shards[0].Dump.Object = "/etc/passwd" }, `"/etc/passwd"`},
		"object that is the folder": {func(m *m) { m.Shards[0].SlotIndex.Object = "." }, `"."`},
		"object without a name":     {func(m *m) { m.Shards[0].Dump.Object = "" }, "it is empty"},
		"object with a line end":    {func(m *m) { m.Shards[0].Dump.Object = "a\nb" }, "control characters"},
		"an object of two shards":   {func(m *m) { m.Shards[1].Dump.Object = m.Shards[0].Dump.Object }, `object "shard-0/dump.rdb.zst.age" is named twice`},
		"an empty object":           {func(m *m) { m.Shards[0].Dump.Bytes = 0 }, "size is 0 bytes"},
		"more expiring than keys":   {func(m *m) { m.Shards[1].Dump.Expiring = 8 }, "8 keys expire of 7"},
		"no RDB version":            {func(m *m) { m.Shards[1].Dump.RDBVersion = 0 }, "RDB version is 0"},
		"wrong version":             {func(m *m) { m.Version = 3 }, "format version is 3, want 1 to 2"},
		"compression unknown":       {func(m *m) { m.Seal.Compression = "lz4" }, `compression is "lz4"`},
		"encryption unknown":        {func(m *m) { m.Seal.Encryption, m.Seal.Recipients = "gpg", nil }, `encryption is "gpg"`},
		"encrypted to nobody":       {func(m *m) { m.Seal.Recipients = nil }, "there are 0 recipients"},
		"recipients of nothing":     {func(m *m) { m.Seal.Encryption = "none" }, "there are 1 recipients"},
		"a private recipient":       {func(m *m) { m.Seal.Recipients[0] = "AGE-SECRET-KEY-1QQQ" }, "recipient 1 of 1 is a private identity"},
		"a recipient's comment":     {func(m *m) { m.Seal.Recipients[0] += " " }, "is not in its shortest form"},
		"sealed without content":    {func(m *m) { m.Shards[0].Dump.Plain = manifest.Plain{} }, "does not say what it holds"},
		"content without size":      {func(m *m) { m.Shards[0].Dump.Plain.Bytes = 0 }, "plain: size is 0 bytes"},
		"content without sum":       {func(m *m) { m.Shards[1].SlotIndex.Plain.SHA256 = "1f" }, `plain: "1f" is not a SHA-256`},
		"settings of no size":       {func(m *m) { m.Settings.Bytes = 0 }, "settings: settings.json.zst.age: size is 0 bytes"},
		"settings of no sum":        {func(m *m) { m.Settings.SHA256 = "5b" }, `settings: settings.json.zst.age: "5b" is not a SHA-256`},
		"settings in a dump":        {func(m *m) { m.Settings.Object = m.Shards[0].Dump.Object }, "is named twice"},
		"its own origin":            {func(m *m) { m.ResealedFrom = m.ID }, "it is its own origin"},
		"an origin that is no id":   {func(m *m) { m.ResealedFrom = "yesterday" }, `resealed_from: "yesterday"`},
		"finished before started":   {func(m *m) { m.Finished = m.Started.Add(-time.Nanosecond) }, "before it started"},
		"bad id":                    {func(m *m) { m.ID = "yesterday" }, `"yesterday" is not a snapshot id`},
		"bad cluster name":          {func(m *m) { m.Cluster = "../prod" }, `cluster name "../prod"`},
		"bad engine":                {func(m *m) { m.Server.Engine = "keydb" }, `server engine is "keydb"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := sample()
			c.cause(m)
			err := m.Validate()
			if err == nil {
				t.Fatal("Validate found nothing")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, c.want)
			}
		})
	}
}

// Content beside objects that are not sealed contradicts each of them.
func TestValidateFindsContentOfWhatIsNotSealed(t *testing.T) {
	m := sample()
	m.Seal = manifest.Seal{Compression: "none", Encryption: "none"}
	if err := m.Validate(); err == nil || strings.Count(err.Error(), "nothing is sealed") != 8 {
		t.Errorf("got %v, want each of eight objects named", err)
	}
}

// A shard without slots leaves a hole as well, so it is two findings.
func TestValidateFindsAShardWithoutSlots(t *testing.T) {
	m := sample()
	setSlots(m, 1, slot.Set{})
	err := m.Validate()
	for _, want := range []string{"shard 2 of 2 has no slots", "slots 8192-16382 are in no shard"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestValidateFindsEverythingAtOnce(t *testing.T) {
	err := new(manifest.Manifest).Validate()
	for _, want := range []string{"format version is 0", "not a snapshot id", "cluster name", "server engine", "slots 0-16383 are in no shard"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestValidateClusterName(t *testing.T) {
	for _, name := range []string{"prod", "P", "0", "eu-west.1_cache", strings.Repeat("x", 63)} {
		if err := manifest.ValidateClusterName(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "-x", "_x", "a/b", "a b", "a\n", "é", strings.Repeat("x", 64)} {
		if err := manifest.ValidateClusterName(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
