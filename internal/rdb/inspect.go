package rdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/slot"
)

const (
	progressStep = 4 << 20 // bytes between two calls of OnProgress
	// A dump has a dozen facts; what is kept of a hostile one is bounded.
	maxAuxKept      = 256
	maxAuxValueKept = 4 << 10
)

// InspectOptions say what a dump is held against.
type InspectOptions struct {
	Size       int64                          // bytes the source will give; <= 0: unknown
	Owned      *slot.Set                      // the shard's slots; nil: keys of any slot are fine
	Digest     bool                           // digest every value: two to fifteen times the time
	OnProgress func(bytes int64, keys uint64) // nil: none
}

// SlotCount is how many keys of a slot a dump holds, in all databases.
type SlotCount struct{ Keys, Expiring uint32 }

// Report is what a dump holds.
type Report struct {
	Header
	Bytes            int64             // consumed
	Aux              map[string]string // the dump's named facts
	Created          time.Time         // AUX ctime: whole seconds of the server's clock; zero: not said
	UsedMemory       int64             // AUX used-mem, bytes
	ReplID           string            // AUX repl-id
	ReplOffset       int64             // AUX repl-offset
	Keys, Expiring   uint64
	MaxDB            int               // the highest database that holds a key
	Types            map[string]uint64 // keys by [Family]
	Functions        []string          // SHA-256 of each library's code, hex
	Modules          []string          // whose values or data the dump holds, sorted
	Slots            [slot.Count]SlotCount
	Digest           Digest   // of all keys, where asked for
	SlotDigests      []Digest // by slot, where asked for; else nil
	Imports          slot.Set // slots whose migration to this node was under way (Valkey 9)
	CRC64            uint64
	ChecksumDisabled bool
}

// Inspect reads a whole dump and checks all that a [Reader] checks, and that
// every key belongs to a slot its shard owns. The report is filled as far as
// the dump was read, also when the error is not nil; errors.As finds a *Damage
// in it when it is the dump that is wrong.
func Inspect(ctx context.Context, src io.Reader, o InspectOptions) (*Report, error) {
	i := &inspection{
		options: o,
		report:  &Report{Aux: map[string]string{}, Types: map[string]uint64{}},
	}
	r := NewReader(&watchedReader{ctx, src, i}, Options{Size: o.Size, Digest: o.Digest})
	if o.Digest {
		i.report.SlotDigests = make([]Digest, slot.Count)
	}
	err := i.run(r)
	i.finish(r)
	if err != nil {
		return i.report, fmt.Errorf("inspect dump: %w", err)
	}
	return i.report, nil
}

type inspection struct {
	options  InspectOptions
	report   *Report
	families [familyCount]uint64
	read     int64 // bytes, ahead of what is judged by at most a buffer
	told     int64 // what OnProgress was last called with
}

func (i *inspection) run(r *Reader) error {
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Kind == KindKey {
			err = i.addKey(rec)
		} else {
			i.addFact(rec)
		}
		if err != nil {
			return err
		}
	}
}

func (i *inspection) tell(at int64) {
	if i.told == at && at > 0 {
		return
	}
	i.told = at
	if i.options.OnProgress != nil {
		i.options.OnProgress(at, i.report.Keys)
	}
}

// addKey holds a key against the shard's slots and counts it.
func (i *inspection) addKey(rec *Record) error {
	if owned := i.options.Owned; owned != nil && !owned.Contains(rec.Slot) {
		return damage(CodeSlotOwner, rec.Offset, "key %s belongs to slot %d, which its shard does not own", quoteKey(rec.Key), rec.Slot)
	}
	report := i.report
	count := &report.Slots[rec.Slot]
	count.Keys++
	report.Keys++
	if rec.HasExpiry {
		count.Expiring++
		report.Expiring++
	}
	if i.options.Digest {
		report.Digest = report.Digest.Add(rec.Digest)
		report.SlotDigests[rec.Slot] = report.SlotDigests[rec.Slot].Add(rec.Digest)
	}
	report.MaxDB = max(report.MaxDB, rec.DB)
	i.families[rec.Family]++
	if rec.Family == Module {
		i.addModule(rec.Name)
	}
	return nil
}

// addModule keeps a module's name, once.
func (i *inspection) addModule(name []byte) {
	if len(i.report.Modules) < maxAuxKept && !slices.Contains(i.report.Modules, string(name)) {
		i.report.Modules = append(i.report.Modules, string(name))
	}
}

// addFact keeps what a record other than a key says.
func (i *inspection) addFact(rec *Record) {
	report := i.report
	switch rec.Kind {
	case KindFunction:
		sum := sha256.Sum256(rec.Value)
		report.Functions = append(report.Functions, hex.EncodeToString(sum[:]))
	case KindModuleAux:
		i.addModule(rec.Name)
	case KindSlotImport:
		report.Imports = report.Imports.Union(*rec.Slots)
	case KindAux:
		if len(report.Aux) < maxAuxKept && len(rec.Value) <= maxAuxValueKept {
			report.Aux[string(rec.Name)] = string(rec.Value)
		}
	}
}

// finish fills in what is known only at the end.
func (i *inspection) finish(r *Reader) {
	report := i.report
	report.Header = r.Header()
	report.Bytes = r.Offset()
	report.CRC64, report.ChecksumDisabled = r.CRC64(), r.ChecksumDisabled()
	for family, keys := range i.families {
		if keys > 0 {
			report.Types[Family(family).String()] = keys
		}
	}
	slices.Sort(report.Modules)
	report.UsedMemory = auxInt(report.Aux, "used-mem")
	report.ReplID = report.Aux["repl-id"]
	report.ReplOffset = auxInt(report.Aux, "repl-offset")
	if seconds := auxInt(report.Aux, "ctime"); seconds > 0 {
		report.Created = time.Unix(seconds, 0).UTC()
	}
	i.tell(report.Bytes)
}

func auxInt(aux map[string]string, name string) int64 {
	n, err := strconv.ParseInt(aux[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// watchedReader makes a read fail once the context is done, and tells how far
// it is: within a value of many gigabytes too, where no record ends.
type watchedReader struct {
	ctx context.Context
	src io.Reader
	*inspection
}

func (w *watchedReader) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.src.Read(p)
	if w.read += int64(n); w.read-w.told >= progressStep {
		w.tell(w.read)
	}
	return n, err
}
