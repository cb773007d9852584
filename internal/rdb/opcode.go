package rdb

import (
	"math"

	"github.com/slotark/slotark/internal/slot"
)

const (
	maxDB            = math.MaxInt32 // the "databases" setting is an int
	maxAuxName       = 1 << 10
	maxKeyMetas      = 7       // KEY_META_MAX_NUM_MODULES, keymeta.h
	maxHashTemplates = 1 << 20 // bounds the registry's memory
	maxTaskName      = 1 << 10
)

// readAttribute reads an opcode that describes the key after it, each at most
// once. It reports false for any other opcode.
func (r *Reader) readAttribute(op byte, at int64) (bool, error) {
	rec := r.rec
	var twice bool
	var err error
	switch {
	case op == opExpireMS:
		var ms uint64
		twice = rec.HasExpiry
		ms, err = r.in.uint64()
		rec.ExpireAt, rec.HasExpiry = int64(ms), true
	case op == opExpire: // until RDB 2: seconds, signed
		var seconds uint32
		twice = rec.HasExpiry
		seconds, err = r.in.uint32()
		rec.ExpireAt, rec.HasExpiry = int64(int32(seconds))*1000, true
	case op == opIdle:
		var seconds uint64
		twice = rec.HasIdle
		seconds, err = r.in.number()
		rec.IdleSeconds, rec.HasIdle = int64(min(seconds, math.MaxInt64)), true
	case op == opFreq:
		twice = rec.HasFreq
		rec.Freq, err = r.in.byte()
		rec.HasFreq = true
	case op == opKeyMeta && !r.header.valkey():
		twice = rec.HasMeta
		rec.HasMeta = true
		err = r.skipKeyMeta()
	default:
		return false, nil
	}
	if err == nil && twice {
		err = damage(CodeOpcode, at, "opcode %d stands twice before one key", op)
	}
	return true, err
}

// readOpcode reads a record that is not a key.
func (r *Reader) readOpcode(op byte, at int64) error {
	switch op {
	case opEOF:
		if err := r.slots.close(at); err != nil {
			return err
		}
		return r.readFooter()
	case opSelectDB:
		return r.readSelectDB(at)
	case opResizeDB:
		return r.readCounts(KindResizeDB)
	case opSlotInfo:
		return r.readSlotInfo(at)
	case opAux:
		return r.readAux(at)
	case opFunction:
		return r.readFunction()
	case opModuleAux:
		return r.readModuleAux()
	case opKeyMeta: // of Redis it is an attribute
		return r.readSlotImport()
	case opHashTemplate:
		return r.readHashTemplate(at)
	}
	return r.unknownOpcode(op, at)
}

// readSelectDB begins a database's section. Slots are announced anew in each.
func (r *Reader) readSelectDB(at int64) error {
	if err := r.slots.close(at); err != nil {
		return err
	}
	db, err := r.in.number()
	if err != nil {
		return err
	}
	if db > maxDB {
		return damage(CodeDB, at, "there is no database %d", db)
	}
	r.db = int(db)
	r.slots.forget()
	r.rec.Kind, r.rec.DB = KindSelectDB, r.db
	return nil
}

// readCounts reads how many keys are to come, and how many of them expire. For
// a whole database it is a hint, with which the server sizes its tables, and
// not held against the keys.
func (r *Reader) readCounts(kind Kind) error {
	keys, err := r.in.number()
	if err != nil {
		return err
	}
	expiring, err := r.in.number()
	r.rec.Kind, r.rec.Keys, r.rec.Expiring = kind, keys, expiring
	return err
}

// readSlotInfo begins a slot's section. A server before 8.10.1 trusts the slot
// and writes outside its memory (CVE-2026-62356): such a dump must not get there.
func (r *Reader) readSlotInfo(at int64) error {
	number, err := r.in.number()
	if err != nil {
		return err
	}
	if number >= slot.Count {
		return damage(CodeSlotRange, at, "there is no slot %d", number)
	}
	if err := r.readCounts(KindSlotInfo); err != nil {
		return err
	}
	r.rec.Slot = int(number)
	return r.slots.open(r.rec, at)
}

// readAux reads a named fact. Valkey 8 announces its slots by one.
func (r *Reader) readAux(at int64) error {
	var err error
	if r.name, err = r.in.appendString(r.name[:0], maxAuxName); err != nil {
		return err
	}
	if r.value, err = r.in.appendString(r.value[:0], maxString); err != nil {
		return err
	}
	rec := r.rec
	rec.Kind, rec.Name, rec.Value = KindAux, r.name, r.value
	if string(r.name) != "slot-info" {
		return nil
	}
	if err := parseSlotInfo(rec, at); err != nil {
		return err
	}
	return r.slots.open(rec, at)
}

// readFunction reads a library's code.
func (r *Reader) readFunction() error {
	var err error
	r.value, err = r.in.appendString(r.value[:0], maxString)
	r.rec.Kind, r.rec.Value = KindFunction, r.value
	return err
}

// readSlotImport reads Valkey's note of an atomic slot migration under way.
func (r *Reader) readSlotImport() error {
	rec := r.rec
	var err error
	if r.name, err = r.in.appendString(r.name[:0], maxTaskName); err != nil {
		return err
	}
	rec.Kind, rec.Name, rec.Slots = KindSlotImport, r.name, new(slot.Set)
	ranges, err := r.in.count(2)
	if err != nil {
		return err
	}
	for range ranges {
		at := r.in.offset()
		first, err := r.in.number()
		if err != nil {
			return err
		}
		last, err := r.in.number()
		if err != nil {
			return err
		}
		if last >= slot.Count || first > last {
			return damage(CodeSlotRange, at, "%d-%d is no range of slots", first, last)
		}
		rec.Slots.AddRange(slot.Range{First: int(first), Last: int(last)})
	}
	return nil
}

// readHashTemplate reads the field names that later hashes refer to by id. The
// number of fields is all that says how many values such a hash has.
func (r *Reader) readHashTemplate(at int64) error {
	id, err := r.in.number()
	if err != nil {
		return err
	}
	fields, err := r.in.count(1)
	if err != nil {
		return err
	}
	if _, twice := r.templates[id]; twice || fields == 0 {
		return damage(CodeValue, at, "hash template %d with %d fields: its id must be new and its fields at least one", id, fields)
	}
	if len(r.templates) == maxHashTemplates {
		return damage(CodeLength, at, "more than %d hash templates", maxHashTemplates)
	}
	if r.digester != nil {
		err = r.digester.template(id, fields)
	} else {
		err = r.in.skipStrings(fields, 0)
	}
	if err != nil {
		return err
	}
	if r.templates == nil {
		r.templates = map[uint64]uint64{}
	}
	r.templates[id] = fields
	r.rec.Kind, r.rec.Keys = KindHashTemplate, fields
	return nil
}
