package snapshot_test

import (
	"io"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// TestSlotIndex takes snapshots of real data: the stored indexes say what is in
// the stored dumps, the fingerprint stays while the data does, and one changed
// key changes its slot's digest and no other.
func TestSlotIndex(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Primaries: 3})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: 3_000, Seed: 11}); err != nil {
		t.Fatal(err)
	}
	const key = "changed"
	client := c.Client()
	set := func(value string) {
		if err := client.Set(t.Context(), key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("before")
	first, sum := takeIndexed(t, c, snapshot.CollectStream)
	same, sameSum := takeIndexed(t, c, snapshot.CollectBgsave)
	if differing := differingSlots(first, same); differing.Len() > 0 || sum != sameSum {
		t.Errorf("the data stayed, and slots %s differ; fingerprints %v and %v", differing, sum, sameSum)
	}
	set("after")
	changed, changedSum := takeIndexed(t, c, snapshot.CollectStream)
	want := slot.SetOf(slot.Range{First: slot.Of([]byte(key)), Last: slot.Of([]byte(key))})
	if differing := differingSlots(first, changed); differing != want || sum == changedSum {
		t.Errorf("slots %s differ, want %s; fingerprints %v and %v", differing, want, sum, changedSum)
	}
	set("before")
	if _, again := takeIndexed(t, c, snapshot.CollectStream); again != sum {
		t.Errorf("the data is what it was, its fingerprint is %v, was %v", again, sum)
	}
}

// takeIndexed takes a snapshot, checks its slot indexes against its dumps, and
// returns the slots' digests and the fingerprint.
func takeIndexed(t *testing.T, c *clustertest.Cluster, collect string) (*[slot.Count]rdb.Digest, manifest.Fingerprint) {
	t.Helper()
	store := storage.Named{Name: "here", Store: fs.Open(t.TempDir())}
	result, err := snapshot.Take(t.Context(), snapshot.Options{
		Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: []storage.Named{store}, Collect: collect, Build: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	open := func(file manifest.File) io.ReadCloser {
		body, err := store.Open(t.Context(), catalog.Folder("prod", result.Manifest.ID)+file.Object)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	digests := new([slot.Count]rdb.Digest)
	var sum manifest.Fingerprint
	for _, shard := range result.Manifest.Shards {
		text := open(shard.SlotIndex)
		defer text.Close()
		index, err := manifest.DecodeSlotIndex(text)
		if err != nil {
			t.Fatal(err)
		}
		dump := open(shard.Dump.File)
		defer dump.Close()
		report, err := rdb.Inspect(t.Context(), dump, rdb.InspectOptions{Size: shard.Dump.Bytes, Owned: &shard.Slots, Digest: true})
		if err != nil {
			t.Fatal(err)
		}
		if *index != *manifest.NewSlotIndex(shard.Slots, report) || index.DigestVersion != rdb.DigestVersion || index.Digest() != report.Digest {
			t.Errorf("%s is not the index of the dump beside it", shard.SlotIndex.Object)
		}
		sum.Add(index)
		for n := range shard.Slots.All() {
			digests[n] = index.Slots[n].Digest
		}
	}
	return digests, sum
}

func differingSlots(a, b *[slot.Count]rdb.Digest) slot.Set {
	var differing slot.Set
	for n := range a {
		if a[n] != b[n] {
			differing.Add(n)
		}
	}
	return differing
}
