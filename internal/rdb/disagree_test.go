package rdb_test

import "regexp"

// disagreement is a class of dumps that one side refuses and the other passes.
type disagreement struct {
	class   string
	finding *regexp.Regexp // what the side that refuses says
	why     string
}

// weSee is what this package refuses and the servers pass, in redis-check-rdb and
// when they load. Its findings are "code: detail".
var weSee = []disagreement{
	{"slots", regexp.MustCompile(`^(slot-info|slot-range|slot-owner): `),
		"To the tool what a dump announces of slots is a hint: it computes no key's slot and counts no slot's keys."},
	{"trailing", regexp.MustCompile(`^trailing: `),
		"The tool stops at the first end opcode with a true checksum, or with one of zero, and does not look behind it."},
	{"number written as a string", regexp.MustCompile(`^length: (byte 0x[c-f]. begins no length|a string's encoding stands where a number is expected)`),
		"Where a number is expected the server takes the low six bits of a string's encoding for it (rdbLoadLen without isencoded)."},
	{"empty compressed string", regexp.MustCompile(`^lzf: \d+ compressed bytes cannot hold 0$`),
		"A compressed string of zero bytes: the server allocates nothing and may pass whatever the decompressor says of it."},
	{"score", regexp.MustCompile(`^value: .* is no score$`),
		"The server takes of a packed score what strtod understands of its beginning, 1 of 1*5 and 0 of nan-like text, and loads that."},
	{"back length", regexp.MustCompile(`^value: .*is not followed by its length$`),
		"The server decodes a back length from its end, so one with a spare continuation bit before a zero byte is the same number to it."},
	{"stream node count", regexp.MustCompile(`^value: a stream's node: a listpack of \d+ elements says it has \d+$`),
		"The server walks a stream's node by the counts in its entries and ignores that of the listpack (streamValidateListpackIntegrity)."},
	{"stream entries deleted", regexp.MustCompile(`^value: a stream's node: it announces other numbers of entries than it has$`),
		"The server walks as many entries as a node's counts of live and deleted ones add up to, and does not count which carry the mark of a deleted one (streamValidateListpackIntegrity)."},
	{"stream length", regexp.MustCompile(`^value: a stream of \d+ entries says it has \d+$`),
		"Valkey 9.1 holds a stream's length against its entries (\"Stream length inconsistent with the number of valid entries\"), older servers and Redis do not."},
	{"order", regexp.MustCompile(`^value: .*an id is not greater than the one before it$`),
		"The server writes a stream's nodes, entries and pending entries in order, and when it loads them asks only that none comes twice."},
	{"field expiry", regexp.MustCompile(`^value: no field expires at `),
		"The server holds a field's expiry against its limits in an unpacked hash, and takes a packed one's as it is."},
	{"opcode or type of a later version", regexp.MustCompile(`^(opcode: opcode \d+ is unknown in|type: value type \d+ is unknown in)`),
		"The tool takes all it knows in a dump of any version; no server of the dump's version writes it."},
	{"attribute out of place", regexp.MustCompile(`^opcode: opcode \d+ stands (where a key is expected|twice)`),
		"The tool lets an expiry, idle time or frequency wait for a later key, whatever stands between; no server writes that."},
}

// toolPasses is what redis-check-rdb alone passes: a server refuses it.
var toolPasses = []disagreement{
	{"module", regexp.MustCompile(`^module: `),
		"The tool passes over codes it does not know inside a module's value; the module would not."},
	{"database", regexp.MustCompile(`^db: `),
		"The tool selects any database number; the server ends at one above its own databases."},
	{"duplicate key", regexp.MustCompile(`^duplicate: key `),
		"The tool loads into no database, so it cannot see a name twice; the server would end (\"duplicated key\")."},
}

// serverPasses is what a loading server alone passes: redis-check-rdb refuses it.
var serverPasses = []disagreement{
	{"empty value", regexp.MustCompile(`^value: the [a-z]+ .* is empty$`),
		"The server leaves out a key without elements and loads the rest (RDB_LOAD_ERR_EMPTY_KEY)."},
}

// theySee is what the servers refuse and this package passes. What belongs
// to the data would be a gap of this package, so none of that stands here.
var theySee = []disagreement{
	{"the server's program crashed or hung", regexp.MustCompile(`^(Server crash|no answer in time|signal: |exit status \d+: )`),
		"What it fell over is no finding."},
}

// serverRefuses is what a loading server refuses and redis-check-rdb passes, by
// its settings and not by the format.
var serverRefuses = []disagreement{
	{"databases", regexp.MustCompile(`configured to handle more than \d+ databases`),
		"The server has fewer databases than the dump selects."},
	{"module data", regexp.MustCompile(`(no matching module|module data I can't load|module .* not loaded|aux field .* module)`),
		"The server has not loaded the module whose data the dump holds."},
	{"the server crashed", regexp.MustCompile(`BUG REPORT|crashed by signal|; signal: (segmentation|aborted)`),
		"What it fell over is no finding."},
	{"function", regexp.MustCompile(`^Failed loading library|; Failed loading library`),
		"The server compiles a library's code; to this package it is text."},
}
