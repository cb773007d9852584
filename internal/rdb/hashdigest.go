package rdb

import (
	"math"
	"strconv"
	"sync"
)

// maxTemplateBytes bounds the field names kept for hash templates.
const maxTemplateBytes = 256 << 20

// hashmap consumes a hash: an item for each field with its value and expiry.
func (d *digester) hashmap(typ byte, items *bag) error {
	switch typ {
	case typeHashZipmap:
		return d.hashPacked(&d.zipmap, items)
	case typeHashZiplist:
		return d.hashPacked(&d.ziplist, items)
	case typeHashListpack:
		return d.hashPacked(&d.listpack, items)
	case typeHashListpackEx:
		if _, err := d.earliestExpiry(); err != nil { // again
			return err
		}
		return d.hashExpiring(items)
	case typeHashListpackExRC:
		return d.hashExpiring(items)
	case typeTemplateLPRef:
		return d.hashTemplateListpack(items)
	case typeTemplateArrayRef:
		return d.hashTemplateArray(items)
	case typeHash:
		return d.hashPlain(items)
	case typeHashMetaRC:
		if d.r.header.valkey() {
			return d.repeatUnique(10, func() error { return d.pairThenExpiry(items) })
		}
		return d.repeatUnique(3, func() error { return d.expiryThenPair(nil, items) })
	}
	// HASH_METADATA: expiries are relative to the earliest, one higher, so
	// that zero can mean none.
	earliest, err := d.earliestExpiry()
	if err != nil {
		return err
	}
	return d.repeatUnique(3, func() error { return d.expiryThenPair(&earliest, items) })
}

// repeatUnique reads a count and as many items, each of at least itemBytes, that
// may come only once in a whole value.
func (d *digester) repeatUnique(itemBytes uint64, item func() error) error {
	n, err := d.countUnique(itemBytes)
	if err != nil {
		return err
	}
	for range n {
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

// hashPlain consumes fields and values by turns.
func (d *digester) hashPlain(items *bag) error {
	n, err := d.countUnique(2)
	if err != nil {
		return err
	}
	for range n {
		if err := d.pair(noExpiry, items); err != nil {
			return err
		}
	}
	return nil
}

// earliestExpiry reads when the first field of a hash expires.
func (d *digester) earliestExpiry() (uint64, error) {
	at := d.in.offset()
	earliest, err := d.in.uint64()
	if err == nil && earliest > maxFieldExpiry {
		return 0, damage(CodeValue, at, "no field expires at %d", earliest)
	}
	return earliest, err
}

// pair consumes a field and its value.
func (d *digester) pair(expiry uint64, items *bag) error {
	if err := d.fieldAndValue(); err != nil {
		return err
	}
	d.hash.number(expiry)
	items.add(d.hash.sum())
	return nil
}

// fieldAndValue begins a field's item; its expiry is still to come.
func (d *digester) fieldAndValue() error {
	at := d.in.offset()
	d.hash.begin(tagField)
	if err := d.text(); err != nil {
		return err
	}
	if err := d.unique(at); err != nil {
		return err
	}
	return d.text()
}

// pairThenExpiry consumes Valkey's HASH_2 field: its expiry follows, -1 for none.
func (d *digester) pairThenExpiry(items *bag) error {
	if err := d.fieldAndValue(); err != nil {
		return err
	}
	at := d.in.offset()
	expiry, err := d.in.uint64()
	if err != nil {
		return err
	}
	if expiry == math.MaxUint64 {
		expiry = noExpiry
	}
	if expiry > math.MaxInt64 {
		return damage(CodeValue, at, "no field expires at %d", int64(expiry))
	}
	d.hash.number(expiry)
	items.add(d.hash.sum())
	return nil
}

// expiryThenPair consumes a field behind its expiry: absolute, or one more than
// its distance from the earliest.
func (d *digester) expiryThenPair(earliest *uint64, items *bag) error {
	at := d.in.offset()
	expiry, err := d.in.number()
	if err != nil {
		return err
	}
	if expiry != 0 && earliest != nil {
		expiry--
		if expiry > maxFieldExpiry {
			return damage(CodeValue, at, "a field expires %d ms after %d", expiry, *earliest)
		}
		expiry += *earliest
	}
	if expiry > maxFieldExpiry {
		return damage(CodeValue, at, "no field expires at %d", expiry)
	}
	return d.pair(expiry, items)
}

// hashPacked walks fields and values by turns.
func (d *digester) hashPacked(p packed, items *bag) error {
	at := d.in.offset()
	if err := d.openUnique(p, at, 2); err != nil {
		return err
	}
	for {
		if more, err := d.packedPair(p, at); err != nil || !more {
			return err
		}
		d.hash.number(noExpiry)
		items.add(d.hash.sum())
	}
}

// packedPair begins the item of the next field, if there is one, with its value.
func (d *digester) packedPair(p packed, at int64) (more bool, err error) {
	field, err := d.next(p, at)
	if err != nil || field == nil {
		return false, err
	}
	d.hash.begin(tagField)
	d.hash.text(field)
	if err := d.unique(at); err != nil {
		return false, err
	}
	if n, ok := p.integer(); ok {
		d.hash.decimal(n)
		return true, nil
	}
	value, err := d.next(p, at)
	if err != nil {
		return false, err
	}
	if value == nil {
		return false, damage(CodeValue, at, "a hash's last field has no value")
	}
	d.hash.text(value)
	return true, nil
}

// hashExpiring walks fields, values and expiries by turns. They are ordered by
// expiry, those without one last.
func (d *digester) hashExpiring(items *bag) error {
	at := d.in.offset()
	if err := d.openUnique(&d.listpack, at, 3); err != nil {
		return err
	}
	for last := int64(-1); ; {
		if more, err := d.packedPair(&d.listpack, at); err != nil || !more {
			return err
		}
		text, err := d.next(&d.listpack, at)
		if err != nil {
			return err
		}
		if text == nil {
			return damage(CodeValue, at, "a hash's last field has no expiry")
		}
		expiry, err := strconv.ParseInt(string(text), 10, 64)
		if err == nil && expiry != noExpiry && (last == noExpiry || expiry < last) {
			return damage(CodeValue, at, "a field that expires at %d stands behind one that does at %d", expiry, last)
		}
		last = expiry
		if err != nil || expiry < 0 || expiry > maxFieldExpiry {
			return damage(CodeValue, at, "%s is no field's expiry", quoteKey(text))
		}
		d.hash.number(uint64(expiry))
		items.add(d.hash.sum())
	}
}

// hashTemplates are the field names of a dump's hash templates, by id. Those who
// look into them may stand behind the one who adds to them.
type hashTemplates struct {
	mu   sync.RWMutex
	byID map[uint64]hashTemplate
	kept int // bytes
}

type hashTemplate struct {
	names  []string
	offset int64 // of the record that defines it
}

// of returns the names of a template that is defined before an offset.
func (t *hashTemplates) of(id uint64, before int64) (names []string, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	template, known := t.byID[id]
	return template.names, known && template.offset < before
}

func (t *hashTemplates) add(id uint64, template hashTemplate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[id] = template
}

// template consumes the field names of a hash template and keeps them.
func (d *digester) template(id, fields uint64) error {
	var names []string
	d.expectMembers(fields)
	for range fields {
		at := d.in.offset()
		name, err := d.in.appendString(d.blob[:0], maxString)
		if err != nil {
			return err
		}
		d.blob = name
		if d.templates.kept += len(name) + 16; d.templates.kept > maxTemplateBytes {
			return damage(CodeLength, at, "the field names of hash templates take more than %d bytes", maxTemplateBytes)
		}
		d.hash.begin(tagField)
		d.hash.text(name)
		if err := d.unique(at); err != nil {
			return err
		}
		names = append(names, string(name))
	}
	d.templates.add(id, hashTemplate{names, d.r.rec.Offset})
	return nil
}

// hashTemplateListpack walks a template's id and the values of its fields.
func (d *digester) hashTemplateListpack(items *bag) error {
	at := d.in.offset()
	if err := d.open(&d.listpack, at); err != nil {
		return err
	}
	text, err := d.next(&d.listpack, at)
	if err != nil {
		return err
	}
	if text == nil {
		return damage(CodeValue, at, "a hash names no template")
	}
	id, err := strconv.ParseUint(string(text), 10, 64)
	names, known := d.templates.of(id, d.r.rec.Offset)
	if err != nil || !known {
		return damage(CodeValue, at, "hash template %s was not defined before", quoteKey(text))
	}
	for seen := 0; ; seen++ {
		value, err := d.next(&d.listpack, at)
		if err != nil {
			return err
		}
		if value == nil && seen < len(names) {
			return damage(CodeValue, at, "a hash has %d values for the %d fields of its template", seen, len(names))
		}
		if value == nil {
			return nil
		}
		if seen == len(names) {
			return damage(CodeValue, at, "a hash has more values than the %d fields of its template", len(names))
		}
		if err := d.templateField(names[seen], at); err != nil {
			return err
		}
		d.hash.text(value)
		d.hash.number(noExpiry)
		items.add(d.hash.sum())
	}
}

// hashTemplateArray consumes a template's id and the values of its fields.
func (d *digester) hashTemplateArray(items *bag) error {
	at := d.in.offset()
	id, err := d.in.number()
	if err != nil {
		return err
	}
	names, known := d.templates.of(id, d.r.rec.Offset)
	if !known {
		return damage(CodeValue, at, "hash template %d was not defined before", id)
	}
	for _, name := range names {
		if err := d.templateField(name, at); err != nil {
			return err
		}
		if err := d.text(); err != nil {
			return err
		}
		d.hash.number(noExpiry)
		items.add(d.hash.sum())
	}
	return nil
}

// templateField begins the item of a field whose name the template keeps.
func (d *digester) templateField(name string, at int64) error {
	if !d.share(len(name)) {
		return damage(CodeValue, at, "a hash's template: %v", errShared)
	}
	d.hash.begin(tagField)
	d.hash.hush()
	d.hash.text([]byte(name))
	return nil
}
