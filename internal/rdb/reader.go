package rdb

import (
	"io"

	"github.com/slotark/slotark/internal/slot"
)

// Options say how a dump is read.
type Options struct {
	// Size is how many bytes the source will give; <= 0 where that is unknown.
	// Where it is known, a length that cannot fit is damage at once.
	Size int64
	// Capture receives the raw bytes of each key's value, without its type
	// byte: what DUMP's payload holds after its type byte. It is written to in
	// pieces, all of a value's before Next returns its record.
	Capture io.Writer
	// Wanted is asked before each key's value is read, as View is: Capture gets
	// the values of the keys for which it returns true. nil: of all.
	Wanted func(*Record) bool
	// Deep asks for values to be unpacked and their structure to be checked, as
	// the server does under sanitize-dump-payload, instead of passed over.
	Deep bool
	// Digest asks for each key's [Digest]. It implies Deep.
	Digest bool
	// View is asked before each key's value is read, with all of the record but
	// what reading the value gives. Where it returns a function, the value is
	// unpacked, each [Element] of it is handed to that function before Next
	// returns the record, and the record has its Digest. An error of the function
	// ends the reading.
	View func(*Record) func(*Element) error
}

// Header is the first nine bytes of a dump.
type Header struct {
	Engine  string // "redis" or "valkey", by the magic: Valkey up to 8.1 writes Redis's
	Version int    // of the format: 1-15 redis, 80-81 valkey
}

func (h Header) valkey() bool { return h.Engine == "valkey" }

// Kind is what a record is.
type Kind uint8

// The kinds of records.
const (
	KindKey          Kind = iota + 1 // a key with its value
	KindAux                          // a named fact: Name, Value
	KindFunction                     // a library of functions: Value is its code
	KindSelectDB                     // the following keys belong to DB
	KindResizeDB                     // how many there will be: Keys, Expiring
	KindSlotInfo                     // the following keys belong to Slot: Keys, Expiring
	KindSlotImport                   // a slot migration under way: Name is the job, Slots
	KindModuleAux                    // a module's own data: Name is the module
	KindHashTemplate                 // names of fields that later hashes refer to
)

// Record is one record of a dump. It and its slices are valid until the next
// call of Next.
type Record struct {
	Kind   Kind
	Type   byte   // RDB value type
	Family Family // what the type is an encoding of

	// What is said of a key, and whether it is. These bytes stand together since
	// millions of records pass through memory.
	HasExpiry, HasIdle, HasFreq bool
	Freq                        uint8 // logarithmic use counter, under an LFU policy
	HasMeta                     bool  // modules attached metadata to the key (Redis 8.6)
	ExpireAt                    int64 // Unix milliseconds
	IdleSeconds                 int64 // since last use, under an LRU policy

	Offset int64 // of the record's first byte in the dump, its expiry included

	DB   int    // database number
	Slot int    // hash slot of Key; of a KindSlotInfo
	Key  []byte // name

	Digest Digest // of the key, where asked for

	ValueOffset int64 // of the value's first byte in the dump
	ValueLen    int64 // bytes

	Name, Value    []byte
	Keys, Expiring uint64
	Slots          *slot.Set // of a KindSlotImport; a set of its own
}

// Portable tells whether a key's captured value alone, as [DumpPayload] wraps
// it, makes the key: a hash that refers to a template of its dump does not,
// nor does a key with metadata of modules.
func (rec *Record) Portable() bool {
	return rec.Type != typeTemplateLPRef && rec.Type != typeTemplateArrayRef && !rec.HasMeta
}

// Reader yields the records of one dump. It is for one goroutine.
type Reader struct {
	in     *input
	header Header
	begun  bool
	err    error // sticky: what Next returned last

	rec       *Record
	key       []byte // memory behind rec.Key
	name      []byte // memory behind rec.Name
	value     []byte // memory behind rec.Value
	db        int
	slots     slotSection
	templates map[uint64]uint64 // id → number of fields
	digester  *digester         // nil: values are passed over
	deep      bool              // not only those that are viewed
	wanted    func(*Record) bool
	view      func(*Record) func(*Element) error

	unverified bool
	crc        uint64
}

// NewReader returns a reader of the dump that src gives. It reads ahead: what
// src gives after the dump is part of what is judged.
func NewReader(src io.Reader, o Options) *Reader {
	in := newInput(src, o.Size)
	in.capture = o.Capture
	r := &Reader{in: in, rec: new(Record), slots: slotSection{slot: -1}}
	r.deep, r.view, r.wanted = o.Deep || o.Digest, o.View, o.Wanted
	if r.deep || o.View != nil {
		r.digester = newDigester(r, o.Digest || o.View != nil)
	}
	return r
}

// Next returns the next record. It returns io.EOF only after the whole dump is
// proven whole: end opcode, footer, checksum, and nothing after it. A *Damage
// says what is wrong with the dump; any other error is the source's or the
// capture's own. Every error is final.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := r.next(); err != nil {
		r.err = err
		return nil, err
	}
	return r.rec, nil
}

// Header is the dump's header, once Next has returned for the first time.
func (r *Reader) Header() Header { return r.header }

// CRC64 is the dump's checksum as its bytes give it, after io.EOF.
func (r *Reader) CRC64() uint64 { return r.crc }

// ChecksumDisabled tells, after io.EOF, that the dump carries no checksum: the
// server ran with rdbchecksum no, or is older than Redis 2.6. Such a dump is
// whole in structure and unverifiable in content.
func (r *Reader) ChecksumDisabled() bool { return r.unverified }

// Offset is how many bytes of the dump are consumed.
func (r *Reader) Offset() int64 { return r.in.offset() }

func (r *Reader) next() error {
	if !r.begun {
		if err := r.readHeader(); err != nil {
			return err
		}
		r.begun = true
	}
	*r.rec = Record{Offset: r.in.offset(), DB: r.db}
	// Attributes (expiry, idle time, ...) stand before the key they belong to.
	for attributed := false; ; attributed = true {
		at := r.in.offset()
		code, err := r.in.byte()
		if err != nil {
			return err
		}
		if code < firstOpcode {
			return r.readKey(code, at)
		}
		if !r.header.knowsOpcode(code) {
			return r.unknownOpcode(code, at)
		}
		isAttribute, err := r.readAttribute(code, at)
		if err != nil {
			return err
		}
		if isAttribute {
			continue
		}
		if attributed {
			return damage(CodeOpcode, at, "opcode %d stands where a key is expected: an expiry or another attribute precedes it", code)
		}
		return r.readOpcode(code, at)
	}
}

// HeaderBytes is how many bytes of a dump stand before its first record: the magic.
const HeaderBytes = 9

// readHeader reads "REDIS" and four digits, or "VALKEY" and three.
func (r *Reader) readHeader() error {
	raw, err := r.in.fixed(HeaderBytes)
	if err != nil {
		return err
	}
	magic := string(raw)
	digits := magic[5:]
	switch {
	case magic[:5] == "REDIS":
		r.header.Engine = "redis"
	case magic[:6] == "VALKEY":
		r.header.Engine, digits = "valkey", magic[6:]
	case magic[:4] == "VKCS":
		return damage(CodeMagic, 0, "a dump inside Valkey's compressed envelope (VKCS) cannot be read: save it with rdb compression of the stream off")
	default:
		return damage(CodeMagic, 0, "%q begins no dump", magic)
	}
	// strconv would take a sign.
	version := 0
	for _, digit := range []byte(digits) {
		if digit < '0' || digit > '9' {
			return damage(CodeMagic, 0, "%q carries no version", magic)
		}
		version = version*10 + int(digit-'0')
	}
	lowest, highest := 1, maxRedisVersion
	if r.header.valkey() {
		lowest, highest = minValkeyVersion, maxValkeyVersion
	}
	if version < lowest || version > highest {
		return damage(CodeVersion, 0, "%s format version %d is unknown: %d to %d can be read", r.header.Engine, version, lowest, highest)
	}
	r.header.Version = version
	return nil
}

// readKey reads a key and passes over its value.
func (r *Reader) readKey(typ byte, at int64) error {
	rec := r.rec
	if rec.Family = r.header.familyOf(typ); rec.Family == None {
		return r.unknownType(typ, at)
	}
	var err error
	if r.key, err = r.in.appendString(r.key[:0], maxString); err != nil {
		return err
	}
	rec.Kind, rec.Type, rec.Key = KindKey, typ, r.key
	// The slot is held against the announced one before the value is read: a
	// value of gigabytes in the wrong place is found at its first byte.
	rec.Slot = slot.Of(r.key)
	if err := r.slots.add(rec); err != nil {
		return err
	}
	rec.ValueOffset = r.in.offset()
	if r.wanted == nil || r.wanted(rec) {
		r.in.beginCapture()
	}
	if show := r.viewOf(rec); show != nil {
		err = r.viewValue(rec, show)
	} else if r.deep {
		rec.Digest, err = r.digester.value(rec)
	} else {
		err = r.skipValue(typ)
	}
	if err != nil {
		return err
	}
	rec.ValueLen = r.in.offset() - rec.ValueOffset
	return r.in.endCapture()
}

// unknownType says why a type is not read, as well as it is known.
func (r *Reader) unknownType(typ byte, at int64) error {
	if why, ok := whyNot[typ]; ok {
		return damage(CodeType, at, "value type %d is %s", typ, why)
	}
	return damage(CodeType, at, "value type %d is unknown in %s format version %d", typ, r.header.Engine, r.header.Version)
}

// unknownOpcode says why an opcode is not read, as well as it is known.
func (r *Reader) unknownOpcode(op byte, at int64) error {
	if op == opFunctionRC {
		return damage(CodeOpcode, at, "opcode %d is a function of the Redis 7.0 release candidates, which no release loads", op)
	}
	if op == opHashTemplate && r.header.valkey() && r.header.Version >= maxValkeyVersion {
		return damage(CodeOpcode, at, "opcode %d is a command of a forkless save: the keys before it are not yet what the dump stands for", op)
	}
	return damage(CodeOpcode, at, "opcode %d is unknown in %s format version %d", op, r.header.Engine, r.header.Version)
}

// readFooter checks what follows the end opcode: the checksum, then nothing.
func (r *Reader) readFooter() error {
	// The end opcode is part of what is summed, the footer is not.
	computed, err := r.in.checksum()
	if err != nil {
		return err
	}
	r.crc, r.unverified = computed, true
	at := r.in.offset()
	if r.header.Version >= minChecksumVersion {
		stored, err := r.in.uint64()
		if err != nil {
			return err
		}
		if stored != 0 && stored != computed {
			return damage(CodeCRC64, at, "the file says %016x, its bytes give %016x", stored, computed)
		}
		r.unverified = stored == 0
	}
	// A second dump, or the tail of a longer one that was overwritten, would
	// otherwise go unseen: the server itself stops at the footer.
	ended, err := r.in.atEnd()
	if err != nil {
		return err
	}
	if !ended {
		return damage(CodeTrailing, r.in.offset(), "bytes follow the footer")
	}
	if size := r.in.size; size > 0 && size != r.in.offset() {
		return damage(CodeTruncated, r.in.offset(), "the dump ends here, %d bytes before its announced size", size-r.in.offset())
	}
	return io.EOF
}
