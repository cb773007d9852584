package rdb

// The containers of a quicklist's nodes: quicklist.h.
const (
	nodePlain  = 1 // one element, too large to share a node
	nodePacked = 2 // a listpack
)

// skipValue consumes the value of a key. Its structure is checked as far as
// the lengths that make it up; what lies inside a packed blob is the digest's
// matter.
func (r *Reader) skipValue(typ byte) error {
	in := r.in
	switch typ {
	case typeString,
		typeHashZipmap, typeListZiplist, typeSetIntset, typeZsetZiplist, typeHashZiplist,
		typeHashListpack, typeZsetListpack, typeSetListpack, typeTemplateLPRef:
		return in.skipString()
	// Most bytes of most dumps are in these: no call per item.
	case typeList, typeSet, typeListQuicklist:
		n, err := in.count(1)
		if err != nil {
			return err
		}
		return in.skipStrings(n, 0)
	case typeHash:
		n, err := in.count(2)
		if err != nil {
			return err
		}
		return in.skipStrings(2*n, 0)
	case typeZset:
		return r.skipItems(2, r.skipTextScored)
	case typeZset2:
		n, err := in.count(9)
		if err != nil {
			return err
		}
		return in.skipStrings(n, 8) // a score as binary64 behind each member
	case typeListQuicklist2:
		return r.skipItems(2, r.skipNode)
	case typeHashMetaRC:
		if r.header.valkey() { // HASH_2: field, value, absolute expiry or -1
			return r.skipItems(10, r.skipExpiringPair)
		}
		return r.skipItems(3, r.skipMetaPair)
	case typeHashMeta: // the earliest expiry, which the fields' are relative to
		if err := in.skip(8); err != nil {
			return err
		}
		return r.skipItems(3, r.skipMetaPair)
	case typeHashListpackEx:
		if err := in.skip(8); err != nil {
			return err
		}
		return in.skipString()
	case typeHashListpackExRC:
		return in.skipString()
	case typeStream1, typeStream2, typeStream3, typeStream4, typeStream5:
		return r.skipStream(typ)
	case typeArray:
		return r.skipArray()
	case typeTemplateArrayRef:
		return r.skipTemplateArray()
	case typeModule2:
		return r.skipModule()
	}
	return r.unknownType(typ, in.offset())
}

// skipItems consumes a count and as many items of at least itemBytes each.
func (r *Reader) skipItems(itemBytes uint64, skip func() error) error {
	n, err := r.in.count(itemBytes)
	if err != nil {
		return err
	}
	for range n {
		if err := skip(); err != nil {
			return err
		}
	}
	return nil
}

// skipPair passes a field with its value.
func (r *Reader) skipPair() error { return r.in.skipStrings(2, 0) }

// skipTextScored passes a member with its score as text: a length byte, of
// which the highest three are words of their own (not a number, +inf, -inf).
func (r *Reader) skipTextScored() error {
	if err := r.in.skipString(); err != nil {
		return err
	}
	n, err := r.in.byte()
	if err != nil || n >= 253 {
		return err
	}
	return r.in.skip(uint64(n))
}

// skipMetaPair passes a field behind its expiry (Redis 7.4).
func (r *Reader) skipMetaPair() error {
	if _, err := r.in.number(); err != nil { // expiry
		return err
	}
	return r.skipPair()
}

// skipExpiringPair passes a field before its expiry (Valkey 9).
func (r *Reader) skipExpiringPair() error {
	if err := r.skipPair(); err != nil {
		return err
	}
	return r.in.skip(8)
}

// skipNode passes a list's node: a listpack, or an element too large for one.
func (r *Reader) skipNode() error {
	at := r.in.offset()
	container, err := r.in.number()
	if err != nil {
		return err
	}
	if container != nodePlain && container != nodePacked {
		return damage(CodeValue, at, "a list's node has the unknown container %d", container)
	}
	return r.in.skipString()
}

// Tags of an array's elements: AR_RDB_TAG_* of Redis 8.8.
const (
	arrayString      = 0
	arrayInt         = 1
	arrayFloat       = 2
	arraySmallString = 3
)

// skipArray passes an array: count, insert cursor, then index, tag and element.
func (r *Reader) skipArray() error {
	n, err := r.in.count(3)
	if err != nil {
		return err
	}
	if _, _, err := r.in.arrayCursor(); err != nil {
		return err
	}
	for range n {
		if err := r.skipArrayElement(); err != nil {
			return err
		}
	}
	return nil
}

// arrayCursor reads where an array's next insert goes, if it has such a place.
func (in *input) arrayCursor() (has bool, index uint64, err error) {
	at := in.offset()
	flag, err := in.number()
	if err != nil || flag == 0 {
		return false, 0, err
	}
	if flag != 1 {
		return false, 0, damage(CodeValue, at, "an array's insert flag is %d", flag)
	}
	index, err = in.number()
	return true, index, err
}

// skipArrayElement passes one element with its index and tag.
func (r *Reader) skipArrayElement() error {
	if _, err := r.in.number(); err != nil { // index
		return err
	}
	at := r.in.offset()
	tag, err := r.in.number()
	if err != nil {
		return err
	}
	switch tag {
	case arrayString, arraySmallString:
		return r.in.skipString()
	case arrayInt, arrayFloat:
		return r.in.skip(8)
	}
	return damage(CodeValue, at, "an array's element has the unknown tag %d", tag)
}

// skipTemplateArray passes the values of a hash whose fields are a template's.
func (r *Reader) skipTemplateArray() error {
	at := r.in.offset()
	id, err := r.in.number()
	if err != nil {
		return err
	}
	fields, known := r.templates[id]
	if !known {
		return damage(CodeValue, at, "hash template %d was not defined before", id)
	}
	return r.in.skipStrings(fields, 0)
}
