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

// InspectOptions say what a dump is held against. A dump of 768 MB and two
// million mixed keys takes half a second of one processor without Deep and
// Digest; with them, shared between two workers, a quarter of what redis-check-rdb
// takes of one. Each worker takes a megabyte, and up to 2 MiB for a value of
// 200,000 members.
type InspectOptions struct {
	Size       int64                          // bytes the source will give; <= 0: unknown
	Owned      *slot.Set                      // the shard's slots; nil: keys of any slot are fine
	Digest     bool                           // digest every value
	Deep       bool                           // check the structure of every value, as the server's sanitize-dump-payload does; Digest implies it
	Workers    int                            // goroutines for Deep and Digest beside the caller's, 4 at most; 0: by GOMAXPROCS; 1: none
	Duplicates bool                           // find names that come twice; takes up to 20 MiB
	OnProgress func(bytes int64, keys uint64) // nil: none
}

// SlotCount is how many keys of a slot a dump holds, in all databases.
type SlotCount struct{ Keys, Expiring uint32 }

// Report is what a dump holds.
type Report struct {
	Header
	Bytes          int64             // consumed
	Aux            map[string]string // the dump's named facts
	Created        time.Time         // AUX ctime: whole seconds of the server's clock; zero: not said
	UsedMemory     int64             // AUX used-mem, bytes
	ReplID         string            // AUX repl-id
	ReplOffset     int64             // AUX repl-offset
	Keys, Expiring uint64
	MaxDB          int               // the highest database that holds a key
	Databases      []DBSize          // that hold a key, the first 256
	Types          map[string]uint64 // keys by [Family]
	Biggest        []KeySize         // the ten that take most of the dump, the largest first
	Functions      []string          // SHA-256 of each library's code, hex
	Modules        []string          // whose values or data the dump holds, sorted
	Slots          [slot.Count]SlotCount
	SlotsAnnounced bool     // slot by slot, as a cluster node does since Redis 7.4 and Valkey 8
	Digest         Digest   // of all keys, where asked for
	SlotDigests    []Digest // by slot, where asked for; else nil
	Imports        slot.Set // slots whose migration to this node was under way (Valkey 9)
	// SlotRanges, by slot, is where the keys of each lie in the dump, where they
	// lie together. It is nil if the dump could not be read to its end.
	SlotRanges []SlotRange
	// DuplicatesUnchecked tells that not all names could be held against each
	// other: there were more than 2.1 million in a dump that is not ordered by
	// slot, or in one slot; or,
	// with Deep, more than 200,000 members in one value.
	DuplicatesUnchecked bool
	Notes               []Note // oddities that no server minds

	CRC64            uint64
	ChecksumDisabled bool
}

// Inspect reads a whole dump and checks all that a [Reader] checks, and that
// every key belongs to a slot its shard owns. The report is filled as far as
// the dump was read, also when the error is not nil; errors.As finds a *Damage
// in it when it is the dump that is wrong.
func Inspect(ctx context.Context, src io.Reader, o InspectOptions) (*Report, error) {
	return inspect(ctx, src, o, chunkLimits{chunkBytes, chunkRecords})
}

func inspect(ctx context.Context, src io.Reader, o InspectOptions, limits chunkLimits) (*Report, error) {
	i := &inspection{
		options: o,
		report:  &Report{Aux: map[string]string{}, Types: map[string]uint64{}},
		ranges:  newRangeTracker(),
	}
	if o.Duplicates {
		i.duplicates = newDuplicateCheck()
	}
	r, closeSource := newSource(&watchedReader{ctx, src, i}, o, limits)
	defer closeSource()
	err := i.run(r)
	if err == nil {
		i.report.SlotRanges = i.ranges.finish()
	}
	i.finish(r)
	if err != nil {
		return i.report, fmt.Errorf("inspect dump: %w", err)
	}
	return i.report, nil
}

type inspection struct {
	options    InspectOptions
	report     *Report
	families   [familyCount]uint64
	slots      slotSums
	sizes      keySizes
	db         int
	announced  announcement
	ranges     rangeTracker
	duplicates *duplicateCheck // nil: not asked for
	read       int64           // bytes, ahead of what is judged by at most a buffer
	told       int64           // what OnProgress was last called with
}

// newSource shares the work where there is much of it and more than one to do it.
func newSource(src io.Reader, o InspectOptions, limits chunkLimits) (r recordSource, close func()) {
	options := Options{Size: o.Size, Deep: o.Deep, Digest: o.Digest}
	if workers := workersFor(o.Workers); workers > 1 && (o.Deep || o.Digest) {
		p := newPipeline(src, options, limits)
		p.start(workers)
		return p, p.close
	}
	return NewReader(src, options), func() {}
}

func (i *inspection) run(r recordSource) error {
	for {
		rec, err := r.Next()
		if err == nil && rec.Kind == KindKey {
			i.ranges.add(rec.Slot, rec.Offset, r.Offset())
			err = i.addKey(rec)
		} else if err == nil {
			i.addFact(rec, r)
		}
		if err == nil {
			continue
		}
		// Names are looked up in batches: one that stands before what ended the
		// reading is found first.
		if i.duplicates != nil {
			if twice := i.duplicates.flush(); twice != nil {
				return twice
			}
		}
		if err == io.EOF {
			i.judgeAnnouncement()
			return nil
		}
		return err
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
	report.Keys++
	if rec.HasExpiry {
		report.Expiring++
	}
	i.slots.add(rec)
	report.MaxDB = max(report.MaxDB, rec.DB)
	i.families[rec.Family]++
	i.sizes.add(rec)
	if rec.Family == Module {
		i.addModule(rec.Name)
	}
	if i.duplicates != nil {
		return i.duplicates.add(rec)
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
func (i *inspection) addFact(rec *Record, r recordSource) {
	report := i.report
	i.ranges.interrupt()
	switch rec.Kind {
	case KindSelectDB:
		i.judgeAnnouncement()
		i.db = rec.DB
	case KindResizeDB:
		a := &i.announced
		a.made, a.offset, a.keys, a.expiring = true, rec.Offset, rec.Keys, rec.Expiring
		if i.duplicates != nil && i.options.Size > 0 {
			i.duplicates.announce(rec.Keys, uint64(max(i.options.Size-r.Offset(), 0)))
		}
	case KindSlotInfo:
		report.SlotsAnnounced = true
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
func (i *inspection) finish(r recordSource) {
	report := i.report
	report.Header = r.Header()
	report.Bytes = r.Offset()
	report.CRC64, report.ChecksumDisabled = r.CRC64(), r.ChecksumDisabled()
	for family, keys := range i.families {
		if keys > 0 {
			report.Types[Family(family).String()] = keys
		}
	}
	if i.options.Digest {
		report.SlotDigests = make([]Digest, slot.Count)
	}
	for n, sum := range i.slots.all() {
		report.Slots[n] = sum.count
		if i.options.Digest {
			report.SlotDigests[n] = sum.digest
			report.Digest = report.Digest.Add(sum.digest)
		}
	}
	i.sizes.report(report)
	slices.Sort(report.Modules)
	report.DuplicatesUnchecked = i.duplicates != nil && i.duplicates.unchecked || r.membersUnchecked()
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
