package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
)

// slotwiseDump is a dump that a real server wrote slot by slot, and its report.
func slotwiseDump(t *testing.T) ([]byte, *rdb.Report) {
	t.Helper()
	dump, err := os.ReadFile("../internal/rdb/testdata/redis-8.0.2-cluster.rdb")
	if err != nil {
		t.Fatal(err)
	}
	report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump), rdb.InspectOptions{Size: int64(len(dump)), Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	return dump, report
}

// heldSlots are the slots that hold keys, in ascending order.
func heldSlots(x *manifest.SlotIndex) []int {
	var held []int
	for n := range x.Owned.All() {
		if x.Slots[n].Keys > 0 {
			held = append(held, n)
		}
	}
	return held
}

// indexDamages are the ways in which an index can say what is not so of a slot
// that holds keys, and the one finding of each.
var indexDamages = map[string]struct {
	damage func(x *manifest.SlotIndex, e *manifest.SlotEntry)
	code   string
}{
	"as it is":             {func(*manifest.SlotIndex, *manifest.SlotEntry) {}, ""},
	"a key too many":       {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) { e.Keys++ }, codeSlotKeys},
	"another expiring key": {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) { e.Keys, e.Expiring = e.Keys+1, e.Expiring+1 }, codeSlotKeys},
	"one bit of a digest": {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) {
		e.Digest = e.Digest.Add(rdb.DigestOf([16]byte{7: 1}))
	}, codeSlotDigest},
	"a digest of another definition": {func(x *manifest.SlotIndex, e *manifest.SlotEntry) {
		x.DigestVersion, e.Digest = rdb.DigestVersion+1, rdb.Digest{}
	}, ""},
	"a byte less":               {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) { e.Bytes-- }, codeSlotBytes},
	"a byte later":              {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) { e.Offset, e.Bytes = e.Offset+1, e.Bytes-1 }, codeSlotBytes},
	"no range":                  {func(_ *manifest.SlotIndex, e *manifest.SlotEntry) { e.Offset, e.Bytes = 0, 0 }, codeSlotBytes},
	"version 1":                 {func(x *manifest.SlotIndex, _ *manifest.SlotEntry) { withoutDigests(x) }, ""},
	"version 1, a key too many": {func(x *manifest.SlotIndex, e *manifest.SlotEntry) { withoutDigests(x); e.Keys++ }, codeSlotKeys},
}

// withoutDigests leaves of an index what version 1 has.
func withoutDigests(x *manifest.SlotIndex) {
	x.DigestVersion = 0
	for n, e := range x.Slots {
		x.Slots[n] = manifest.SlotEntry{Keys: e.Keys, Expiring: e.Expiring}
	}
}

// TestCompareIndex causes each difference in one slot, and sees that one alone.
func TestCompareIndex(t *testing.T) {
	_, report := slotwiseDump(t)
	for name, c := range indexDamages {
		t.Run(name, func(t *testing.T) {
			x := manifest.NewSlotIndex(slot.Full(), report)
			n := heldSlots(x)[3]
			c.damage(x, &x.Slots[n])
			found := compareIndex(slot.Full(), report, x)
			switch {
			case c.code == "" && len(found) > 0:
				t.Errorf("found %v in what agrees", found)
			case c.code != "" && (len(found) != 1 || found[0].code != c.code || !strings.HasPrefix(found[0].detail, fmt.Sprintf("slot %d ", n))):
				t.Errorf("found %v, want %s of slot %d alone", found, c.code, n)
			}
		})
	}
	t.Run("a dump without digests", func(t *testing.T) {
		x := manifest.NewSlotIndex(slot.Full(), report)
		x.Slots[heldSlots(x)[0]].Digest = rdb.Digest{}
		bare := *report
		bare.SlotDigests = nil
		if found := compareIndex(slot.Full(), &bare, x); len(found) > 0 {
			t.Errorf("found %v, though there is no digest to compare with", found)
		}
	})
	t.Run("three slots", func(t *testing.T) {
		x := manifest.NewSlotIndex(slot.Full(), report)
		for _, n := range heldSlots(x)[:3] {
			x.Slots[n].Digest = rdb.Digest{}
		}
		found := compareIndex(slot.Full(), report, x)
		if len(found) != 1 || !strings.HasSuffix(found[0].detail, "; 3 slots differ so") {
			t.Errorf("found %v, want one that says how many slots differ", found)
		}
	})
}

// digestingLevels are the levels that read dumps, and whether they take digests.
var digestingLevels = map[Level]bool{Parse: false, Deep: true}

// TestRunFindsWrongIndex stores a sound dump beside an index that says something
// else, with its right SHA-256 in the manifest: only reading the dump tells.
func TestRunFindsWrongIndex(t *testing.T) {
	dump, report := slotwiseDump(t)
	for name, c := range indexDamages {
		for level, digests := range digestingLevels {
			t.Run(fmt.Sprintf("%s, level %s", name, level), func(t *testing.T) {
				want := c.code
				if want == codeSlotDigest && !digests {
					want = ""
				}
				x := manifest.NewSlotIndex(slot.Full(), report)
				c.damage(x, &x.Slots[heldSlots(x)[0]])
				result, err := Run(t.Context(), Options{Snapshot: storeShard(t, dump, report, x.Encode()), Level: level})
				if err != nil {
					t.Fatal(err)
				}
				var codes []string
				for _, f := range result.Record.Findings {
					codes = append(codes, f.Code)
				}
				if got := strings.Join(codes, " "); got != want {
					t.Errorf("found %q, want %q: %v", got, want, result.Record.Findings)
				}
			})
		}
	}
	t.Run("not to be read", func(t *testing.T) {
		text := manifest.NewSlotIndex(slot.Full(), report).Encode()
		text = bytes.Replace(text, []byte("index 2,"), []byte("index 3,"), 1)
		result, err := Run(t.Context(), Options{Snapshot: storeShard(t, dump, report, text), Level: Parse})
		if err != nil {
			t.Fatal(err)
		}
		if f := result.Record.Findings; len(f) != 1 || f[0].Code != "slot-index" || !strings.Contains(f[0].Detail, "unknown slot index version 3") {
			t.Errorf("found %v, want slot-index alone", f)
		}
	})
}

// storeShard stores a snapshot of one shard that owns all slots.
func storeShard(t *testing.T, dump []byte, report *rdb.Report, index []byte) *catalog.Snapshot {
	t.Helper()
	stores := []storage.Named{{Name: "here", Store: fs.Open(t.TempDir())}}
	now := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	repository, err := catalog.Create(t.Context(), stores, now)
	if err != nil {
		t.Fatal(err)
	}
	id := manifest.NewID(now)
	put := func(name string, body []byte) manifest.File {
		if _, err := stores[0].Put(t.Context(), catalog.Folder("prod", id)+name, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		return manifest.File{Object: name, Bytes: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
	}
	node := manifest.Node{ID: strings.Repeat("a", 40), Address: "127.0.0.1:7000", Role: "primary", Slots: slot.Full()}
	text, err := manifest.Encode(&manifest.Manifest{
		Version: manifest.Version, Seal: manifest.SealOf(seal.Plain().Lock()), ID: id, Cluster: "prod", CreatedBy: "test", Started: now, Finished: now,
		Server: manifest.Server{Engine: "redis", Version: "8.0.2"}, Stores: []string{"here"},
		Topology: manifest.Topology{Nodes: []manifest.Node{node}},
		Shards: []manifest.Shard{{
			Slots: slot.Full(), Primary: node.ID, Taken: now,
			Source: manifest.Source{Node: node.ID, Address: node.Address, Role: node.Role, Collect: "bgsave"},
			Dump: manifest.Dump{
				File: put("shard-0/dump.rdb", dump), RDBVersion: report.Version, Created: report.Created,
				CRC64: fmt.Sprintf("%016x", report.CRC64), Keys: report.Keys, Expiring: report.Expiring,
			},
			SlotIndex: put("shard-0/slots.idx", index),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(catalog.ManifestObject, text)
	s, err := repository.Find(t.Context(), "prod", catalog.Latest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
