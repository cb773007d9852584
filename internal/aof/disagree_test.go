package aof_test

import (
	"regexp"

	"github.com/slotark/slotark/internal/servertest"
)

var (
	// laterDump is what a tool says of a dump whose version it does not know.
	laterDump = regexp.MustCompile(`Can't handle RDB format version`)
	// unknownMagic is what it says of a dump that begins with VALKEY: no tool
	// knows that for one, that of Valkey 9.1 no more than the others. So it finds
	// the sets of its own server broken, which that server loads.
	unknownMagic = regexp.MustCompile(`AOF \S*appendonly\.aof\S* format error\nAOF analyzed: filename=\S+, size=\d+, ok_up_to=0,`)
)

// weSee is what this package refuses and redis-check-aof passes. Its findings
// are "code: detail".
var weSee = []servertest.Disagreement{
	{Class: "annotation cut off", Finding: regexp.MustCompile(`^truncated: .*inside the annotation`),
		Why: "The tool passes over an annotation that the file's end cuts off. A server goes on writing in that line."},
	{Class: "number with a sign, blanks or nothing", Finding: regexp.MustCompile(`^format: "[*$]([-+ ]|\\[tnvfr]|\\x0[bc])`),
		Why: "The tool reads numbers by strtol. No server writes them so."},
	{Class: "command of nothing", Finding: regexp.MustCompile(`^length: a command of 0 arguments`),
		Why: "The tool takes a command of no arguments, which no server loads."},
	{Class: "database", Finding: regexp.MustCompile(`^db: `),
		Why: "The tool does not look at the database of a SELECT."},
	{Class: "empty base", Finding: regexp.MustCompile(`^empty: `),
		Why: "The tool passes over an empty base, as a server does, which then lacks all that the base held."},
	{Class: "empty manifest", Finding: regexp.MustCompile(`^manifest-empty: the manifest is empty`),
		Why: "The tool takes an empty manifest for an empty file of commands. No server starts with it."},
	{Class: "nothing loaded", Finding: regexp.MustCompile(`^manifest-empty: none of its`),
		Why: "The tool has nothing to check where a manifest names only history. A server starts with no data."},
	{Class: "loaded twice", Finding: regexp.MustCompile(`^manifest-repeated: `),
		Why: "The tool reads the file twice. A server runs its commands twice."},
}

// theySee is what redis-check-aof refuses and this package passes.
var theySee = []servertest.Disagreement{
	{Class: "manifest not known as one", Finding: regexp.MustCompile(`^Start checking Old-Style AOF: .*appendonly\.aof\.manifest`),
		Why: "The tool knows a manifest only by a line that begins with file, in small letters and without quotes; servers know it by its name."},
	{Class: "the tool crashed or hung", Finding: regexp.MustCompile(`no answer in time|signal: `),
		Why: "What the tool fell over is no finding of its."},
}

// serverSees is why a server does not start with what is loadable here.
var serverSees = []servertest.Disagreement{
	{Class: "unknown command", Finding: regexp.MustCompile(`Unknown command`),
		Why: "A command that this server does not know is a warning here, for a newer one may."},
}

// serverPasses is why a server starts with what is an error here that it should
// not get over.
var serverPasses = []servertest.Disagreement{
	{Class: "behind a number or an argument", Finding: regexp.MustCompile(`^format: .*should (stand|end)`),
		Why: "A server does not look at what follows a number, or an argument."},
	{Class: "annotation cut off", Finding: regexp.MustCompile(`^truncated: .*inside the annotation`),
		Why: "A server passes over an annotation that the file's end cuts off, in any file."},
	{Class: "EXEC alone", Finding: regexp.MustCompile(`^transaction: `),
		Why: "A server does as if EXEC were not there."},
	{Class: "database", Finding: regexp.MustCompile(`^db: `),
		Why: "A server goes on in the database before, where SELECT fails."},
	{Class: "lying length", Finding: regexp.MustCompile(`^length: `),
		Why: "A server takes a lying length for a file cut short, even if it must make room for it."},
	{Class: "empty base", Finding: regexp.MustCompile(`^empty: `),
		Why: "A server starts without an empty base."},
	{Class: "nothing loaded", Finding: regexp.MustCompile(`^manifest-empty: none of its`),
		Why: "A server starts with no data where a manifest names only history."},
	{Class: "dump in an increment", Finding: regexp.MustCompile(`^format: a dump begins here`),
		Why: "A server loads a dump at the beginning of any file, also where a manifest calls the base an increment."},
	{Class: "loaded twice", Finding: regexp.MustCompile(`^manifest-repeated: `),
		Why: "A server loads a file as often as it is named, and runs its commands each time."},
}
