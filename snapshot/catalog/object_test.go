package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
)

// sealedObject is one object in a folder, and the snapshot that it is of.
type sealedObject struct {
	*catalog.Snapshot
	file manifest.File
	path string
}

func newSealedObject(t *testing.T, compression string, encrypted bool, plain []byte) sealedObject {
	t.Helper()
	key := sealtest.NewKey(t)
	o := seal.Options{Compression: compression}
	if encrypted {
		o.Recipients = []seal.Recipient{key.Recipient}
	}
	sealer, err := seal.New(o)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	store := storage.Named{Name: "eu", Store: fs.Open(root)}
	id := manifest.NewID(time.Unix(1767225600, 0))
	body := sealer.Seal(bytes.NewReader(plain))
	name := catalog.Folder("prod", id) + "x"
	if _, err := store.Put(t.Context(), name, body); err != nil {
		t.Fatal(err)
	}
	body.Close()
	s := &catalog.Snapshot{Manifest: &manifest.Manifest{Cluster: "prod", ID: id, Seal: manifest.SealOf(sealer.Lock())}}
	if err := s.Unlock(key.Identities); err != nil {
		t.Fatal(err)
	}
	return sealedObject{s.In(store), manifest.NewFile("x", sealer.Lock(), body.Stored(), body.Plain()), filepath.Join(root, filepath.FromSlash(name))}
}

// TestOpenFindsEveryFlippedByte flips each byte of a stored object in turn, and
// what the manifest says of it: it is found, however the object is sealed, by
// who opens it and by who would encrypt it again.
func TestOpenFindsEveryFlippedByte(t *testing.T) {
	plain := bytes.Repeat([]byte("what a dump may hold "), 40)
	for name, way := range map[string]struct {
		compression string
		encrypted   bool
	}{"as it is": {seal.None, false}, "compressed": {seal.Zstd, false}, "encrypted": {seal.None, true}, "both": {seal.Zstd, true}} {
		t.Run(name, func(t *testing.T) {
			o := newSealedObject(t, way.compression, way.encrypted, plain)
			ways := map[string]func(context.Context, manifest.File) (io.ReadCloser, error){"Open": o.Open, "OpenPacked": o.OpenPacked}
			if got, err := content(t, o.Open, o.file); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("it holds %q, %v", got, err)
			}
			if _, err := content(t, o.OpenPacked, o.file); err != nil {
				t.Fatal(err)
			}
			stored, err := os.ReadFile(o.path)
			if err != nil {
				t.Fatal(err)
			}
			for at := range stored {
				stored[at] ^= 0x10
				replace(t, o.path, stored)
				stored[at] ^= 0x10
				for verb, open := range ways {
					if _, err := content(t, open, o.file); !errors.Is(err, catalog.ErrDamaged) {
						t.Fatalf("%s with byte %d flipped: %v", verb, at, err)
					}
				}
			}
			replace(t, o.path, stored)
			for verb, open := range ways {
				for _, lie := range []manifest.Plain{{Bytes: int64(len(plain)) - 1, SHA256: o.file.Plain.SHA256}, {Bytes: int64(len(plain)) + 1, SHA256: o.file.Plain.SHA256}, {Bytes: int64(len(plain)), SHA256: o.file.SHA256}} {
					file := o.file
					file.Plain = lie
					if _, err := content(t, open, file); o.Manifest.Seal.Lock().Sealed() && !errors.Is(err, catalog.ErrDamaged) {
						t.Errorf("%s with a manifest that says %+v of it: %v", verb, lie, err)
					}
				}
			}
		})
	}
}

func content(t *testing.T, open func(context.Context, manifest.File) (io.ReadCloser, error), file manifest.File) ([]byte, error) {
	t.Helper()
	body, err := open(t.Context(), file)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(body)
	return got, errors.Join(err, body.Close())
}

func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Without the identity nothing is read of the store.
func TestOpenLocked(t *testing.T) {
	o := newSealedObject(t, seal.Zstd, true, []byte("x"))
	if err := o.Unlock(nil); !errors.Is(err, seal.ErrNoIdentity) {
		t.Errorf("Unlock: %v", err)
	}
	if err := os.Remove(o.path); err != nil {
		t.Fatal(err)
	}
	for verb, open := range map[string]func(context.Context, manifest.File) (io.ReadCloser, error){"Open": o.Open, "OpenPacked": o.OpenPacked} {
		if _, err := open(t.Context(), o.file); !errors.Is(err, seal.ErrNoIdentity) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}
