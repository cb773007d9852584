package rdb_test

import (
	"regexp"

	"github.com/slotark/slotark/internal/servertest"
)

// weSee is what this package refuses and the servers pass, in redis-check-rdb and
// when they load. Its findings are "code: detail".
var weSee = []servertest.Disagreement{
	{Class: "slots", Finding: regexp.MustCompile(`^(slot-info|slot-range|slot-owner): `),
		Why: "To the tool what a dump announces of slots is a hint: it computes no key's slot and counts no slot's keys."},
	{Class: "trailing", Finding: regexp.MustCompile(`^trailing: `),
		Why: "The tool stops at the first end opcode with a true checksum, or with one of zero, and does not look behind it."},
	{Class: "number written as a string", Finding: regexp.MustCompile(`^length: (byte 0x[c-f]. begins no length|a string's encoding stands where a number is expected)`),
		Why: "Where a number is expected the server takes the low six bits of a string's encoding for it (rdbLoadLen without isencoded)."},
	{Class: "empty compressed string", Finding: regexp.MustCompile(`^lzf: \d+ compressed bytes cannot hold 0$`),
		Why: "A compressed string of zero bytes: the server allocates nothing and may pass whatever the decompressor says of it."},
	{Class: "score", Finding: regexp.MustCompile(`^value: .* is no score$`),
		Why: "The server takes of a packed score what strtod understands of its beginning, 1 of 1*5 and 0 of nan-like text, and loads that."},
	{Class: "back length", Finding: regexp.MustCompile(`^value: .*is not followed by its length$`),
		Why: "The server decodes a back length from its end, so one with a spare continuation bit before a zero byte is the same number to it."},
	{Class: "stream node count", Finding: regexp.MustCompile(`^value: a stream's node: a listpack of \d+ elements says it has \d+$`),
		Why: "The server walks a stream's node by the counts in its entries and ignores that of the listpack (streamValidateListpackIntegrity)."},
	{Class: "stream entries deleted", Finding: regexp.MustCompile(`^value: a stream's node: it announces other numbers of entries than it has$`),
		Why: "The server walks as many entries as a node's counts of live and deleted ones add up to, and does not count which carry the mark of a deleted one (streamValidateListpackIntegrity)."},
	{Class: "stream length", Finding: regexp.MustCompile(`^value: a stream of \d+ entries says it has \d+$`),
		Why: "Valkey 9.1 holds a stream's length against its entries (\"Stream length inconsistent with the number of valid entries\"), older servers and Redis do not."},
	{Class: "order", Finding: regexp.MustCompile(`^value: .*an id is not greater than the one before it$`),
		Why: "The server writes a stream's nodes, entries and pending entries in order, and when it loads them asks only that none comes twice."},
	{Class: "field expiry", Finding: regexp.MustCompile(`^value: no field expires at `),
		Why: "The server holds a field's expiry against its limits in an unpacked hash, and takes a packed one's as it is."},
	{Class: "opcode or type of a later version", Finding: regexp.MustCompile(`^(opcode: opcode \d+ is unknown in|type: value type \d+ is unknown in)`),
		Why: "The tool takes all it knows in a dump of any version; no server of the dump's version writes it."},
	{Class: "attribute out of place", Finding: regexp.MustCompile(`^opcode: opcode \d+ stands (where a key is expected|twice)`),
		Why: "The tool lets an expiry, idle time or frequency wait for a later key, whatever stands between; no server writes that."},
}

// toolPasses is what redis-check-rdb alone passes: a server refuses it.
var toolPasses = []servertest.Disagreement{
	{Class: "module", Finding: regexp.MustCompile(`^module: `),
		Why: "The tool passes over codes it does not know inside a module's value; the module would not."},
	{Class: "database", Finding: regexp.MustCompile(`^db: `),
		Why: "The tool selects any database number; the server ends at one above its own databases."},
	{Class: "duplicate key", Finding: regexp.MustCompile(`^duplicate: key `),
		Why: "The tool loads into no database, so it cannot see a name twice; the server would end (\"duplicated key\")."},
}

// serverPasses is what a loading server alone passes: redis-check-rdb refuses it.
var serverPasses = []servertest.Disagreement{
	{Class: "empty value", Finding: regexp.MustCompile(`^value: the [a-z]+ .* is empty$`),
		Why: "The server leaves out a key without elements and loads the rest (RDB_LOAD_ERR_EMPTY_KEY)."},
}

// theySee is what the servers refuse and this package passes. What belongs
// to the data would be a gap of this package, so none of that stands here.
var theySee = []servertest.Disagreement{
	{Class: "the server's program crashed or hung", Finding: regexp.MustCompile(`^(Server crash|no answer in time|signal: |exit status \d+: )`),
		Why: "What it fell over is no finding."},
}

// serverRefuses is what a loading server refuses and redis-check-rdb passes, by
// its settings and not by the format.
var serverRefuses = []servertest.Disagreement{
	{Class: "databases", Finding: regexp.MustCompile(`configured to handle more than \d+ databases`),
		Why: "The server has fewer databases than the dump selects."},
	{Class: "module data", Finding: regexp.MustCompile(`(no matching module|module data I can't load|module .* not loaded|aux field .* module)`),
		Why: "The server has not loaded the module whose data the dump holds."},
	{Class: "the server crashed", Finding: regexp.MustCompile(`BUG REPORT|crashed by signal|; signal: (segmentation|aborted)`),
		Why: "What it fell over is no finding."},
	{Class: "function", Finding: regexp.MustCompile(`^Failed loading library|; Failed loading library`),
		Why: "The server compiles a library's code; to this package it is text."},
}
