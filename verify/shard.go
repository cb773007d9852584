package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
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
	task := progress.Event{Task: c.store.Name + " shard " + c.shard.Slots.String(), Phase: string(c.Level), Total: c.shard.Dump.Bytes}
	c.Progress.Emit(task)
	for _, file := range []manifest.File{c.shard.Dump.File, c.shard.SlotIndex} {
		c.exists(ctx, file)
	}
	if len(c.result.Findings) == 0 && c.Level != Exists {
		index := c.index(ctx)
		report := c.dump(ctx, task)
		if report != nil && index != nil {
			c.agree(report, index)
		}
		c.keep(report)
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

// reportDamage reports why a dump could not be inspected to its end.
func (c *shardCheck) reportDamage(file manifest.File, err error) {
	var damage *rdb.Damage
	if !errors.As(err, &damage) {
		c.report("unreadable", file, "%s", err)
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

// index reads the slot index; nil where it is not what the manifest says.
func (c *shardCheck) index(ctx context.Context) *manifest.SlotIndex {
	file := c.shard.SlotIndex
	body, err := c.snapshot.Open(ctx, file.Object)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(body, file.Bytes+1))
		err = errors.Join(err, body.Close())
	}
	if err != nil {
		c.report("unreadable", file, "%s", err)
		return nil
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != file.SHA256 {
		c.report("checksum", file, "its bytes give SHA-256 %x, the manifest says %s", sum, file.SHA256)
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

// dump reads the dump once: its SHA-256, and from level parse on its inspection.
// It returns the inspection's report where there is a sound one.
func (c *shardCheck) dump(ctx context.Context, task progress.Event) *rdb.Report {
	file := c.shard.Dump.File
	body, err := c.snapshot.Open(ctx, file.Object)
	if err != nil {
		c.report("unreadable", file, "%s", err)
		return nil
	}
	sum := sha256.New()
	source := io.TeeReader(body, sum)
	report, damage := c.inspect(ctx, source, task)
	if damage == nil || errors.As(damage, new(*rdb.Damage)) {
		// What the inspection left unread still counts for the checksum.
		_, err = io.Copy(io.Discard, source)
	}
	if err := errors.Join(err, body.Close()); err != nil {
		c.report("unreadable", file, "%s", err)
		return nil
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != file.SHA256 {
		c.report("checksum", file, "its bytes give SHA-256 %s, the manifest says %s", got, file.SHA256)
	}
	if damage != nil {
		c.reportDamage(file, damage)
		return nil
	}
	return report
}

func (c *shardCheck) inspect(ctx context.Context, source io.Reader, task progress.Event) (*rdb.Report, error) {
	if !c.Level.Inspects() {
		return nil, nil
	}
	options := c.Level.options(c.shard.Dump.Bytes)
	options.Owned = &c.shard.Slots
	options.OnProgress = func(done int64, keys uint64) {
		task := task
		task.Done, task.Keys = done, keys
		c.Progress.Emit(task)
	}
	return rdb.Inspect(ctx, source, options)
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
