package aof

import "fmt"

// The codes of [Damage]. They are part of what verify reports, so they never
// change their meaning.
const (
	// Of a manifest.
	CodeManifest      = "manifest"          // a line that is not pairs of file, seq and type
	CodeManifestEmpty = "manifest-empty"    // names nothing to load
	CodeManifestLine  = "manifest-line"     // a line too long, blank or without its end
	CodeManifestName  = "manifest-name"     // a path, or no name of a file at all
	CodeManifestType  = "manifest-type"     // neither base nor history nor increment
	CodeManifestBase  = "manifest-base"     // a second base
	CodeManifestOrder = "manifest-order"    // an increment not after the one before
	CodeManifestTwice = "manifest-repeated" // a file that would be loaded twice
	CodeManifestSize  = "manifest-size"     // larger than any manifest is

	// Of a file.
	CodeFormat      = "format"                 // not what a server writes
	CodeLength      = "length"                 // a length or count that cannot be
	CodeTruncated   = "truncated"              // ends inside a command or an annotation
	CodeUnfinished  = "unfinished-transaction" // ends between MULTI and EXEC
	CodeTransaction = "transaction"            // MULTI within MULTI, EXEC without
	CodeDB          = "db"                     // SELECT of no database
	CodeTimestamp   = "timestamp"              // a #TS: without a time, or before the last
	CodeUnknown     = "unknown-command"        // whose keys cannot be found
	CodeDump        = "dump"                   // the dump it begins with is damaged
	CodeEmpty       = "empty"                  // no byte where a dump should be

	// Of a folder.
	CodeMissing = "missing" // named by the manifest and not there
	CodeUnnamed = "unnamed" // there and not named by the manifest
)

// Severity is how bad a finding is, in the words of a snapshot's findings.
type Severity string

// An Error keeps a server from loading all of the set; a Warning does not.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Damage is one thing wrong with a set. It is an error; errors.As finds it.
type Damage struct {
	Code     string // one of the Code constants
	Severity Severity
	File     string // its name within the folder; "" where a reader does not know it
	Line     int    // of a manifest, from 1; else 0
	Offset   int64  // of the byte in the file where it shows
	Detail   string // what was expected and what is there, for a person
	// Recoverable is an error that a server gets over by dropping what follows
	// Offset: with aof-load-truncated yes, where nothing is loaded after.
	Recoverable bool
	Err         error // of a dump: its *rdb.Damage
}

// Error reads "format at byte 17 of appendonly.aof.1.incr.aof: …".
func (d *Damage) Error() string {
	place := fmt.Sprintf("at byte %d", d.Offset)
	if d.Line > 0 {
		place = fmt.Sprintf("at line %d", d.Line)
	}
	if d.File != "" {
		place += " of " + d.File
	}
	return fmt.Sprintf("%s %s: %s", d.Code, place, d.Detail)
}

// Unwrap gives the damage of a dump.
func (d *Damage) Unwrap() error { return d.Err }

func damage(code string, offset int64, format string, args ...any) *Damage {
	return &Damage{Code: code, Severity: Error, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}

// quote shows bytes of a file to a person, the first of them.
func quote[T string | []byte](text T) string {
	const shown = 64
	if len(text) > shown {
		return fmt.Sprintf("%q…", text[:shown])
	}
	return fmt.Sprintf("%q", text)
}
