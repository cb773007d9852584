package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/storage"
)

// Cache keeps manifests and records in a local folder, so that listing a bucket
// reads only those that are new. Neither ever changes, and no name is ever used
// again, so what is in the cache is true for ever; whether a snapshot or record is
// still there, and which record is the newest, the stores say. Only List reads it:
// who verifies, restores or prunes reads what is stored. A nil Cache keeps nothing.
//
// An entry is the SHA-256 of what was read in hex, a line end, and what was read.
// One that does not fit its sum counts as not there.
type Cache struct {
	dir      string
	maxBytes int64
}

const (
	// DefaultCacheBytes holds tens of thousands of usual manifests.
	DefaultCacheBytes = 256 << 20
	sumBytes          = 2*sha256.Size + 1
)

// OpenCache returns the cache in a folder, which is made when it is needed.
func OpenCache(dir string, maxBytes int64) *Cache { return &Cache{dir, maxBytes} }

// UseCache lets List keep manifests and records in a cache.
func (r *Repository) UseCache(c *Cache) { r.cache = c }

// key names the entry of one store's object. A store that is a folder needs no
// cache: its own files are as near.
func (c *Cache) key(store storage.Store, name string) string {
	if c == nil || strings.HasPrefix(store.String(), "file:") {
		return ""
	}
	sum := sha256.Sum256([]byte(store.String() + "\n" + name))
	return hex.EncodeToString(sum[:])
}

// read returns an entry, or nothing.
func (c *Cache) read(key string) []byte {
	if key == "" {
		return nil
	}
	entry, err := os.ReadFile(c.path(key))
	if err != nil || len(entry) < sumBytes {
		return nil
	}
	text := entry[sumBytes:]
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:])+"\n" != string(entry[:sumBytes]) {
		_ = os.Remove(c.path(key)) // so that the next write can put it right
		return nil
	}
	return text
}

// write stores an entry. That it cannot costs time, nothing else.
func (c *Cache) write(key string, text []byte) {
	if key == "" || os.MkdirAll(filepath.Dir(c.path(key)), 0o700) != nil {
		return
	}
	sum := sha256.Sum256(text)
	entry := append([]byte(hex.EncodeToString(sum[:])+"\n"), text...)
	// private: half an entry does not fit its sum, and the store has it whole.
	_ = os.WriteFile(c.path(key), entry, 0o600)
}

func (c *Cache) path(key string) string { return filepath.Join(c.dir, key[:2], key[2:]) }

// Trim deletes the oldest entries until the cache is within its bound.
func (c *Cache) Trim() error {
	if c == nil {
		return nil
	}
	type file struct {
		path     string
		bytes    int64
		modified time.Time
	}
	var files []file
	var total int64
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // deleted meanwhile
		}
		files = append(files, file{path, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return a.modified.Compare(b.modified) })
	for _, f := range files {
		if total <= c.maxBytes {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.bytes
	}
	return nil
}
