package snapshot

import (
	"context"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// The names of a shard's objects in the snapshot's folder, less what the seal
// adds to them.
func dumpObject(slots slot.Set) string  { return shardFolder(slots) + "dump.rdb" }
func indexObject(slots slot.Set) string { return shardFolder(slots) + "slots.idx" }

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
