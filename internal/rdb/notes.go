package rdb

import "fmt"

// NoteResizeDB is the code of a [Note]: a database was announced with other
// numbers of keys than it has. The server only sizes its tables by them, and
// writes them exactly; they differ when slots were being trimmed in the
// background (Redis 8.4), and in dumps other programs made.
const NoteResizeDB = "resize-db"

const maxNotes = 64 // of a hostile dump

// Note is something odd about a dump that no server would refuse.
type Note struct {
	Code   string // one of the Note constants
	Offset int64  // of the record in the dump that does not fit the others
	Detail string // what was expected and what is there, for a person
}

// String reads like [Damage.Error].
func (n Note) String() string { return fmt.Sprintf("%s at byte %d: %s", n.Code, n.Offset, n.Detail) }

// announcement is what RESIZEDB says of a database.
type announcement struct {
	made           bool
	offset         int64
	keys, expiring uint64
	keysBefore     uint64 // the dump's when the database began
	expiringBefore uint64
}

// judgeAnnouncement ends a database: its keys are held against what was said of
// them.
func (i *inspection) judgeAnnouncement() {
	report, a := i.report, i.announced
	keys, expiring := report.Keys-a.keysBefore, report.Expiring-a.expiringBefore
	if a.made && (keys != a.keys || expiring != a.expiring) && len(report.Notes) < maxNotes {
		report.Notes = append(report.Notes, Note{NoteResizeDB, a.offset, fmt.Sprintf(
			"database %d is announced with %d keys, %d of them expiring, and has %d, %d of them expiring",
			i.db, a.keys, a.expiring, keys, expiring)})
	}
	i.announced = announcement{keysBefore: report.Keys, expiringBefore: report.Expiring}
}
