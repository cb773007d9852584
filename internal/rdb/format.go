package rdb

// The newest versions whose every type and opcode this package knows. RDB 12
// to 79 are Redis's; Valkey forked at 80 with a magic of its own.
const (
	maxRedisVersion  = 15 // Redis 8.10
	minValkeyVersion = 80 // Valkey 9.0
	maxValkeyVersion = 81 // Valkey 9.2

	minChecksumVersion = 5 // the first with a CRC64 footer
)

// Opcodes: rdb.h. 242 and 243 differ between the engines.
const (
	opHashTemplate = 242 // Redis 15; in Valkey 81 it is UPDATE
	opKeyMeta      = 243 // Redis 13; in Valkey 80 it is SLOT_IMPORT
	opSlotInfo     = 244
	opFunction     = 245
	opFunctionRC   = 246
	opModuleAux    = 247
	opIdle         = 248
	opFreq         = 249
	opAux          = 250
	opResizeDB     = 251
	opExpireMS     = 252
	opExpire       = 253
	opSelectDB     = 254
	opEOF          = 255

	firstOpcode = opHashTemplate
)

// Value types: rdb.h. 22 and 23 differ between the engines.
const (
	typeString           = 0
	typeList             = 1
	typeSet              = 2
	typeZset             = 3 // scores as text
	typeHash             = 4
	typeZset2            = 5 // scores as binary64
	typeModuleRC         = 6
	typeModule2          = 7
	typeHashZipmap       = 9
	typeListZiplist      = 10
	typeSetIntset        = 11
	typeZsetZiplist      = 12
	typeHashZiplist      = 13
	typeListQuicklist    = 14 // nodes are ziplists
	typeStream1          = 15
	typeHashListpack     = 16
	typeZsetListpack     = 17
	typeListQuicklist2   = 18 // nodes are listpacks or single elements
	typeStream2          = 19
	typeSetListpack      = 20
	typeStream3          = 21
	typeHashMetaRC       = 22 // Redis 7.4 release candidates; in Valkey 80 it is HASH_2
	typeHashListpackExRC = 23 // Redis 7.4 release candidates; in Valkey 81 it is PATH_HASH
	typeHashMeta         = 24
	typeHashListpackEx   = 25
	typeStream4          = 26
	typeStream5          = 27
	typeArray            = 28
	typeTemplateLP       = 29 // only in DUMP payloads
	typeTemplateLPRef    = 30
	typeTemplateArray    = 31 // only in DUMP payloads
	typeTemplateArrayRef = 32
	typeGCRA             = 33 // only in servers built with an experimental switch
)

// What a module's value is made of: rdb.h, RDB_MODULE_OPCODE_*.
const (
	moduleEOF    = 0
	moduleSInt   = 1
	moduleUInt   = 2
	moduleFloat  = 3
	moduleDouble = 4
	moduleString = 5
)

// Family is the kind of a value as commands see it, whatever its encoding.
type Family uint8

// The families. None is what is not a key.
const (
	None Family = iota
	String
	List
	Set
	Zset
	Hash
	Stream
	Module
	Array
	familyCount
)

// String is the word TYPE answers, "module" and "array" included.
func (f Family) String() string {
	names := [familyCount]string{"none", "string", "list", "set", "zset", "hash", "stream", "module", "array"}
	if f >= familyCount {
		return "unknown"
	}
	return names[f]
}

// typeInfo says since which version of each engine a type or an opcode is
// written. Zero: never.
type typeInfo struct {
	family Family
	redis  int
	valkey int
}

// Types of the first format versions are accepted in any: their history is too
// old to hold a file against it.
var types = [...]typeInfo{
	typeString:           {String, 1, 80},
	typeList:             {List, 1, 80},
	typeSet:              {Set, 1, 80},
	typeZset:             {Zset, 1, 80},
	typeHash:             {Hash, 1, 80},
	typeZset2:            {Zset, 8, 80},
	typeModule2:          {Module, 8, 80},
	typeHashZipmap:       {Hash, 1, 80},
	typeListZiplist:      {List, 1, 80},
	typeSetIntset:        {Set, 1, 80},
	typeZsetZiplist:      {Zset, 1, 80},
	typeHashZiplist:      {Hash, 1, 80},
	typeListQuicklist:    {List, 7, 80},
	typeStream1:          {Stream, 9, 80},
	typeHashListpack:     {Hash, 10, 80},
	typeZsetListpack:     {Zset, 10, 80},
	typeListQuicklist2:   {List, 10, 80},
	typeStream2:          {Stream, 10, 80},
	typeSetListpack:      {Set, 11, 80},
	typeStream3:          {Stream, 11, 80},
	typeHashMetaRC:       {Hash, 12, 80},
	typeHashListpackExRC: {Hash, 12, 0},
	typeHashMeta:         {Hash, 12, 0},
	typeHashListpackEx:   {Hash, 12, 0},
	typeStream4:          {Stream, 13, 0},
	typeStream5:          {Stream, 14, 0},
	typeArray:            {Array, 14, 0},
	typeTemplateLPRef:    {Hash, 15, 0},
	typeTemplateArrayRef: {Hash, 15, 0},
	typeGCRA:             {},
}

// whyNot explains the types that are known by name but cannot be read.
var whyNot = map[byte]string{
	typeModuleRC:      "a module value of the Redis 4.0 release candidates, which does not tell its own length",
	typeTemplateLP:    "a self-contained hash template, which belongs in a DUMP payload and not in a dump",
	typeTemplateArray: "a self-contained hash template, which belongs in a DUMP payload and not in a dump",
	typeGCRA:          "an experimental rate limiter, whose layout is not settled",
}

// opcodes says since which version of an engine an opcode is written, by the
// opcode's distance from the first.
var opcodes = [...]typeInfo{
	opHashTemplate - firstOpcode: {redis: 15},
	opKeyMeta - firstOpcode:      {redis: 13, valkey: 80},
	opSlotInfo - firstOpcode:     {redis: 12, valkey: 80},
	opFunction - firstOpcode:     {redis: 10, valkey: 80},
	opFunctionRC - firstOpcode:   {},
	opModuleAux - firstOpcode:    {redis: 9, valkey: 80},
	opIdle - firstOpcode:         {redis: 9, valkey: 80},
	opFreq - firstOpcode:         {redis: 9, valkey: 80},
	opAux - firstOpcode:          {redis: 7, valkey: 80},
	opResizeDB - firstOpcode:     {redis: 7, valkey: 80},
	opExpireMS - firstOpcode:     {redis: 1, valkey: 80},
	opExpire - firstOpcode:       {redis: 1, valkey: 80},
	opSelectDB - firstOpcode:     {redis: 1, valkey: 80},
	opEOF - firstOpcode:          {redis: 1, valkey: 80},
}

// since is the first version of this header's engine that writes it; 0: none.
func (t typeInfo) since(h Header) int {
	if h.valkey() {
		return t.valkey
	}
	return t.redis
}

func (t typeInfo) writtenIn(h Header) bool {
	since := t.since(h)
	return since != 0 && h.Version >= since
}

// familyOf returns the family of a type in a dump of this header, or None.
func (h Header) familyOf(typ byte) Family {
	if int(typ) >= len(types) || !types[typ].writtenIn(h) {
		return None
	}
	return types[typ].family
}

// knowsOpcode tells whether a dump of this header may hold an opcode.
func (h Header) knowsOpcode(op byte) bool { return opcodes[op-firstOpcode].writtenIn(h) }
