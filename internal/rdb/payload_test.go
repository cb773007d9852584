package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// The digest of a key is the same from its payload as from its dump, for every
// key of every fixture that a payload can carry; and a payload with a flipped
// bit, or without its end, is none.
func TestPayloadDigest(t *testing.T) {
	payloads, families := rdb.NewPayloads(), map[rdb.Family]int{}
	for _, file := range dumpFiles(t) {
		name := file.path
		eachPayload(t, file.data, func(rec rdb.Record, payload []byte) {
			got := rdb.Record{Key: rec.Key, DB: rec.DB, HasExpiry: rec.HasExpiry, ExpireAt: rec.ExpireAt}
			if err := payloads.Digest(&got, payload); err != nil || got.Digest != rec.Digest || got.Type != rec.Type || got.Family != rec.Family {
				t.Errorf("%s: key %q: %v; %s of type %d, in the dump %s of type %d", name, rec.Key, err, got.Digest, got.Type, rec.Digest, rec.Type)
			}
			if families[rec.Family]++; families[rec.Family] > 3 || len(payload) > 500 {
				return
			}
			for i := range payload {
				flipped := slices.Clone(payload)
				flipped[i] ^= 1 << (i % 8)
				if err := payloads.Digest(&got, flipped); err == nil && rec.Type == got.Type {
					t.Errorf("%s: key %q with byte %d flipped is sound", name, rec.Key, i)
				}
				if err := payloads.Digest(&got, payload[:i]); err == nil {
					t.Errorf("%s: key %q cut at byte %d is sound", name, rec.Key, i)
				}
			}
		})
	}
	if len(families) < 6 {
		t.Errorf("only %v were read", families)
	}
	// Without a checksum, as a server with rdbchecksum no gives it, the structure
	// is what is left to check.
	whole := rdb.DumpPayload(nil, 0, []byte("\x03abc"), 10)
	for damaged, sound := range map[string]bool{
		string(append(whole[:len(whole)-8:len(whole)-8], make([]byte, 8)...)): true,
		"\x00\x04abc\x0a\x00" + string(make([]byte, 8)):                       false,
		"\x00\x02abc\x0a\x00" + string(make([]byte, 8)):                       false,
		"\xc8\x03abc\x0a\x00" + string(make([]byte, 8)):                       false,
	} {
		err := payloads.Digest(&rdb.Record{Key: []byte("k")}, []byte(damaged))
		if (err == nil) != sound || err != nil && !errors.Is(err, rdb.ErrPayload) && damageOf(err) == nil {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}

// eachPayload gives each key of a dump that a payload can carry, with that. Only
// the values that are wanted are captured.
func eachPayload(t *testing.T, data []byte, do func(rec rdb.Record, payload []byte)) {
	t.Helper()
	var value bytes.Buffer
	r := rdb.NewReader(bytes.NewReader(data), rdb.Options{Capture: &value, Digest: true, Wanted: func(rec *rdb.Record) bool { return rec.Portable() }})
	for {
		value.Reset()
		rec, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case rec.Kind == rdb.KindKey && rec.Portable():
			do(*rec, rdb.DumpPayload(nil, rec.Type, value.Bytes(), r.Header().Version))
		case value.Len() > 0:
			t.Errorf("%q was captured, and not wanted", rec.Key)
		}
	}
}
