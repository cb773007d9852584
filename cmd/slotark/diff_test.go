package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestDiff compares two snapshots between which one key of each fate was changed.
func TestDiff(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 2_000, Seed: 12})
	client := c.Client()
	set := func(key string, ttl time.Duration) {
		if err := client.Set(t.Context(), key, "before", ttl).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"removed", "value", "type"} {
		set(key, 0)
	}
	set("expiry", time.Hour)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	take := func() string {
		out := slotark(t, password, append([]string{"snapshot", "--json", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
		var said snapshotMessage
		if err := json.Unmarshal([]byte(out.stdout), &said); err != nil {
			t.Fatal(err)
		}
		return string(said.ID)
	}
	first, same := take(), take()
	diff := func(args ...string) outcome {
		return slotark(t, password, append(append([]string{"diff"}, args...), repo...)...)
	}
	diff(first, same).want(t, exitDone, "equal: the same keys")

	set("added", 0)
	if err := client.Append(t.Context(), "value", " after").Err(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"removed", "type"} {
		if err := client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.RPush(t.Context(), "type", "before").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Persist(t.Context(), "expiry").Err(); err != nil {
		t.Fatal(err)
	}
	second := take()
	diff(first, second).want(t, exitFindings, "different in 5 slots", `added    1 key  "added"`, `removed  1 key  "removed"`, `value    1 key  "value"`, `type     1 key  "type"`, `expiry   1 key  "expiry"`)
	var said diffMessage
	if err := json.Unmarshal([]byte(diff(first, second, "--json").want(t, exitFindings).stdout), &said); err != nil {
		t.Fatal(err)
	}
	if said.Equal || len(said.Changes) != 5 || said.FromKeys != 2_004 || said.ToKeys != 2_004 || said.Unnamed != "" {
		t.Errorf("%+v", said)
	}
	diff(first).want(t, exitUsage, "takes two snapshots").wantOneLine(t)
	diff(first, "19990101T").want(t, exitFailed, "19990101T").wantOneLine(t)
}
