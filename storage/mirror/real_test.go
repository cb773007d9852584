package mirror_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// A folder as the primary, two S3 servers as mirrors, and one of them freezes
// while a dump is sent: the snapshot goes on, the frozen one gets no manifest,
// and says why.
func TestRegionGoesDark(t *testing.T) {
	// Enough for the one that lives, on a busy machine.
	const patience = 6 * time.Second
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	var mirrors []storage.Named
	for name, server := range map[string]*s3test.Server{"east": east, "west": west} {
		s, err := s3.Open(t.Context(), s3.Options{
			Bucket: server.Bucket(t, "backups"), Prefix: "prod", Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
			StallTimeout: patience, MaxBackoff: 10 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		mirrors = append(mirrors, storage.Named{Name: name, Store: s})
	}
	primary := fs.Open(t.TempDir())
	w := mirror.Set{Primary: storage.Named{Name: "primary", Store: primary}, Mirrors: mirrors, StallTimeout: patience}.Begin()
	want := storagetest.Bytes(80<<20, 1)
	frozen := false
	body := io.MultiReader(bytes.NewReader(want[:40<<20]), readerFunc(func([]byte) (int, error) {
		if !frozen {
			west.Pause(t)
			frozen = true
		}
		return 0, io.EOF
	}), bytes.NewReader(want[40<<20:]))
	if _, err := w.Put(t.Context(), "dump.rdb", body); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(t.Context(), "manifest.json", bytes.NewReader([]byte("{}"))); err != nil {
		t.Fatal(err)
	}
	west.Resume(t)
	for _, outcome := range w.Outcomes() {
		t.Logf("%s: %v", outcome.Name, outcome.Err)
		if (outcome.Err != nil) != (outcome.Name == "west") {
			t.Errorf("outcome of %s: %v", outcome.Name, outcome.Err)
		}
	}
	for _, m := range mirrors {
		names := storagetest.Names(t, m, "")
		if m.Name == "west" && len(names) > 0 || m.Name == "east" && len(names) != 2 {
			t.Errorf("%s holds %q", m.Name, names)
		}
		if m.Name == "east" && !bytes.Equal(storagetest.Read(t, m, "dump.rdb"), want) {
			t.Error("east holds other bytes")
		}
	}
	if !bytes.Equal(storagetest.Read(t, primary, "dump.rdb"), want) {
		t.Error("the primary holds other bytes")
	}
}
