package aof

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/slotark/slotark/internal/slot"
)

const (
	// bufferSize is large enough that refills are rare, and small enough for the
	// second-level cache. It also bounds a key whose slot is found.
	bufferSize = 512 << 10
	// maxLine bounds the header of an array or a bulk string: a mark, as many
	// digits as an int64 has, CR LF.
	maxLine = 1 + 19 + 2
	// maxAnnotation is AOF_ANNOTATION_LINE_MAX_LEN of aof.c less the NUL: of a
	// longer line a server takes the rest for a command.
	maxAnnotation = 1023
	// maxArgKept is how much of an argument a record holds.
	maxArgKept = 64 << 10
)

// Options say how commands are read.
type Options struct {
	// KeepArgs is how many arguments of each command a record holds, its name
	// among them. The fewer, the faster.
	KeepArgs int
	// Offset is what the first byte's offset in its file is: the length of the
	// dump before it.
	Offset int64
	// Capture gets the bytes of each record, before Next returns it: in pieces,
	// however long it is. An error of it ends the reading.
	Capture io.Writer
}

// Kind is what a record is.
type Kind uint8

// The kinds of records.
const (
	KindCommand    Kind = iota + 1 // Name, Args, Argc, ...
	KindTimestamp                  // the commands from here on ran at UnixTime or later
	KindAnnotation                 // another line with '#', or one whose time cannot be read
)

// Record is one command or annotation. It and its slices are valid until the
// next call of Next.
type Record struct {
	Kind   Kind
	Offset int64 // of its first byte in the file
	Length int64 // bytes

	Name  []byte // the command as it is written, at most 32 bytes of it
	Known bool   // its keys can be found
	Argc  int64  // arguments, the name among them
	// Args are the first arguments, as many as were asked for, the name among
	// them; of each at most 64 KiB.
	Args          [][]byte
	DB            int  // database it runs in; of a SELECT the one selected
	Slot          int  // of its first key; -1 where it has none or it is not known
	SlotsDiffer   bool // its keys are of several slots
	InTransaction bool // between a MULTI and its EXEC, these included

	UnixTime int64  // seconds, of a KindTimestamp
	Text     []byte // of an annotation, without its line end
}

// Reader yields the commands of one file, or of what follows the dump in it. It
// is for one goroutine.
type Reader struct {
	in   input
	keep int
	err  error // sticky: what Next returned last

	rec     Record
	command *command // of rec
	begun   int64    // offset of the record at hand
	db      int
	inMulti bool
	multiAt int64 // offset of the open MULTI
	end     int64 // behind the last whole record

	slots    slot.Set
	unplaced uint64

	names nameCache
	kept  []byte // memory behind rec.Args
	ends  []int  // of the kept arguments
}

// NewReader returns a reader of the commands that src gives.
func NewReader(src io.Reader, o Options) *Reader {
	r := &Reader{in: newInput(src, o.Offset), keep: o.KeepArgs, end: o.Offset}
	r.in.capture = o.Capture
	return r
}

// Next returns the next record. It returns io.EOF only where a record has just
// ended and no transaction is open. A *Damage says what is wrong with the file;
// any other error is the source's own. Every error is final.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := r.next(); err != nil {
		r.err = err
		return nil, err
	}
	return &r.rec, nil
}

// WholeEnd is where the last whole record ends, as an offset in the file.
func (r *Reader) WholeEnd() int64 { return r.end }

// SafeEnd is what the file can be cut back to: WholeEnd, or where the MULTI of
// a transaction begins that is open there.
func (r *Reader) SafeEnd() int64 {
	if r.inMulti {
		return r.multiAt
	}
	return r.end
}

// Slots are those of all keys seen, but for the unplaced.
func (r *Reader) Slots() slot.Set { return r.slots }

// Unplaced counts the commands whose keys are not, or not all, in Slots:
// unknown ones, and those with a key over 512 KiB.
func (r *Reader) Unplaced() uint64 { return r.unplaced }

// Offset is how many bytes of the file are consumed.
func (r *Reader) Offset() int64 { return r.in.offset() }

func (r *Reader) next() error {
	r.begun = r.in.offset()
	first, err := r.in.peek(1)
	switch {
	case err != nil:
		return r.short(err, "")
	case len(first) == 0 && r.inMulti:
		d := damage(CodeUnfinished, r.multiAt, "the file ends before the EXEC of the MULTI here: %d bytes are of no effect", r.begun-r.multiAt)
		d.Recoverable = true
		return d
	case len(first) == 0:
		return io.EOF
	case first[0] == '*':
		if !r.quickCommand() {
			err = r.readCommand()
		}
		if err == nil && r.command.act != actNone {
			err = r.enact()
		}
	case first[0] == '#':
		err = r.readAnnotation()
	default:
		return r.noCommand(first[0])
	}
	if err != nil {
		return err
	}
	if err := r.in.give(); err != nil {
		return err
	}
	r.end = r.in.offset()
	r.rec.Offset, r.rec.Length = r.begun, r.end-r.begun
	return nil
}

// noCommand says what stands where a command should begin.
func (r *Reader) noCommand(found byte) error {
	head, err := r.in.peek(8)
	if err != nil {
		return r.short(err, "")
	}
	if BeginsDump(head) {
		return damage(CodeFormat, r.begun, "a dump begins here, where only commands can stand")
	}
	if found == 0 {
		return damage(CodeFormat, r.begun, "NUL bytes stand here, as a crash of the machine leaves them, and no command")
	}
	return damage(CodeFormat, r.begun, "%s begins no command and no annotation", quote(head))
}

// BeginsDump tells whether a file that begins with these bytes begins with a
// dump. Eight are enough.
func BeginsDump(head []byte) bool {
	return len(head) >= 5 && string(head[:5]) == "REDIS" || len(head) >= 6 && string(head[:6]) == "VALKEY"
}

// errShort is the end of the source inside a record.
var errShort = errors.New("the file ends inside a record")

// short is the damage of a file that ends inside the record at hand, if that
// is what err says.
func (r *Reader) short(err error, inside string, args ...any) error {
	if err != errShort {
		return err
	}
	inside = fmt.Sprintf(inside, args...)
	d := damage(CodeTruncated, r.begun, "the file ends at byte %d, inside %s, which begins here", r.in.base+int64(r.in.end), inside)
	d.Recoverable = true
	if r.inMulti {
		d.Detail += fmt.Sprintf("; cut it off at byte %d, before the MULTI: a server leaves the transaction open and goes on writing in it", r.multiAt)
	}
	return d
}

// readAnnotation reads a line.
func (r *Reader) readAnnotation() error {
	line, err := r.in.line(maxAnnotation)
	if err != nil {
		return r.short(err, "the annotation")
	}
	if line == nil {
		return damage(CodeFormat, r.begun, "an annotation of more than %d bytes: a server takes the rest for a command", maxAnnotation)
	}
	r.rec = Record{Kind: KindAnnotation, DB: r.db, Slot: -1, InTransaction: r.inMulti}
	text := line[:len(line)-1]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
		if seconds, ok := timestamp(text); ok {
			r.rec.Kind, r.rec.UnixTime = KindTimestamp, seconds
		}
	}
	r.rec.Text = text
	return nil
}

// timestamp reads "#TS:1700000000".
func timestamp(text []byte) (seconds int64, ok bool) {
	const mark = "#TS:"
	if len(text) <= len(mark) || string(text[:len(mark)]) != mark || text[len(mark)] < '0' || text[len(mark)] > '9' {
		return 0, false
	}
	seconds, err := strconv.ParseInt(string(text[len(mark):]), 10, 64)
	return seconds, err == nil
}

// readCommand reads an array of bulk strings, passes over what nobody asked
// for, and does what the command does to the reading of the next.
func (r *Reader) readCommand() error {
	argc, err := r.in.number('*', r.begun)
	if err != nil {
		return r.short(err, "the command")
	}
	if argc < 1 || argc > math.MaxInt32 {
		return damage(CodeLength, r.begun, "a command of %d arguments", argc)
	}
	r.rec = Record{Kind: KindCommand, Argc: argc, DB: r.db, Slot: -1, InTransaction: r.inMulti, Args: r.rec.Args[:0]}
	r.kept, r.ends = r.kept[:0], r.ends[:0]
	size, err := r.readName()
	if err != nil {
		return r.short(err, "the command")
	}
	cursor := r.command.keys.cursor(argc)
	placed := r.command != unknown
	if err := r.finishArg(0, size); err != nil {
		return r.short(err, "the command %s", quote(r.rec.Name))
	}
	for i := int64(1); i < argc; i++ {
		size, err := r.in.number('$', r.begun)
		if err != nil {
			return r.short(err, "argument %d of %d of the command %s", i+1, argc, quote(r.rec.Name))
		}
		switch {
		case i == cursor.next:
			placed = r.addKey(size) && placed
			cursor.advance()
		case i == cursor.numkeys:
			text, err := r.in.peek(min(size, maxLine))
			placed = err == nil && cursor.count(i, text, argc) && placed
		case i == 1 && r.command.act == actSelect:
			if err := r.selectDB(size); err != nil {
				return r.short(err, "the command %s", quote(r.rec.Name))
			}
		}
		if err := r.finishArg(i, size); err != nil {
			return r.short(err, "argument %d of %d, of %d bytes, of the command %s", i+1, argc, size, quote(r.rec.Name))
		}
	}
	if !placed {
		r.unplaced++
	}
	r.keepArgs()
	return nil
}

// readName reads the header of the first argument and looks up what it names.
// It consumes nothing of the name itself.
func (r *Reader) readName() (size int64, err error) {
	if size, err = r.in.number('$', r.begun); err != nil {
		return 0, err
	}
	name, err := r.in.peek(min(size, maxNameLen+1))
	if err != nil {
		return 0, err
	}
	if int64(len(name)) < min(size, maxNameLen+1) {
		return 0, errShort
	}
	seen := r.names.find(name)
	r.command = seen.command
	r.rec.Known, r.rec.Name = r.command != unknown, seen.name[:min(seen.length, maxNameLen)]
	return size, nil
}

// finishArg consumes an argument and its line end, and keeps what was asked for.
func (r *Reader) finishArg(i, size int64) error {
	if i < int64(r.keep) {
		piece, err := r.in.peek(min(size, maxArgKept))
		if err != nil {
			return err
		}
		r.kept = append(r.kept, piece...)
		r.ends = append(r.ends, len(r.kept))
	}
	return r.in.skip(size, r.begun)
}

// keepArgs makes the record's arguments, now that their memory stays put.
func (r *Reader) keepArgs() {
	begin := 0
	for _, end := range r.ends {
		r.rec.Args = append(r.rec.Args, r.kept[begin:end:end])
		begin = end
	}
}

// addKey finds the slot of the key that lies ahead.
func (r *Reader) addKey(size int64) bool {
	if size > bufferSize {
		return false
	}
	key, err := r.in.peek(size)
	if err != nil || int64(len(key)) < size {
		return false // what consumes it will say so
	}
	n := slot.Of(key)
	r.slots.Add(n)
	if r.rec.Slot < 0 {
		r.rec.Slot = n
	}
	r.rec.SlotsDiffer = r.rec.SlotsDiffer || n != r.rec.Slot
	return true
}

// selectDB reads the database that lies ahead.
func (r *Reader) selectDB(size int64) error {
	text, err := r.in.peek(min(size, maxLine))
	if err != nil {
		return err
	}
	if int64(len(text)) < min(size, maxLine) {
		return errShort
	}
	db, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return damage(CodeDB, r.begun, "SELECT of %s, which is no database", quote(text))
	}
	r.rec.DB = int(db)
	return nil
}

// enact does what a command does to those after it.
func (r *Reader) enact() error {
	switch r.command.act {
	case actSelect:
		if r.rec.Argc != 2 {
			return damage(CodeDB, r.begun, "SELECT with %d arguments", r.rec.Argc-1)
		}
		r.db = r.rec.DB
	case actMulti:
		if r.inMulti {
			return damage(CodeTransaction, r.begun, "MULTI within the transaction begun at byte %d", r.multiAt)
		}
		r.inMulti, r.multiAt, r.rec.InTransaction = true, r.begun, true
	case actExec:
		if !r.inMulti {
			return damage(CodeTransaction, r.begun, "EXEC, and no transaction has begun")
		}
		r.inMulti = false
	}
	return nil
}
