package manifest_test

import (
	"strings"
	"time"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// instant is when the sample snapshot began.
var instant = time.Date(2026, 1, 31, 2, 0, 0, 123456789, time.UTC)

// recipient is an age public key whose identity nobody kept.
const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// sampleV1 is the sample as it was before anything was sealed.
func sampleV1() *manifest.Manifest {
	m := sample()
	m.Version, m.Seal, m.ResealedFrom, m.Settings = 1, manifest.Seal{}, "", manifest.File{}
	for i, names := range [][2]string{{"shard-0/dump.rdb", "shard-0/slots.idx"}, {"shard-8192/dump.rdb", "shard-8192/slots.idx"}} {
		m.Shards[i].Dump.Object, m.Shards[i].SlotIndex.Object = names[0], names[1]
		m.Shards[i].Dump.Plain, m.Shards[i].SlotIndex.Plain = manifest.Plain{}, manifest.Plain{}
		m.Shards[i].AOF = nil
	}
	return m
}

// sampleSet is a set with every field.
func sampleSet() *manifest.AOF {
	start, end := int64(4000), int64(4700)
	file := func(name, sum string, bytes int64) manifest.File {
		return manifest.File{Object: "shard-0/aof/" + name + ".zst.age", Bytes: bytes, SHA256: strings.Repeat(sum, 32), Plain: manifest.Plain{Bytes: 2 * bytes, SHA256: strings.Repeat(sum, 32)}}
	}
	return &manifest.AOF{
		Manifest: file("appendonly.aof.manifest", "5c", 100), ManifestName: "appendonly.aof.manifest",
		Files: []manifest.AOFFile{
			{File: file("appendonly.aof.2.base.rdb", "5a", 300), Name: "appendonly.aof.2.base.rdb", Kind: manifest.AOFBase, Seq: 2, Commands: 0, DumpBytes: 600},
			{File: file("appendonly.aof.3.incr.aof", "5b", 400), Name: "appendonly.aof.3.incr.aof", Kind: manifest.AOFIncr, Seq: 3, StartOffset: &start, EndOffset: &end, Commands: 17},
		},
		Aligned: true, Offset: manifest.AOFOffset{Start: &start, End: 4711}, Commands: 17,
		First: instant.Truncate(time.Second), Last: instant.Add(time.Second).Truncate(time.Second), Cut: 42, Linked: instant.Add(3 * time.Second),
	}
}

// sample is a coherent manifest in which every field has a value of its own,
// so that one that is lost or swapped on the way is seen. Each call returns a
// new one.
func sample() *manifest.Manifest {
	low := slot.SetOf(slot.Range{First: 0, Last: 8191}, slot.Range{First: 16383, Last: 16383})
	high := slot.Full().Minus(low)
	first, second, replica := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	return &manifest.Manifest{
		Version:   manifest.Version,
		ID:        "20260131T020000Z-x7k2p9",
		Cluster:   "prod",
		CreatedBy: "slotark 0.1.0",
		Started:   instant,
		Finished:  instant.Add(90 * time.Second),
		Server:    manifest.Server{Engine: "redis", Version: "7.0.15"},

		ResealedFrom: "20260131T020000Z-b3c4d5",
		Seal:         manifest.Seal{Compression: "zstd", Encryption: "age", Recipients: []string{recipient}},
		Topology: manifest.Topology{
			CurrentEpoch: 7,
			Nodes: []manifest.Node{
				{ID: first, Address: "10.0.0.1:6379", BusPort: 16379, Hostname: "one.example", Role: "primary", ConfigEpoch: 5, Slots: low},
				{ID: replica, Address: "10.0.0.3:6379", BusPort: 16380, Role: "replica", Primary: first, ConfigEpoch: 5},
				{ID: second, Address: "10.0.0.2:6379", BusPort: 16381, Role: "primary", ConfigEpoch: 6, Slots: high},
			},
		},
		Shards: []manifest.Shard{
			{
				Slots: low, Primary: first, ConfigEpoch: 5, Replicas: 1,
				Source:      manifest.Source{Node: replica, Address: "10.0.0.3:6379", Role: "replica", Collect: "stream", LagBytes: 12},
				Taken:       instant.Add(2 * time.Second),
				Replication: manifest.Replication{ID: strings.Repeat("d", 40), Offset: 4711, Exact: true},
				Dump: manifest.Dump{
					File:       manifest.File{Object: "shard-0/dump.rdb.zst.age", Bytes: 1000, SHA256: strings.Repeat("1f", 32), Plain: manifest.Plain{Bytes: 3000, SHA256: strings.Repeat("a1", 32)}},
					RDBVersion: 10, Created: instant.Add(2 * time.Second).Truncate(time.Second), CRC64: "0123456789abcdef",
					Keys: 100, Expiring: 30, MaxDB: 1, UsedMemory: 1 << 20, Functions: 2,
				},
				SlotIndex: manifest.File{Object: "shard-0/slots.idx.zst.age", Bytes: 70000, SHA256: strings.Repeat("2e", 32), Plain: manifest.Plain{Bytes: 90000, SHA256: strings.Repeat("b2", 32)}},
				AOF:       sampleSet(),
			},
			{
				Slots: high, Primary: second, ConfigEpoch: 6,
				Source:      manifest.Source{Node: second, Address: "10.0.0.2:6379", Role: "primary", Collect: "bgsave"},
				Taken:       instant.Add(5 * time.Second),
				Replication: manifest.Replication{ID: strings.Repeat("e", 40), Offset: 815},
				Dump: manifest.Dump{
					File:       manifest.File{Object: "shard-8192/dump.rdb.zst.age", Bytes: 2000, SHA256: strings.Repeat("3d", 32), Plain: manifest.Plain{Bytes: 4000, SHA256: strings.Repeat("c3", 32)}},
					RDBVersion: 10, Created: instant.Add(5 * time.Second).Truncate(time.Second), CRC64: "0000000000000000",
					ChecksumDisabled: true, Keys: 7, Expiring: 7, UsedMemory: 1 << 19,
				},
				SlotIndex: manifest.File{Object: "shard-8192/slots.idx.zst.age", Bytes: 70001, SHA256: strings.Repeat("4c", 32), Plain: manifest.Plain{Bytes: 90001, SHA256: strings.Repeat("d4", 32)}},
			},
		},
		Settings: manifest.File{Object: "settings.json.zst.age", Bytes: 4200, SHA256: strings.Repeat("5b", 32), Plain: manifest.Plain{Bytes: 9100, SHA256: strings.Repeat("e5", 32)}},
		Stores:   []string{"eu-west-1", "us-east-2"},
		Findings: []manifest.Finding{{Code: "unverifiable", Severity: "warning", Subject: "shard 8192-16382", Detail: "its dump has no CRC64"}},
	}
}
