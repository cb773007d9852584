package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
)

// shardCheck verifies one shard's objects in one store.
type shardCheck struct {
	Options
	snapshot *catalog.Snapshot
	store    storage.Named
	shard    manifest.Shard
	result   *ShardResult
}

// run fills in the result; its error is only ever a cancelled context.
func (c *shardCheck) run(ctx context.Context) error {
	*c.result = ShardResult{Store: c.store.Name, Shard: c.shard}
	task := progress.Event{Task: c.store.Name + " shard " + c.shard.Slots.String(), Phase: string(c.Level), Total: c.shard.Dump.Content().Bytes}
	c.Progress.Emit(task)
	for _, file := range c.shard.Files() {
		c.exists(ctx, file)
	}
	if len(c.result.Findings) == 0 && c.Level != Exists {
		index := c.index(ctx)
		report := c.dump(ctx, task)
		if report != nil && index != nil {
			c.agree(report, index)
		}
		c.keep(report)
		c.set(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	task.Done, task.Keys, task.Ended = task.Total, c.shard.Dump.Keys, true
	c.Progress.Emit(task)
	return nil
}

func (c *shardCheck) report(code string, file manifest.File, format string, args ...any) {
	c.result.Findings = append(c.result.Findings, finding(code, c.store.Name+": "+file.Object, format, args...))
}

// reportDamage reports why an object could not be looked at to its end.
func (c *shardCheck) reportDamage(file manifest.File, err error) {
	var damage *rdb.Damage
	if !errors.As(err, &damage) {
		c.report(damageCode(err), file, "%s", err)
		return
	}
	c.report(damage.Code, file, "%s", damage.Detail)
	c.result.Findings[len(c.result.Findings)-1].Offset = &damage.Offset
}

// keep keeps what is said of a sound dump, and not its tables of slots.
func (c *shardCheck) keep(report *rdb.Report) {
	if report == nil {
		return
	}
	r := c.result
	r.Digest, r.Unverifiable, r.DuplicatesUnchecked, r.Notes = report.Digest, report.ChecksumDisabled, report.DuplicatesUnchecked, report.Notes
}

func (c *shardCheck) exists(ctx context.Context, file manifest.File) {
	object, err := c.store.Stat(ctx, c.snapshot.Object(file.Object))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		c.report("missing", file, "the object is gone")
	case err != nil:
		c.report("unreadable", file, "%s", err)
	case object.Bytes != file.Bytes:
		c.report("size", file, "is %d bytes, the manifest says %d", object.Bytes, file.Bytes)
	}
}

// index reads the slot index. It returns what it holds from level parse on, and
// nil where it is not what the manifest says.
func (c *shardCheck) index(ctx context.Context) *manifest.SlotIndex {
	file := c.shard.SlotIndex
	var text []byte
	whole := c.object(ctx, file, func(plain io.Reader) (err error) {
		text, err = io.ReadAll(plain)
		return err
	})
	if !whole || !c.Level.Inspects() {
		return nil
	}
	index, err := manifest.DecodeSlotIndex(bytes.NewReader(text))
	if err != nil {
		c.report("slot-index", file, "%s", err)
		return nil
	}
	if index.Owned != c.shard.Slots {
		c.report("slot-index", file, "is of slots %s, the manifest says %s", index.Owned, c.shard.Slots)
		return nil
	}
	return index
}

// dump reads the dump. It returns what inspecting it found, where it is
// inspected and sound.
func (c *shardCheck) dump(ctx context.Context, task progress.Event) *rdb.Report {
	var report *rdb.Report
	whole := c.object(ctx, c.shard.Dump.File, func(plain io.Reader) (err error) {
		options := c.Level.options(c.shard.Dump.Content().Bytes)
		options.Owned = &c.shard.Slots
		options.OnProgress = func(done int64, keys uint64) {
			task := task
			task.Done, task.Keys = done, keys
			c.Progress.Emit(task)
		}
		report, err = rdb.Inspect(ctx, plain, options)
		return err
	})
	if !whole {
		return nil
	}
	return report
}

// object reads one object once: its stored bytes, whose SHA-256 is checked at
// every level, and what they hold, which is looked at from level parse on. It
// tells whether nothing was found wrong.
func (c *shardCheck) object(ctx context.Context, file manifest.File, look func(plain io.Reader) error) bool {
	body, err := c.snapshot.OpenStored(ctx, file.Object)
	if err != nil {
		c.report("unreadable", file, "%s", err)
		return false
	}
	before := len(c.result.Findings)
	sum := seal.NewSummer()
	stored := io.TeeReader(body, sum)
	var damage error
	if c.Level.Inspects() {
		damage = c.content(stored, file, look)
	}
	if damage == nil || damageCode(damage) != "unreadable" {
		// What was left unread still counts for the checksum.
		_, err = io.Copy(io.Discard, stored)
	}
	got := sum.Sum().SHA256
	if err := errors.Join(err, body.Close()); err != nil {
		c.report("unreadable", file, "%s", err)
		return false
	}
	if got != file.SHA256 && (damage == nil || damageCode(damage) != "unreadable") {
		c.report("checksum", file, "its bytes give SHA-256 %s, the manifest says %s", got, file.SHA256)
	}
	if damage != nil {
		c.reportDamage(file, damage)
	}
	return len(c.result.Findings) == before
}

// errContent is what an object holds that opens, and is not what was sealed.
var errContent = errors.New("what it holds is not what the manifest says")

// content looks at what the stored bytes hold.
func (c *shardCheck) content(stored io.Reader, file manifest.File, look func(plain io.Reader) error) error {
	plain, err := c.snapshot.Unseal(stored)
	if err != nil {
		return err
	}
	sum := seal.NewSummer()
	// A byte more than there should be is enough to know that it is too long, and
	// a few stored bytes may hold any number of them.
	source := io.TeeReader(io.LimitReader(plain, file.Content().Bytes+1), sum)
	if err = look(source); err == nil {
		_, err = io.Copy(io.Discard, source)
	}
	got := sum.Sum()
	if err == nil && manifest.Plain(got) != file.Content() && c.snapshot.Manifest.Seal.Lock().Sealed() {
		err = fmt.Errorf("%w: %d bytes with SHA-256 %s", errContent, got.Bytes, got.SHA256)
	}
	return errors.Join(err, plain.Close())
}

// damageCode is the code of the finding for what looking at an object ended in.
func damageCode(err error) string {
	var damage *rdb.Damage
	switch {
	case errors.As(err, &damage):
		return damage.Code
	case errors.Is(err, seal.ErrDamaged):
		return "seal"
	case errors.Is(err, errContent):
		return "content"
	}
	return "unreadable"
}

// agree compares a sound dump with what the manifest and the index say of it.
func (c *shardCheck) agree(report *rdb.Report, index *manifest.SlotIndex) {
	dump := c.shard.Dump
	if crc := fmt.Sprintf("%016x", report.CRC64); crc != dump.CRC64 {
		c.report("crc64", dump.File, "its CRC64 is %s, the manifest says %s", crc, dump.CRC64)
	}
	if report.Keys != dump.Keys || report.Expiring != dump.Expiring {
		c.report("keys", dump.File, "holds %d keys, %d of them expiring; the manifest says %d and %d",
			report.Keys, report.Expiring, dump.Keys, dump.Expiring)
	}
	for _, d := range compareIndex(c.shard.Slots, report, index) {
		c.report(d.code, dump.File, "%s", d.detail)
	}
}
