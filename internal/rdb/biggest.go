package rdb

import "slices"

const (
	biggestKept   = 10
	bigNameKept   = 256 // bytes of a name
	databasesKept = 256 // of a hostile dump; a server has 16 unless told otherwise
)

// KeySize is how much of a dump one key takes.
type KeySize struct {
	DB        int
	Slot      int
	Key       string // its first 256 bytes
	Shortened bool   // Key is not the whole name
	Family    Family
	Bytes     int64 // of its record: expiry and other attributes, name, value
}

// DBSize is how many keys of one database a dump holds.
type DBSize struct {
	DB   int
	Keys uint64
}

// keySizes follows the largest keys of a dump and the databases that hold keys.
// The zero value is ready to use.
type keySizes struct {
	biggest   [biggestKept]bigKey // the largest first; the zero value is smaller than any key
	databases []DBSize            // as they come, behind one for keys of those that are not kept
	db, at    int                 // of the key before: its database, and the place of that
}

type bigKey struct {
	KeySize
	name []byte // memory for Key, used again by the key that takes this one's place
}

// add takes in a key. Nearly every key of a dump is no larger than the least
// that is kept, which one comparison tells.
func (s *keySizes) add(key *Record) {
	if key.DB != s.db || s.databases == nil {
		s.enterDB(key.DB)
	}
	s.databases[s.at].Keys++
	if bytes := key.ValueOffset + key.ValueLen - key.Offset; bytes > s.biggest[biggestKept-1].Bytes {
		s.keep(key, bytes)
	}
}

func (s *keySizes) enterDB(db int) {
	if s.databases == nil {
		s.databases = []DBSize{{DB: -1}}
	}
	s.db = db
	s.at = slices.IndexFunc(s.databases, func(d DBSize) bool { return d.DB == db })
	switch {
	case s.at >= 0: // no server writes a database twice
	case len(s.databases) > databasesKept:
		s.at = 0
	default:
		s.at = len(s.databases)
		s.databases = append(s.databases, DBSize{DB: db})
	}
}

// keep puts a key in its place, after those of its size that came before it.
func (s *keySizes) keep(key *Record, bytes int64) {
	name := s.biggest[biggestKept-1].name[:0]
	at := biggestKept - 1
	for ; at > 0 && s.biggest[at-1].Bytes < bytes; at-- {
		s.biggest[at] = s.biggest[at-1]
	}
	s.biggest[at] = bigKey{
		KeySize: KeySize{DB: key.DB, Slot: key.Slot, Shortened: len(key.Key) > bigNameKept, Family: key.Family, Bytes: bytes},
		name:    append(name, key.Key[:min(len(key.Key), bigNameKept)]...),
	}
}

// report fills in what was followed.
func (s *keySizes) report(report *Report) {
	for i := range s.biggest {
		if kept := &s.biggest[i]; kept.Bytes > 0 {
			kept.Key = string(kept.name)
			report.Biggest = append(report.Biggest, kept.KeySize)
		}
	}
	if len(s.databases) > 1 {
		report.Databases = s.databases[1:]
	}
}
