package rdb

// Tags of what is hashed: DIGEST.md.
const (
	tagKey         = 1
	tagMember      = 2 // of a set
	tagScored      = 3 // of a sorted set
	tagField       = 4 // of a hash
	tagEntry       = 5 // of a stream
	tagGroup       = 6
	tagPending     = 7
	tagConsumer    = 8
	tagOwned       = 9
	tagReleased    = 10
	tagStreamState = 11
	tagElement     = 12 // of an array
	tagCursor      = 13

	noExpiry = 0
)

// smallLZF is the size up to which a compressed string is unpacked at once.
const smallLZF = 256 << 10

// digester checks values deeply while it consumes them, and computes their
// digests where these are asked for. It consumes exactly what skipValue would,
// so a value is either skipped or digested.
type digester struct {
	r    *Reader
	in   *input
	hash *hasher

	blob       []byte   // memory for compressed strings and consumers' names
	number     number   // and for integers
	name       []byte   // memory for groups' names and nodes' ids
	fields     [][]byte // memory for the fields that a stream's node names once
	fieldNames []byte

	listpack  listpack
	ziplist   ziplist
	intset    intset
	zipmap    zipmap
	templates *hashTemplates
	shared    uint64 // bytes of shared field names hashed

	items     bag    // of the value, where their order means nothing
	members   *idSet // of the value: what may come only once
	crowded   bool   // there are too many of them to tell
	unchecked bool   // there were in some value
	elements  uint64 // of a list

	pendingIDs pendingCheck // of the stream's group
}

func newDigester(r *Reader, digests bool) *digester {
	return &digester{r: r, in: r.in, hash: newHasher(digests), members: newIDSet(maxMembers),
		templates: &hashTemplates{byID: map[uint64]hashTemplate{}}}
}

// value consumes the value of the key in rec and returns the key's digest.
func (d *digester) value(rec *Record) (Digest, error) {
	switch rec.Family {
	case String, List, Module:
		// What has an order is hashed behind the key in one go.
		d.hash.key(rec)
		d.hash.hush()
		d.elements = 0
		if err := d.ordered(rec.Type); err != nil {
			return Digest{}, err
		}
		if rec.Family == List && d.elements == 0 {
			return Digest{}, errEmpty(rec)
		}
		return d.hash.sum(), nil
	}
	d.expectMembers(0)
	d.items = bag{}
	items := &d.items
	var err error
	switch rec.Family {
	case Set:
		err = d.set(rec.Type, items)
	case Zset:
		err = d.zset(rec.Type, items)
	case Hash:
		err = d.hashmap(rec.Type, items)
	case Stream:
		err = d.stream(rec.Type, items)
	case Array:
		err = d.array(items)
	default:
		err = d.r.unknownType(rec.Type, rec.Offset)
	}
	if err != nil {
		return Digest{}, err
	}
	if items.count == 0 && rec.Family != Array {
		return Digest{}, errEmpty(rec)
	}
	if !d.hash.digests {
		return Digest{}, nil
	}
	// What has no order is added up, and the sum hashed behind the key.
	d.hash.key(rec)
	sum := items.sum.Bytes()
	d.hash.write(sum[:])
	d.hash.number(items.count)
	return d.hash.sum(), nil
}

// ordered consumes a value whose order means something into the key's digest.
func (d *digester) ordered(typ byte) error {
	switch typ {
	case typeString:
		d.hash.part(ElementString)
		return d.text()
	case typeModule2:
		return d.module()
	case typeList:
		return d.repeat(1, d.plainElement)
	case typeListZiplist:
		return d.elementsOf(&d.ziplist)
	case typeListQuicklist:
		return d.repeat(1, func() error { return d.elementsOf(&d.ziplist) })
	case typeListQuicklist2:
		return d.repeat(2, d.node)
	}
	return d.r.unknownType(typ, d.in.offset())
}

// elementsOf walks the elements of a list that one packed node holds.
func (d *digester) elementsOf(p packed) error {
	at := d.in.offset()
	if err := d.open(p, at); err != nil {
		return err
	}
	for ; ; d.elements++ {
		if n, ok := p.integer(); ok {
			d.hash.part(ElementList)
			d.hash.decimal(n)
			continue
		}
		text, err := d.next(p, at)
		if err != nil || text == nil {
			return err
		}
		d.hash.part(ElementList)
		d.hash.text(text)
	}
}

// plainElement consumes a list's element that is a string of its own.
func (d *digester) plainElement() error {
	d.elements++
	d.hash.part(ElementList)
	return d.text()
}

// node consumes a list's node. Where one ends is an encoding's matter: nothing
// of it is hashed.
func (d *digester) node() error {
	at := d.in.offset()
	container, err := d.in.number()
	if err != nil {
		return err
	}
	switch container {
	case nodePlain:
		return d.plainElement()
	case nodePacked:
		return d.elementsOf(&d.listpack)
	}
	return damage(CodeValue, at, "a list's node has the unknown container %d", container)
}

// set consumes a set: an item for each member.
func (d *digester) set(typ byte, items *bag) error {
	switch typ {
	case typeSetIntset:
		return d.setIntset(items)
	case typeSetListpack:
		return d.setPacked(&d.listpack, items)
	}
	n, err := d.countUnique(1)
	if err != nil {
		return err
	}
	for range n {
		at := d.in.offset()
		d.hash.begin(tagMember)
		if err := d.text(); err != nil {
			return err
		}
		if err := d.unique(at); err != nil {
			return err
		}
		items.add(d.hash.sum())
	}
	return nil
}

// setIntset walks members that stand in their order, so none comes twice.
func (d *digester) setIntset(items *bag) error {
	at := d.in.offset()
	if err := d.open(&d.intset, at); err != nil {
		return err
	}
	for {
		member, ok := d.intset.integer()
		if !ok {
			_, err := d.next(&d.intset, at)
			return err
		}
		d.hash.begin(tagMember)
		d.hash.hush()
		d.hash.decimal(member)
		items.add(d.hash.sum())
	}
}

// setPacked walks members.
func (d *digester) setPacked(p packed, items *bag) error {
	at := d.in.offset()
	if err := d.openUnique(p, at, 1); err != nil {
		return err
	}
	for {
		n, ok := p.integer()
		var member []byte
		if !ok {
			var err error
			if member, err = d.next(p, at); err != nil || member == nil {
				return err
			}
		}
		d.hash.begin(tagMember)
		if ok {
			d.hash.decimal(n)
		} else {
			d.hash.text(member)
		}
		if err := d.unique(at); err != nil {
			return err
		}
		items.add(d.hash.sum())
	}
}

// repeat reads a count and as many items of at least itemBytes.
func (d *digester) repeat(itemBytes uint64, item func() error) error {
	return d.r.skipItems(itemBytes, item)
}

// countUnique reads how many items a whole value has, each of at least
// itemBytes, that may come only once.
func (d *digester) countUnique(itemBytes uint64) (uint64, error) {
	n, err := d.in.count(itemBytes)
	if err == nil {
		d.expectMembers(n)
	}
	return n, err
}

// text consumes a string into the item being hashed.
func (d *digester) text() error {
	// A plain one of up to 16 KiB that lies whole in the buffer: nearly always.
	if rest := d.in.buf[d.in.pos:d.in.end]; len(rest) > 1 && rest[0] < 0x80 {
		from, end := 1, 1+int(rest[0])
		if rest[0] >= 0x40 {
			from, end = 2, 2+int(rest[0]&0x3f)<<8+int(rest[1])
		}
		if end <= len(rest) {
			d.hash.text(rest[from:end])
			d.in.pos += end
			return nil
		}
	}
	n, encoded, err := d.in.lengthOrEncoding()
	if err != nil {
		return err
	}
	if encoded {
		return d.encodedText(n)
	}
	if d.hash.quiet {
		return d.in.skip(n)
	}
	d.hash.length(n)
	return d.in.eachByte(n, d.hash.write)
}

// encodedText consumes a number or a compressed string behind its first byte.
func (d *digester) encodedText(encoding uint64) error {
	if encoding != encLZF {
		n, err := d.in.encodedInt(encoding)
		d.hash.decimal(n)
		return err
	}
	at := d.in.offset()
	packed, size, err := d.in.lzfHeader()
	if err != nil {
		return err
	}
	// The length comes before the bytes: a header that lies is found either way.
	d.hash.length(size)
	if size > smallLZF {
		return d.in.eachLZF(packed, size, d.hash.write)
	}
	body, err := d.in.bytes(packed)
	if err != nil {
		return err
	}
	if room := d.hash.room(size); room != nil {
		_, err = lzfAppend(room, body, int(size))
	} else if d.blob, err = lzfAppend(d.blob[:0], body, int(size)); err == nil {
		d.hash.write(d.blob)
	}
	if err != nil {
		return damage(CodeLZF, at, "a string of %d bytes compressed to %d: %v", size, packed, err)
	}
	return nil
}

// open begins to walk a packed collection.
func (d *digester) open(p packed, at int64) error {
	blob, err := d.packedBlob()
	if err != nil {
		return err
	}
	if err := p.open(blob); err != nil {
		return damage(CodeValue, at, "%v", err)
	}
	return nil
}

// openUnique begins to walk a packed collection of which every so many elements
// one may come only once.
func (d *digester) openUnique(p packed, at int64, every int) error {
	err := d.open(p, at)
	if err == nil {
		d.expectMembers(uint64(p.announced() / every))
	}
	return err
}

// next returns the next element of the packed collection at an offset, or nil.
func (d *digester) next(p packed, at int64) ([]byte, error) {
	text, err := p.next()
	if err != nil {
		return nil, damage(CodeValue, at, "%v", err)
	}
	return text, nil
}

// packedBlob consumes a string that is a packed collection, in one piece. Redis
// itself keeps none above a gibibyte, and hardly any above some kilobytes. It is
// valid until more is consumed.
func (d *digester) packedBlob() ([]byte, error) {
	at := d.in.offset()
	n, encoded, err := d.in.lengthOrEncoding()
	if err != nil {
		return nil, err
	}
	if cap(d.blob) > scratchKept {
		d.blob = nil
	}
	switch {
	case encoded:
		d.blob, err = d.in.appendEncoded(d.blob[:0], n, maxString)
		return d.blob, err
	case n > maxString:
		return nil, damage(CodeLength, at, "a string of %d bytes stands where at most %d are allowed", n, maxString)
	}
	return d.in.bytes(n)
}
