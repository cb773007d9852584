package rdb

import (
	"math"
	"strconv"
)

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

	blob      []byte // memory for packed collections and consumers' names
	name      []byte // memory for groups' names and nodes' ids
	listpack  listpack
	ziplist   ziplist
	intset    intset
	zipmap    zipmap
	templates map[uint64][]string
	kept      int    // bytes of field names in templates
	shared    uint64 // bytes of shared field names hashed

	members   *idSet // of the value: what may come only once
	crowded   bool   // there are too many of them to tell
	unchecked bool   // there were in some value
	elements  uint64 // of a list

	pendingIDs pendingCheck // of the stream's group
}

func newDigester(r *Reader, digests bool) *digester {
	return &digester{r: r, in: r.in, hash: newHasher(digests), members: newIDSet(maxMembers), templates: map[uint64][]string{}}
}

// value consumes the value of the key in rec and returns the key's digest.
func (d *digester) value(rec *Record) (Digest, error) {
	switch rec.Family {
	case String, List, Module:
		// What has an order is hashed behind the key in one go.
		d.beginKey(rec)
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
	var items bag
	var err error
	switch rec.Family {
	case Set:
		err = d.set(rec.Type, &items)
	case Zset:
		err = d.zset(rec.Type, &items)
	case Hash:
		err = d.hashmap(rec.Type, &items)
	case Stream:
		err = d.stream(rec.Type, &items)
	case Array:
		err = d.array(&items)
	default:
		err = d.r.unknownType(rec.Type, rec.Offset)
	}
	if err != nil {
		return Digest{}, err
	}
	if items.count == 0 && rec.Family != Array {
		return Digest{}, errEmpty(rec)
	}
	// What has no order is added up, and the sum hashed behind the key.
	d.beginKey(rec)
	sum := items.sum.Bytes()
	d.hash.write(sum[:])
	d.hash.number(items.count)
	return d.hash.sum(), nil
}

// beginKey starts a key's digest with all but its value.
func (d *digester) beginKey(rec *Record) {
	d.hash.begin(tagKey)
	d.hash.number(uint64(rec.Family))
	d.hash.number(uint64(rec.DB))
	if rec.HasExpiry {
		d.hash.number(1)
		d.hash.number(uint64(rec.ExpireAt))
	} else {
		d.hash.number(0)
	}
	d.hash.text(rec.Key)
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
		return d.each(&d.ziplist, d.element)
	case typeListQuicklist:
		return d.repeat(1, func() error { return d.each(&d.ziplist, d.element) })
	case typeListQuicklist2:
		return d.repeat(2, d.node)
	}
	return d.r.unknownType(typ, d.in.offset())
}

// element hashes a list's element that a packed node holds.
func (d *digester) element(text []byte) error {
	d.elements++
	d.hash.part(ElementList)
	d.hash.text(text)
	return nil
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
		return d.each(&d.listpack, d.element)
	}
	return damage(CodeValue, at, "a list's node has the unknown container %d", container)
}

// set consumes a set: an item for each member.
func (d *digester) set(typ byte, items *bag) error {
	at := d.in.offset()
	member := func(text []byte) error {
		d.hash.begin(tagMember)
		d.hash.text(text)
		if err := d.unique(at); err != nil {
			return err
		}
		items.add(d.hash.sum())
		return nil
	}
	switch typ {
	case typeSetIntset:
		return d.each(&d.intset, member)
	case typeSetListpack:
		return d.each(&d.listpack, member)
	}
	return d.repeatUnique(1, func() error {
		at := d.in.offset()
		d.hash.begin(tagMember)
		if err := d.text(); err != nil {
			return err
		}
		if err := d.unique(at); err != nil {
			return err
		}
		items.add(d.hash.sum())
		return nil
	})
}

// zset consumes a sorted set: an item for each member with its score.
func (d *digester) zset(typ byte, items *bag) error {
	switch typ {
	case typeZsetZiplist:
		return d.zsetPacked(&d.ziplist, items)
	case typeZsetListpack:
		return d.zsetPacked(&d.listpack, items)
	}
	least := uint64(2)
	if typ == typeZset2 {
		least = 9
	}
	return d.repeatUnique(least, func() error {
		at := d.in.offset()
		d.hash.begin(tagScored)
		if err := d.text(); err != nil {
			return err
		}
		if err := d.unique(at); err != nil {
			return err
		}
		at = d.in.offset()
		score, err := d.in.score(typ)
		if err != nil {
			return err
		}
		return d.addScore(score, at, items)
	})
}

// zsetPacked walks members and scores by turns. Packed scores are text, or
// integers, with as many digits as bring the same binary64 back.
func (d *digester) zsetPacked(p packed, items *bag) error {
	at := d.in.offset()
	isScore := false
	err := d.each(p, func(text []byte) error {
		isScore = !isScore
		if isScore {
			d.hash.begin(tagScored)
			d.hash.text(text)
			return d.unique(at)
		}
		score, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return damage(CodeValue, at, "%s is no score", quoteKey(text))
		}
		return d.addScore(score, at, items)
	})
	if err == nil && isScore {
		err = damage(CodeValue, at, "a sorted set's last member has no score")
	}
	return err
}

// addScore ends a member's item. Zero has one sign: a listpack keeps none.
func (d *digester) addScore(score float64, at int64, items *bag) error {
	if math.IsNaN(score) {
		return damage(CodeValue, at, "a sorted set's score is not a number")
	}
	if score == 0 {
		score = 0
	}
	d.hash.number(math.Float64bits(score))
	items.add(d.hash.sum())
	return nil
}

// score reads the score behind a member, as text or as binary64.
func (in *input) score(typ byte) (float64, error) {
	if typ == typeZset2 {
		bits, err := in.uint64()
		return math.Float64frombits(bits), err
	}
	at := in.offset()
	n, err := in.byte()
	if err != nil {
		return 0, err
	}
	switch n {
	case 253:
		return math.NaN(), nil
	case 254:
		return math.Inf(1), nil
	case 255:
		return math.Inf(-1), nil
	}
	text, err := in.fixed(int(n))
	if err != nil {
		return 0, err
	}
	score, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, damage(CodeValue, at, "%s is no score", quoteKey(text))
	}
	return score, nil
}

// repeat reads a count and as many items of at least itemBytes.
func (d *digester) repeat(itemBytes uint64, item func() error) error {
	return d.r.skipItems(itemBytes, item)
}

// repeatUnique is repeat for a whole value whose items may come only once.
func (d *digester) repeatUnique(itemBytes uint64, item func() error) error {
	n, err := d.in.count(itemBytes)
	if err != nil {
		return err
	}
	d.expectMembers(n)
	for range n {
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

// text consumes a string into the item being hashed.
func (d *digester) text() error {
	n, encoded, err := d.in.lengthOrEncoding()
	if err != nil {
		return err
	}
	if !encoded {
		if d.hash.quiet {
			return d.in.skip(n)
		}
		d.hash.length(n)
		if n <= uint64(d.in.end-d.in.pos) { // nearly always
			d.hash.write(d.in.buf[d.in.pos : d.in.pos+int(n)])
			d.in.pos += int(n)
			return nil
		}
		return d.in.eachByte(n, d.hash.write)
	}
	if n != encLZF {
		var memory number
		text, err := d.in.appendEncoded(memory[:0], n, maxString)
		d.hash.text(text)
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
	if d.blob, err = lzfAppend(d.blob[:0], body, int(size)); err != nil {
		return damage(CodeLZF, at, "a string of %d bytes compressed to %d: %v", size, packed, err)
	}
	d.hash.write(d.blob)
	return nil
}

// each materialises a packed collection and walks its elements.
func (d *digester) each(p packed, element func([]byte) error) error {
	at := d.in.offset()
	blob, err := d.packedBlob()
	if err != nil {
		return err
	}
	if err := p.open(blob); err != nil {
		return damage(CodeValue, at, "%v", err)
	}
	if d.r.rec.Family != List {
		d.expectMembers(uint64(len(blob)) / 4)
	}
	for {
		text, err := p.next()
		if err != nil {
			return damage(CodeValue, at, "%v", err)
		}
		if text == nil {
			return nil
		}
		if err := element(text); err != nil {
			return err
		}
	}
}

// packedBlob consumes a string that is a packed collection, in one piece. Redis
// itself keeps none above a gibibyte, and hardly any above some kilobytes.
func (d *digester) packedBlob() ([]byte, error) {
	if cap(d.blob) > scratchKept {
		d.blob = nil
	}
	var err error
	d.blob, err = d.in.appendString(d.blob[:0], maxString)
	return d.blob, err
}
