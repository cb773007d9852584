package rdb

import "fmt"

// ElementKind says what of a value an [Element] is.
type ElementKind uint8

// The kinds of elements, and which fields of an [Element] each has.
const (
	ElementString ElementKind = iota + 1 // a string key's value: Text
	ElementList                          // of a list, head first: Text
	ElementMember                        // of a set: Text
	ElementScored                        // of a sorted set: Text, Float is its score
	ElementField                         // of a hash: Text, Value, Time is its expiry (0: none)

	// A stream's entries come first, then its state, then group after group,
	// each with what is pending in it and then its consumers, each with what
	// it holds of that.
	ElementEntry       // ID, Pairs
	ElementStreamState // ID is the last one, Deleted, Added, Count entries
	ElementGroup       // Group, ID is the last one delivered
	ElementPending     // Group, ID, Time of the last delivery, Count deliveries
	ElementConsumer    // Group, Consumer
	ElementHeld        // Group, Consumer, ID of a pending entry
	ElementReleased    // Group, ID of a pending entry that nobody holds (Redis 8.8)

	// An array's cursor, if it has one, comes before its elements.
	ElementCursor  // Index where the next insert goes
	ElementIndexed // of an array: Index, Text
	ElementFloat   // of an array: Index, Float

	// A module's value is what it says of itself.
	ElementModule       // Text is the module type's name, Index its encoding's version
	ElementModuleInt    // Index is the number in two's complement
	ElementModuleUint   // Index
	ElementModuleFloat  // Float, of 32 bits
	ElementModuleDouble // Float
	ElementModuleString // Text
)

// PieceBytes is the size above which an element may come in pieces.
const PieceBytes = 64 << 10

// Element is one element of a value as commands see it, whatever its encoding.
// It and its slices are valid until the function it is handed to returns.
//
// An element of more than [PieceBytes] may come in pieces, all but the last of
// which have More: its Text is that of all pieces together, and so is its
// Value. Text is whole as soon as Value is not nil or More is false. What
// stands behind the texts in the file (Float, Time) is only in the last piece.
// What a packed node holds lies in memory anyway and may come whole, and so do
// entries, groups and consumers of streams always.
//
// What a digest leaves out (DIGEST.md) a view leaves out too: order where it
// means nothing is the file's, and there is no IDLE or FREQ, no time when a
// consumer was seen or active, no count of what a group has read.
type Element struct {
	Kind ElementKind
	More bool // the element goes on in the next call

	Text, Value     []byte
	Pairs           [][]byte // fields and values by turns
	Group, Consumer []byte
	ID, Deleted     StreamID // Deleted: the greatest one ever deleted
	Time            int64    // Unix milliseconds
	Count, Added    uint64   // Added: entries ever added
	Index           uint64
	Float           float64
}

// StreamID is the id of a stream's entry.
type StreamID struct{ MS, Seq uint64 }

// String is the id as commands write it.
func (id StreamID) String() string { return fmt.Sprintf("%d-%d", id.MS, id.Seq) }

// typeNames are the names of value types: rdb.h, without RDB_TYPE_.
var typeNames = [...]string{
	typeString: "string", typeList: "list", typeSet: "set", typeZset: "zset", typeHash: "hash",
	typeZset2: "zset_2", typeModule2: "module_2", typeHashZipmap: "hash_zipmap",
	typeListZiplist: "list_ziplist", typeSetIntset: "set_intset", typeZsetZiplist: "zset_ziplist",
	typeHashZiplist: "hash_ziplist", typeListQuicklist: "list_quicklist", typeStream1: "stream_listpacks",
	typeHashListpack: "hash_listpack", typeZsetListpack: "zset_listpack", typeListQuicklist2: "list_quicklist_2",
	typeStream2: "stream_listpacks_2", typeSetListpack: "set_listpack", typeStream3: "stream_listpacks_3",
	typeHashMetaRC: "hash_metadata_pre_ga", typeHashListpackExRC: "hash_listpack_ex_pre_ga",
	typeHashMeta: "hash_metadata", typeHashListpackEx: "hash_listpack_ex",
	typeStream4: "stream_listpacks_4", typeStream5: "stream_listpacks_5", typeArray: "array",
	typeTemplateLPRef: "hash_tmpl_lp_ref", typeTemplateArrayRef: "hash_tmpl_array_ref",
}

// TypeName is what the servers' sources call a value type in a dump of this
// header, in lower case: "hash_listpack".
func (h Header) TypeName(typ byte) string {
	if typ == typeHashMetaRC && h.valkey() {
		return "hash_2"
	}
	if int(typ) < len(typeNames) {
		return typeNames[typ]
	}
	return ""
}

// viewOf asks whether a key's value is to be shown; nil: it is not.
func (r *Reader) viewOf(rec *Record) func(*Element) error {
	if r.view == nil {
		return nil
	}
	return r.view(rec)
}

// viewValue consumes the value of the key in rec and shows it. An error of what
// it is shown to stops the showing at once; the value is read to its end.
func (r *Reader) viewValue(rec *Record, show func(*Element) error) (err error) {
	v := &viewer{show: show}
	r.digester.hash.view = v
	rec.Digest, err = r.digester.value(rec)
	r.digester.hash.view = nil
	if err == nil {
		err = v.err
	}
	return err
}
