package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// sealed ends a dump's body: its keys, written by hand.
func sealed(body string) []byte {
	dump := append([]byte("REDIS0010"), body...)
	dump = append(dump, 0xff)
	return binary.LittleEndian.AppendUint64(dump, rdb.UpdateCRC64(0, dump))
}

// rereading is a store whose dump is another each time it is opened.
type rereading struct {
	storage.Store
	dumps [][]byte
}

func (s *rereading) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, "dump.rdb") {
		return s.Store.Open(ctx, name)
	}
	if len(s.dumps) == 0 {
		return nil, storage.ErrNotFound
	}
	dump := s.dumps[0]
	s.dumps = s.dumps[1:]
	return io.NopCloser(bytes.NewReader(dump)), nil
}

// readKey reads the key "k" of database 0 from a snapshot of one shard whose
// dump is recorded as the first of the given ones, and returns what was shown.
func readKey(t *testing.T, ctx context.Context, dumps ...[]byte) (shown []string, err error) {
	t.Helper()
	owned := slot.SetOf(slot.Range{First: 0, Last: slot.Count - 1})
	slots := manifest.SlotIndex{Owned: owned}
	slots.Slots[slot.Of([]byte("k"))].Keys = 1
	file := func(name string, data []byte) manifest.File {
		sum := sha256.Sum256(data)
		return manifest.File{Object: name, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	}
	index := slots.Encode()
	m := &manifest.Manifest{ID: "20260131T020000Z-x7k2p9", Cluster: "c", Shards: []manifest.Shard{{
		Slots: owned, SlotIndex: file("slots.idx", index), Dump: manifest.Dump{File: file("dump.rdb", dumps[0])},
	}}}
	snapshot := &catalog.Snapshot{Manifest: m}
	store := &rereading{storagetest.NewMemory("m"), dumps}
	if _, err := store.Put(t.Context(), snapshot.Object("slots.idx"), bytes.NewReader(index)); err != nil {
		t.Fatal(err)
	}
	err = ReadKey(ctx, KeyOptions{
		Snapshot: snapshot.In(storage.Named{Name: "m", Store: store}), Key: []byte("k"),
		Warn: func(err error) { t.Error(err) },
		Show: func(k *Key) func(*rdb.Element) error {
			shown = append(shown, k.TypeName+" in "+k.Store)
			return func(e *rdb.Element) error {
				shown = append(shown, string(e.Text))
				return nil
			}
		},
	})
	return shown, err
}

// A value is shown of a dump that was proved sound, and called whole only if it
// was the same when it was shown.
func TestReadKey(t *testing.T) {
	const list = "\x01\x01k\x02\x01a\x01b" // the list "k" of "a" and "b"
	dump := sealed("\xfe\x00\x00\x01x\x01y" + list)
	for _, test := range []struct {
		name  string
		dumps [][]byte
		shown []string
		says  string // of the error; empty: none
	}{
		{"twice the same", [][]byte{dump, dump}, []string{"list in m", "a", "b"}, ""},
		{"another value", [][]byte{dump, sealed("\xfe\x00\x00\x01x\x01y\x01\x01k\x02\x01a\x01c")}, []string{"list in m", "a", "c"}, "again: what was read the second time"},
		{"another expiry", [][]byte{sealed("\xfe\x00\xfcttt\x00\x00\x00\x00\x00" + list), sealed("\xfe\x00\xfcuuu\x00\x00\x00\x00\x00" + list)}, []string{"list in m", "a", "b"}, "again: what was read the second time"},
		{"another type", [][]byte{dump, sealed("\xfe\x00\x00\x01x\x01y\x02\x01k\x02\x01a\x01b")}, nil, "again: what was read the second time"},
		{"another place", [][]byte{dump, sealed("\xfe\x00" + list + "\x00\x01x\x01y")}, nil, "again: what was read the second time"},
		{"cut", [][]byte{dump, dump[:len(dump)-11]}, []string{"list in m", "a"}, "again: read dump at byte 22: read dump.rdb: the stored object is damaged: it ends after 22 of 33 bytes"},
		{"gone", [][]byte{dump}, nil, "object not found"},
		{"damaged", [][]byte{append(slices.Clone(dump[:len(dump)-1]), 1)}, nil, "crc64 at byte"},
		{"bad value", [][]byte{sealed("\xfe\x00\x10\x01k\x01x")}, nil, "value at byte"},
		{"twice in the dump", [][]byte{sealed("\xfe\x00" + list + list)}, nil, `key "k" is there twice, at bytes 11 and 19`},
		{"not there", [][]byte{sealed("\xfe\x00\x00\x01x\x01y")}, nil, `key "k" is not in database 0 of snapshot 20260131T020000Z-x7k2p9: no such key in slot 7629 of shard 0-16383, whose dump was read whole`},
		{"in another database", [][]byte{sealed("\xfe\x05" + list)}, nil, "no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			shown, err := readKey(t, t.Context(), test.dumps...)
			if !slices.Equal(shown, test.shown) {
				t.Errorf("shown %q, want %q", shown, test.shown)
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
			if hints := hint.Of(err); test.name == "in another database" && !slices.Equal(hints, []string{"database 5 has a key of this name: --db 5"}) {
				t.Errorf("hints %q", hints)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if shown, err := readKey(t, ctx, dump, dump); !errors.Is(err, context.Canceled) || shown != nil {
		t.Errorf("cancelled: %q, %v", shown, err)
	}
}

// A slot that no shard has, because the cluster had a hole, is said to be that.
func TestReadKeyOfNoShard(t *testing.T) {
	err := ReadKey(t.Context(), KeyOptions{Snapshot: &catalog.Snapshot{Manifest: &manifest.Manifest{ID: "x"}}, Key: []byte("k")})
	if err == nil || !strings.Contains(err.Error(), `key "k" belongs in slot 7629, which no shard of snapshot x has`) {
		t.Error(err)
	}
}
