package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
)

// Presence says whether one store has a snapshot.
type Presence struct {
	Store   string `json:"store"`
	Present bool   `json:"present"`
	Err     error  `json:"-"` // why the store could not be asked; nil where it answered
}

// Snapshot is one snapshot and where it is.
type Snapshot struct {
	Manifest *manifest.Manifest
	Presence []Presence // one for each store of the repository, the primary first
	stores   []storage.Named
	keys     *seal.Identities
	meter    *Meter // nil: nobody wants to know
}

// Stores returns the stores that have the snapshot, the primary first.
func (s *Snapshot) Stores() []storage.Named {
	var having []storage.Named
	for i, p := range s.Presence {
		if p.Present {
			having = append(having, s.stores[i])
		}
	}
	return having
}

// In returns the snapshot as one store alone has it: what is opened then comes
// from there and from nowhere else.
func (s *Snapshot) In(store storage.Named) *Snapshot {
	return &Snapshot{Manifest: s.Manifest, Presence: []Presence{{Store: store.Name, Present: true}}, stores: []storage.Named{store}, keys: s.keys, meter: s.meter}
}

// Object returns the full name of one of the snapshot's objects.
func (s *Snapshot) Object(relative string) string {
	return Folder(s.Manifest.Cluster, s.Manifest.ID) + relative
}

// Unlock gives the identities by which the snapshot is opened. It returns
// [seal.ErrNoIdentity] where the snapshot is encrypted and none of them opens it.
func (s *Snapshot) Unlock(keys *seal.Identities) error {
	s.keys = keys
	return s.Unlocked()
}

// Unlocked tells whether the snapshot's objects can be opened: nil, or
// [seal.ErrNoIdentity]. What is not encrypted always can.
func (s *Snapshot) Unlocked() error {
	if err := s.keys.Check(s.Manifest.Seal.Lock()); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.Manifest.ID, err)
	}
	return nil
}

// Unseal turns the stored bytes of one of the snapshot's objects into what it
// holds, as [seal.Unseal] does.
func (s *Snapshot) Unseal(stored io.Reader) (io.ReadCloser, error) {
	return seal.Unseal(stored, s.Manifest.Seal.Lock(), s.keys)
}

// OpenStored opens one of the snapshot's objects in the first store that can
// give it: the bytes that the store holds, sealed or not, and nothing checked.
func (s *Snapshot) OpenStored(ctx context.Context, relative string) (io.ReadCloser, error) {
	var failures []error
	for _, store := range s.Stores() {
		body, err := store.Open(ctx, s.Object(relative))
		if err == nil {
			return body, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failures) == 0 {
		failures = append(failures, fmt.Errorf("open %s: no store has it", s.Object(relative)))
	}
	return nil, errors.Join(failures...)
}

// errManifest marks what a manifest says as the fault, not how it was read.
var errManifest = errors.New("the manifest cannot be believed")

// loadManifest reads a manifest from one store, or from the cache where there
// is one, and checks that it is the one its name promises.
func loadManifest(ctx context.Context, store storage.Store, cluster string, id manifest.ID, cache *Cache) (*manifest.Manifest, error) {
	key := cache.key(store, ManifestName(cluster, id))
	if m, err := decodeManifest(cache.read(key), cluster, id); err == nil {
		return m, nil
	}
	m, text, err := readManifest(ctx, store, cluster, id)
	if err != nil {
		return nil, err
	}
	cache.write(key, text)
	return m, nil
}

// readManifest reads a manifest from one store, and gives its bytes, too.
func readManifest(ctx context.Context, store storage.Store, cluster string, id manifest.ID) (*manifest.Manifest, []byte, error) {
	name := ManifestName(cluster, id)
	body, err := store.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, manifest.MaxBytes+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, nil, fmt.Errorf("%s in %s: %w", name, store, err)
	}
	m, err := decodeManifest(text, cluster, id)
	if err != nil {
		return nil, nil, &manifestError{fmt.Errorf("%s in %s: %w", name, store, err)}
	}
	return m, text, nil
}

// manifestError is an error about what a manifest says.
type manifestError struct{ error }

func (e *manifestError) Unwrap() []error { return []error{e.error, errManifest} }

func decodeManifest(text []byte, cluster string, id manifest.ID) (*manifest.Manifest, error) {
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if m.ID != id || m.Cluster != cluster {
		return nil, fmt.Errorf("it is the manifest of %s of cluster %s", m.ID, m.Cluster)
	}
	return m, nil
}
