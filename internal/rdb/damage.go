package rdb

import "fmt"

// The codes of [Damage]. They are part of what verify reports, so they never
// change their meaning.
const (
	CodeMagic     = "magic"      // does not begin like a dump
	CodeVersion   = "version"    // a format version this package does not know
	CodeTruncated = "truncated"  // ends, or would have to end, before its footer
	CodeLength    = "length"     // a length or count that cannot be
	CodeType      = "type"       // a value type unknown in this version
	CodeOpcode    = "opcode"     // an opcode unknown in this version, or out of place
	CodeLZF       = "lzf"        // a compressed string that cannot be decompressed
	CodeCRC64     = "crc64"      // the footer's checksum is not that of the bytes
	CodeTrailing  = "trailing"   // bytes after the footer
	CodeDB        = "db"         // a database number that cannot be
	CodeSlotRange = "slot-range" // a slot above 16383
	CodeSlotOwner = "slot-owner" // a key in a slot its shard does not own
	CodeSlotInfo  = "slot-info"  // a slot's announced counts are not those of its keys
	CodeDuplicate = "duplicate"  // a name that stands twice in a database, or a member in a value
	CodeModule    = "module"     // a module's value that is not self-describing
	CodeValue     = "value"      // a value whose parts do not fit together
)

// Damage is one thing wrong with a dump. It is an error; errors.As finds it.
// Reading stops at the first.
type Damage struct {
	Code   string // one of the Code constants
	Offset int64  // of the byte in the dump where it shows
	Detail string // what was expected and what is there, for a person
}

// Error reads "crc64 at byte 776381147: the file says 5d0e…, its bytes give 77a2…".
func (d *Damage) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", d.Code, d.Offset, d.Detail)
}

func damage(code string, offset int64, format string, args ...any) error {
	return &Damage{Code: code, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
