package restore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/settings"
)

// TestSettingsGuards has real nodes refuse what a restore would run into only when
// it has begun, and take notice of what is no reason to refuse.
func TestSettingsGuards(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1, Replicas: 1}, dataset.Options{Keys: 300, Seed: 3}, nil)
	run := func(addrs ...string) (*restore.Result, error) {
		return restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Replicas: restore.AllReplicas})
	}
	refused := func(words string, addrs ...string) {
		t.Helper()
		_, err := run(addrs...)
		requireRefusal(t, err, words)
		for _, addr := range addrs {
			if keys := do(t, addr, "DBSIZE"); keys != int64(0) {
				t.Errorf("%s holds %v keys", addr, keys)
			}
		}
	}
	refused("takes no writes before it has 1 replicas", emptyNodes(t, 1, "--min-replicas-to-write", "1")...)
	saver := startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: append(clusterArgs(), "--save", "900 1", "--dbfilename", "taken")})
	if err := os.Mkdir(filepath.Join(saver.Dir(), "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	do(t, saver.Addr(), "BGSAVE")
	clustertest.Eventually(t, time.Minute, func(context.Context) error {
		if info := do(t, saver.Addr(), "INFO", "persistence").(string); !strings.Contains(info, "rdb_last_bgsave_status:err") {
			return errors.New("it has not tried yet")
		}
		return nil
	})
	refused("could not save to its disk, and so takes no writes", saver.Addr())
	pair := emptyNodes(t, 2)
	do(t, pair[1], "CONFIG", "SET", "masterauth", "")
	refused("has no masterauth, and "+pair[0]+", which it is to follow, asks for a password", pair...)
	do(t, pair[1], "CONFIG", "SET", "masterauth", password)

	// All that is no reason to refuse.
	do(t, pair[0], "CONFIG", "SET", "maxmemory", "1gb")
	do(t, pair[0], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	do(t, pair[1], "CONFIG", "SET", "appendfsync", "always")
	do(t, pair[1], "CONFIG", "SET", "appendonly", "yes")
	result, err := run(pair...)
	if err != nil || !result.Complete() {
		t.Fatalf("%v %+v", err, result)
	}
	for _, want := range []string{pair[0] + " keeps nothing on disk", pair[0] + " evicts keys when memory is full", pair[1] + " waits for the disk at every command"} {
		if !strings.Contains(strings.Join(result.Notes, "; "), want) {
			t.Errorf("notes %q, want %q", result.Notes, want)
		}
	}
}

// typeModule is RDB_TYPE_MODULE_2 of rdb.h.
const typeModule = 7

// moduleValue is an empty value of a module's type: its id, and its end.
func moduleValue(name string) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var id uint64
	for _, c := range name {
		id = id<<6 | uint64(strings.IndexRune(letters, c))
	}
	return append(binary.BigEndian.AppendUint64([]byte{0x81}, id<<10|3), 0)
}

// TestModuleGuards restores values of a module onto nodes without it: refused,
// where the snapshot's settings name it, and else when the first comes.
func TestModuleGuards(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 100, Seed: 3}, nil)
	s.settings, _ = settings.Read(t.Context(), settings.Options{Cluster: "prod", Access: access(), Topology: s.topology, Now: clock.Now()})
	s.settings.Nodes[0].Modules = []manifest.Module{{Name: "ReJSON", Version: 20000}}
	addrs := emptyNodes(t, 1)
	o := restore.Options{Snapshot: s.again(t).snapshot, To: addrs, Access: access()}
	result, err := restore.Run(t.Context(), o)
	if err != nil || !result.Complete() || !strings.Contains(fmt.Sprint(result.Notes), "had module ReJSON, "+addrs[0]+" has not: no key needs it") {
		t.Fatalf("%v %+v", err, result)
	}

	s.dump = func(shard cluster.Shard, own []byte) []byte {
		var dump bytes.Buffer
		w := rdb.NewWriter(&dump, rdb.Header{Engine: "redis", Version: 10})
		w.Key(&rdb.Record{Kind: rdb.KindKey, Key: []byte("doc:1"), Slot: slot.Of([]byte("doc:1")), Type: typeModule, Family: rdb.Module})
		if _, err := w.Write(moduleValue("ReJSON-RL")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return dump.Bytes()
	}
	o.Snapshot, o.To = s.again(t).snapshot, emptyNodes(t, 1)
	_, err = restore.Run(t.Context(), o)
	requireRefusal(t, err, o.To[0]+" has no module for 1 value of type ReJSON-RL")

	s.settings = nil
	o.Snapshot = s.again(t).snapshot
	if _, err = restore.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `key "doc:1" is a value of type ReJSON-RL, and `+o.To[0]+" has no modules") {
		t.Errorf("without settings: %v", err)
	}
	requireEmpty(t, o.To)

	// A key of a database that cluster mode has not.
	s.dump = func(cluster.Shard, []byte) []byte {
		var dump bytes.Buffer
		w := rdb.NewWriter(&dump, rdb.Header{Engine: "redis", Version: 10})
		w.Key(&rdb.Record{Kind: rdb.KindKey, DB: 3, Key: []byte("k"), Slot: slot.Of([]byte("k")), Family: rdb.String})
		if _, err := w.Write([]byte("\x01v")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return dump.Bytes()
	}
	o.Snapshot = s.again(t).snapshot
	_, err = restore.Run(t.Context(), o)
	requireRefusal(t, err, o.To[0]+" has no database 3, in which the snapshot has keys")
}
