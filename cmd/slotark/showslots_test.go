package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/manifest"
)

// TestShowSlots prints the slot indexes of a snapshot in both forms, says when
// one is damaged, and still reads what an earlier slotark wrote.
func TestShowSlots(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 500, Seed: 3})
	repo := filepath.Join(t.TempDir(), "repo")
	// Not compressed, because the indexes are rewritten where they lie.
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo, "--compression", "none").want(t, exitDone)

	sum := readSlots(t, slotark(t, "", "show", "latest", "--slots", "--repo", repo, "--json").want(t, exitDone).stdout)

	// For a person: a head, and the same sum last.
	lines := strings.Split(strings.TrimSpace(slotark(t, "", "show", "latest", "--slots", "--repo", repo).want(t, exitDone).stdout), "\n")
	if head := strings.Join(strings.Fields(lines[0]), " "); head != "SLOT KEYS EXPIRING DIGEST OFFSET BYTES" {
		t.Errorf("the head is %q", head)
	}
	if end := lines[len(lines)-1]; end != "fingerprint "+sum.String()+", digest version "+strconv.Itoa(rdb.DigestVersion) {
		t.Errorf("the last line is %q", end)
	}

	rewriteIndexes(t, repo, false)
	slotark(t, "", "show", "latest", "--slots", "--repo", repo).want(t, exitFailed, "slots.idx", "the stored object is damaged").wantOneLine(t)

	rewriteIndexes(t, repo, true)
	slotark(t, "", "verify", "latest", "--repo", repo).want(t, exitDone, "sound at level deep")
	o := slotark(t, "", "show", "latest", "--slots", "--repo", repo).want(t, exitDone, "no fingerprint: ")
	if strings.Contains(o.stdout, "fingerprint "+sum.String()) {
		t.Error("it has a fingerprint without digests")
	}
	o = slotark(t, "", "show", "latest", "--slots", "--repo", repo, "--json").want(t, exitDone, `"message_type":"slot"`)
	if strings.Contains(o.stdout, "digest") || strings.Contains(o.stdout, "fingerprint") {
		t.Errorf("a slot index of version 1 has no digests:\n%s", o.stdout)
	}
}

// readSlots reads what is printed for a program: each slot with keys, and what
// their digests come to, last. It returns that.
func readSlots(t *testing.T, printed string) rdb.Digest {
	t.Helper()
	var sum rdb.Digest
	var keys uint32
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	for _, line := range lines[:len(lines)-1] {
		var s slotMessage
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		if s.Type != "slot" || s.Keys == 0 || s.Digest == nil || s.DigestVersion != rdb.DigestVersion {
			t.Fatalf("got %s", line)
		}
		if s.Keys == 1 && (s.Offset == 0 || s.Bytes == 0) {
			t.Errorf("a slot of one key lies nowhere: %s", line)
		}
		sum, keys = sum.Add(*s.Digest), keys+s.Keys
	}
	var last fingerprintMessage
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if want := (fingerprintMessage{"fingerprint", sum, rdb.DigestVersion}); keys != 500 || last != want {
		t.Errorf("%d keys come to %s, the last message is %+v", keys, sum, last)
	}
	return sum
}

// rewriteIndexes makes the slot indexes of the one snapshot of a repository such
// as version 1 was, in the manifest too or not.
func rewriteIndexes(t *testing.T, repo string, inManifest bool) {
	t.Helper()
	var path string
	for _, name := range objects(t, repo) {
		if strings.HasSuffix(name, "manifest.json") {
			path = filepath.Join(repo, name)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Shards {
		file := &m.Shards[i].SlotIndex
		name := filepath.Join(filepath.Dir(path), file.Object)
		stored, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		index, err := manifest.DecodeSlotIndex(bytes.NewReader(stored))
		if err != nil {
			t.Fatal(err)
		}
		old := manifest.SlotIndex{Owned: index.Owned}
		for n, e := range index.Slots {
			old.Slots[n] = manifest.SlotEntry{Keys: e.Keys, Expiring: e.Expiring}
		}
		content := old.Encode()
		rewrite(t, name, content)
		digest := sha256.Sum256(content)
		file.Bytes, file.SHA256 = int64(len(content)), hex.EncodeToString(digest[:])
	}
	if !inManifest {
		return
	}
	if text, err = manifest.Encode(m); err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, text)
}
