package rdb

import (
	"encoding/binary"
	"strconv"
)

// Flags of a stream's entry: t_stream.c.
const (
	entryDeleted    = 1
	entrySameFields = 2
)

// stream consumes a stream. Every part has an identity of its own (an entry
// its id, a pending entry its group and id), so order adds nothing.
func (d *digester) stream(typ byte, items *bag) error {
	entries := uint64(0)
	err := d.repeat(2, func() error { return d.streamNode(items, &entries) })
	if err != nil {
		return err
	}
	if err := d.streamState(typ, items, entries); err != nil {
		return err
	}
	groups, err := d.in.count(5)
	if err != nil {
		return err
	}
	for range groups {
		if err := d.group(typ, items); err != nil {
			return err
		}
	}
	if typ < typeStream4 {
		return nil
	}
	return d.r.skipProducers() // they expire by themselves
}

// streamState consumes length, last id, first id, greatest deleted id and the
// number of entries ever added. The last two are what a server makes of an
// older stream, which has neither.
func (d *digester) streamState(typ byte, items *bag, entries uint64) error {
	var numbers [8]uint64
	known := numbers[:3]
	at := d.in.offset()
	if typ >= typeStream2 {
		known = numbers[:]
	}
	for i := range known {
		n, err := d.in.number()
		if err != nil {
			return err
		}
		known[i] = n
	}
	if numbers[0] != entries {
		return damage(CodeValue, at, "a stream of %d entries says it has %d", entries, numbers[0])
	}
	lastMS, lastSeq := numbers[1], numbers[2]
	deletedMS, deletedSeq, added := numbers[5], numbers[6], numbers[7]
	if typ < typeStream2 {
		added = numbers[0]
	}
	d.hash.begin(tagStreamState)
	for _, n := range []uint64{lastMS, lastSeq, deletedMS, deletedSeq, added, entries} {
		d.hash.number(n)
	}
	items.add(d.hash.sum())
	return nil
}

// streamNode consumes the first id of a node and its listpack: a master entry
// with the fields most entries share, then the entries.
func (d *digester) streamNode(items *bag, entries *uint64) error {
	at := d.in.offset()
	id, err := d.in.appendString(d.name[:0], maxTaskName)
	if err != nil {
		return err
	}
	d.name = id
	if len(id) != 16 {
		return damage(CodeValue, at, "a stream's node begins with an id of %d bytes", len(id))
	}
	// The server puts nodes that are out of order into order, but loads no two
	// of one id.
	d.hash.begin(tagEntry)
	d.hash.text(id)
	if err := d.unique(at); err != nil {
		return err
	}
	blob, err := d.packedBlob()
	if err != nil {
		return err
	}
	if err := d.listpack.open(blob); err != nil {
		return damage(CodeValue, at, "%v", err)
	}
	n := streamNode{
		d: d, items: items, fields: d.fields[:0],
		ms: binary.BigEndian.Uint64(id), seq: binary.BigEndian.Uint64(id[8:]),
	}
	if err := n.walk(); err != nil {
		return damage(CodeValue, at, "a stream's node: %v", err)
	}
	*entries += n.live
	return nil
}

// streamNode walks the entries of one listpack.
type streamNode struct {
	d       *digester
	items   *bag
	ms, seq uint64   // of the master entry, which the entries' are relative to
	fields  [][]byte // of the master entry; copies: elements do not last
	live    uint64
}

// walk reads: live, deleted, number of fields, fields, 0; then per entry:
// flags, ms, seq, its own fields and values or only the values, and how many
// elements the entry has.
func (n *streamNode) walk() error {
	live, err := n.number()
	if err != nil {
		return err
	}
	deleted, err := n.number()
	if err != nil {
		return err
	}
	count, err := n.number()
	if err != nil {
		return err
	}
	names := n.d.fieldNames[:0]
	for range count {
		field, err := n.need()
		if err != nil {
			return err
		}
		at := len(names)
		names = append(names, field...)
		n.fields = append(n.fields, names[at:])
	}
	n.d.fields, n.d.fieldNames = n.fields, names
	switch end, err := n.number(); {
	case err != nil && err != errStreamNumber && err != errStreamEnd:
		return err // of the listpack
	case err != nil || end != 0:
		return errStreamMaster
	}
	total := uint64(0)
	for ; ; total++ {
		flags, ok := n.d.listpack.integer()
		if !ok {
			text, err := n.d.listpack.next()
			if err != nil {
				return err
			}
			if text == nil {
				break
			}
			if flags, err = strconv.ParseInt(string(text), 10, 64); err != nil {
				return errStreamNumber
			}
		}
		if err := n.entry(flags); err != nil {
			return err
		}
	}
	if n.live != live || total != live+deleted {
		return errStreamCounts
	}
	return nil
}

// entry consumes an entry behind its flags. A deleted one stays in its node
// until all are; it is read, and not counted.
func (n *streamNode) entry(flags int64) error {
	ms, err := n.number()
	if err != nil {
		return err
	}
	seq, err := n.number()
	if err != nil {
		return err
	}
	n.d.hash.begin(tagEntry)
	n.d.hash.hush()
	n.d.hash.number(n.ms + ms)
	n.d.hash.number(n.seq + seq)
	elements := uint64(3)
	if flags&entrySameFields != 0 {
		for _, field := range n.fields {
			if !n.d.share(len(field)) {
				return errShared
			}
			n.d.hash.text(field)
			if err := n.copy(); err != nil {
				return err
			}
		}
		elements += uint64(len(n.fields))
	} else {
		pairs, err := n.number()
		if err != nil {
			return err
		}
		for range pairs {
			for range 2 {
				if err := n.copy(); err != nil {
					return err
				}
			}
		}
		elements += 1 + 2*pairs
	}
	if stored, err := n.number(); err != nil || stored != elements {
		return errStreamEntry
	}
	if flags&entryDeleted == 0 {
		n.items.add(n.d.hash.sum())
		n.live++
	}
	return nil
}

// copy hashes the next element.
func (n *streamNode) copy() error {
	if value, ok := n.d.listpack.integer(); ok {
		n.d.hash.decimal(value)
		return nil
	}
	text, err := n.need()
	if err == nil {
		n.d.hash.text(text)
	}
	return err
}

// need returns the next element, which must be there.
func (n *streamNode) need() ([]byte, error) {
	text, err := n.d.listpack.next()
	if err == nil && text == nil {
		err = errStreamEnd
	}
	return text, err
}

// number returns the next element, which must be an integer.
func (n *streamNode) number() (uint64, error) {
	if value, ok := n.d.listpack.integer(); ok {
		return uint64(value), nil
	}
	text, err := n.need()
	if err != nil {
		return 0, err
	}
	value, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, errStreamNumber
	}
	return uint64(value), nil
}
