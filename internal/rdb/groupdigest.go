package rdb

import (
	"errors"
	"hash/maphash"
)

var (
	errStreamMaster = errors.New("its master entry does not end with 0")
	errStreamCounts = errors.New("it announces other numbers of entries than it has")
	errStreamEntry  = errors.New("an entry announces another number of elements than it has")
	errStreamNumber = errors.New("text stands where a number is expected")
	errStreamOrder  = errors.New("an id is not greater than the one before it")
	errStreamEnd    = errors.New("it ends inside an entry")
	errShared       = errors.New("the field names that its values share are longer than any use has for them")
)

// group consumes a consumer group: where it stands, what is pending, and with
// whom. How much it has read and when a consumer was last seen are statistics.
func (d *digester) group(typ byte, items *bag) error {
	at := d.in.offset()
	var err error
	if d.name, err = d.in.appendString(d.name[:0], maxString); err != nil {
		return err
	}
	group := d.name
	d.hash.begin(tagGroup)
	d.hash.text(group)
	if err := d.unique(at); err != nil {
		return err
	}
	d.pendingIDs = pendingCheck{}
	ms, err := d.in.number()
	if err != nil {
		return err
	}
	seq, err := d.in.number()
	if err != nil {
		return err
	}
	if typ >= typeStream2 {
		if _, err := d.in.number(); err != nil { // entries read
			return err
		}
	}
	d.hash.begin(tagGroup)
	d.hash.text(group)
	d.hash.number(ms)
	d.hash.number(seq)
	items.add(d.hash.sum())
	if err := d.repeat(25, func() error { return d.pending(group, items) }); err != nil {
		return err
	}
	if err := d.repeat(10, func() error { return d.consumer(typ, group, items) }); err != nil {
		return err
	}
	if typ < typeStream5 {
		if d.pendingIDs.balance != 0 {
			return damage(CodeValue, at, "group %s has other entries pending than its consumers together", quoteKey(group))
		}
		return nil
	}
	// Released entries stand in an order of their own.
	return d.ids(func(id []byte) {
		d.hash.begin(tagReleased)
		d.hash.hush()
		d.hash.text(group)
		d.hash.write(id)
		items.add(d.hash.sum())
	})
}

// pending consumes an entry delivered and not acknowledged: id, time, deliveries.
func (d *digester) pending(group []byte, items *bag) error {
	at := d.in.offset()
	raw, err := d.in.fixed(16 + 8)
	if err != nil {
		return err
	}
	if !d.pendingIDs.ascends(raw[:16]) {
		return damage(CodeValue, at, "pending entries of group %s: %v", quoteKey(group), errStreamOrder)
	}
	d.pendingIDs.balance += maphash.Bytes(d.members.seeds[0], raw[:16])
	d.hash.begin(tagPending)
	d.hash.hush()
	d.hash.text(group)
	d.hash.write(raw)
	deliveries, err := d.in.number()
	if err != nil {
		return err
	}
	d.hash.number(deliveries)
	items.add(d.hash.sum())
	return nil
}

// consumer consumes a consumer and which of the pending entries it holds.
func (d *digester) consumer(typ byte, group []byte, items *bag) error {
	at := d.in.offset()
	var err error
	if d.blob, err = d.in.appendString(d.blob[:0], maxString); err != nil {
		return err
	}
	consumer := d.blob
	times := uint64(8) // last seen
	if typ >= typeStream3 {
		times = 16 // and last active
	}
	if err := d.in.skip(times); err != nil {
		return err
	}
	d.hash.begin(tagConsumer)
	d.hash.text(group)
	d.hash.text(consumer)
	if err := d.unique(at); err != nil {
		return err
	}
	items.add(d.hash.sum())
	ordered := true
	d.pendingIDs.begin()
	err = d.ids(func(id []byte) {
		ordered = d.pendingIDs.ascends(id) && ordered
		d.pendingIDs.balance -= maphash.Bytes(d.members.seeds[0], id)
		d.hash.begin(tagOwned)
		d.hash.hush()
		d.hash.text(group)
		d.hash.text(consumer)
		d.hash.write(id)
		items.add(d.hash.sum())
	})
	if err == nil && !ordered {
		err = damage(CodeValue, at, "pending entries of consumer %s: %v", quoteKey(consumer), errStreamOrder)
	}
	return err
}

// ids consumes a count and as many raw entry ids.
func (d *digester) ids(each func(id []byte)) error {
	return d.repeat(16, func() error {
		id, err := d.in.fixed(16)
		if err == nil {
			each(id)
		}
		return err
	})
}

// array consumes an array: its elements by index, numbers as their text.
func (d *digester) array(items *bag) error {
	n, err := d.in.count(3)
	if err != nil {
		return err
	}
	cursor, index, err := d.in.arrayCursor()
	if err != nil {
		return err
	}
	if cursor {
		d.hash.begin(tagCursor)
		d.hash.number(index)
		items.add(d.hash.sum())
	}
	for range n {
		if err := d.arrayElement(items); err != nil {
			return err
		}
	}
	return nil
}

// arrayElement consumes one element. Whether Redis keeps a number as such or as
// text is an encoding; a float is not the text it was given as.
func (d *digester) arrayElement(items *bag) error {
	index, err := d.in.number()
	if err != nil {
		return err
	}
	at := d.in.offset()
	tag, err := d.in.number()
	if err != nil {
		return err
	}
	d.hash.begin(tagElement)
	d.hash.hush()
	d.hash.number(index)
	switch tag {
	case arrayString, arraySmallString:
		d.hash.number(arrayString)
		err = d.text()
	case arrayInt:
		var value uint64
		value, err = d.in.uint64()
		d.hash.number(arrayString)
		d.hash.text(d.number.text(int64(value)))
	case arrayFloat:
		var value uint64
		value, err = d.in.uint64()
		d.hash.number(arrayFloat)
		d.hash.number(value)
	default:
		return damage(CodeValue, at, "an array's element has the unknown tag %d", tag)
	}
	if err != nil {
		return err
	}
	items.add(d.hash.sum())
	return nil
}

// module consumes a module's value: what it says of itself, in its order.
func (d *digester) module() error {
	id, err := d.in.number()
	if err != nil {
		return err
	}
	d.r.rec.Name = d.r.keepModuleName(id)
	d.hash.part(ElementModule)
	d.hash.number(id)
	for {
		at := d.in.offset()
		code, err := d.in.number()
		if err != nil {
			return err
		}
		d.hash.part(partModuleValue)
		d.hash.number(code)
		switch code {
		case moduleEOF:
			return nil
		case moduleSInt, moduleUInt:
			var n uint64
			n, err = d.in.number()
			d.hash.number(n)
		case moduleFloat:
			err = d.in.eachByte(4, d.hash.write)
		case moduleDouble:
			err = d.in.eachByte(8, d.hash.write)
		case moduleString:
			err = d.text()
		default:
			err = damage(CodeModule, at, "a module's value holds the unknown code %d", code)
		}
		if err != nil {
			return err
		}
	}
}
