package snapshot

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// The names of a shard's objects in its folder, less what the seal adds to them.
func dumpObject(folder string) string  { return folder + "dump.rdb" }
func indexObject(folder string) string { return folder + "slots.idx" }

// settingsObject is the name of the settings, less what the seal adds.
const settingsObject = "settings.json"

// folder is where an attempt at a shard puts its objects, in the snapshot's own.
// No two attempts share one: whoever makes the first may be out of reach, still
// put what it has, or remove it, when another is well into the second.
func (j Job) folder() string {
	if j.Attempt <= 1 {
		return shardFolder(j.Shard.Slots)
	}
	return fmt.Sprintf("%s-%d/", strings.TrimSuffix(shardFolder(j.Shard.Slots), "/"), j.Attempt)
}

// shardFolder is where a shard's objects are.
func shardFolder(slots slot.Set) string { return fmt.Sprintf("shard-%d/", slots.Ranges()[0].First) }

// putSealed seals one object and puts it into the stores, in one pass: no store
// sees its end before the sealer has ended, and the sealer ends only where the
// plain bytes gave io.EOF. It returns what the manifest is to say of it.
func putSealed(ctx context.Context, w *catalog.Writer, folder, name string, sealer *seal.Sealer, plain io.Reader) (manifest.File, error) {
	lock := sealer.Lock()
	name += lock.Suffix()
	body := sealer.Seal(plain)
	object, err := w.Put(ctx, folder+name, body)
	body.Close() // it gives no error: it only waits until nobody reads plain
	if err != nil {
		return manifest.File{}, err
	}
	stored := body.Stored()
	if object.Bytes != stored.Bytes {
		return manifest.File{}, fmt.Errorf("put %s: the store has %d bytes, %d were sealed", name, object.Bytes, stored.Bytes)
	}
	return manifest.NewFile(name, lock, stored, body.Plain()), nil
}
