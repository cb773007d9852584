package main

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// What verify prints with --json; see messages.go.

type verificationMessage struct {
	Type string `json:"message_type"` // "verification"
	catalog.Verification
	Cluster     string          `json:"cluster"`
	Objects     int             `json:"objects"`
	Read        int64           `json:"bytes_read"`
	Keys        uint64          `json:"keys"`
	Shards      []shardVerified `json:"shards"`
	Fingerprint *rdb.Digest     `json:"fingerprint,omitempty"`
}

// shardVerified is what came of one shard in one store.
type shardVerified struct {
	Store               string      `json:"store"`
	Slots               slot.Set    `json:"slots"`
	Keys                uint64      `json:"keys"`
	Bytes               int64       `json:"bytes"`
	Sound               bool        `json:"sound"`
	Digest              *rdb.Digest `json:"digest,omitempty"`
	Unverifiable        bool        `json:"unverifiable,omitempty"`
	DuplicatesUnchecked bool        `json:"duplicates_unchecked,omitempty"`
	Notes               []note      `json:"notes,omitempty"`
}

func newVerificationMessage(s *catalog.Snapshot, r *verify.Report) verificationMessage {
	msg := verificationMessage{
		Type: "verification", Verification: r.Record, Cluster: s.Manifest.Cluster, Objects: r.Objects, Read: r.Read,
		Keys: s.Manifest.Keys(), Shards: []shardVerified{}, Fingerprint: r.Fingerprint,
	}
	for i := range r.Shards {
		shard := &r.Shards[i]
		verified := shardVerified{
			Store: shard.Store, Slots: shard.Shard.Slots, Keys: shard.Shard.Dump.Keys, Bytes: shard.Shard.Dump.Bytes,
			Sound: len(shard.Findings) == 0, Unverifiable: shard.Unverifiable,
			DuplicatesUnchecked: shard.DuplicatesUnchecked, Notes: newNotes(shard.Notes),
		}
		if verified.Sound && r.Record.Level == string(verify.Deep) {
			verified.Digest = &shard.Digest
		}
		msg.Shards = append(msg.Shards, verified)
	}
	return msg
}

type note struct {
	Code   string `json:"code"`
	Offset int64  `json:"offset"`
	Detail string `json:"detail"`
}

func newNotes(notes []rdb.Note) []note {
	var all []note
	for _, n := range notes {
		all = append(all, note{n.Code, n.Offset, n.Detail})
	}
	return all
}

// dumpFacts are what a dump holds, as far as it was read.
type dumpFacts struct {
	RDBVersion          int               `json:"rdb_version,omitempty"`
	Engine              string            `json:"engine,omitempty"` // by the magic
	Server              string            `json:"server,omitempty"` // "redis" or "valkey", by what it says of itself
	ServerVersion       string            `json:"server_version,omitempty"`
	Mode                verify.Mode       `json:"mode,omitempty"`
	Created             *time.Time        `json:"created,omitempty"`
	Keys                uint64            `json:"keys"`
	Expiring            uint64            `json:"expiring"`
	Types               map[string]uint64 `json:"types,omitempty"`
	Databases           []databaseSize    `json:"databases,omitempty"`
	Slots               int               `json:"slots"` // that hold a key
	SlotRanges          slot.Set          `json:"slot_ranges"`
	Functions           int               `json:"functions,omitempty"`
	Modules             []string          `json:"modules,omitempty"`
	UsedMemory          int64             `json:"used_memory,omitempty"`
	ReplicationID       string            `json:"replication_id,omitempty"`
	ReplicationOffset   *int64            `json:"replication_offset,omitempty"`
	CRC64               string            `json:"crc64,omitempty"`  // of a sound one
	Digest              *rdb.Digest       `json:"digest,omitempty"` // of a sound one at level deep
	DuplicatesUnchecked bool              `json:"duplicates_unchecked,omitempty"`
	Biggest             []keySize         `json:"biggest,omitempty"`
	Notes               []note            `json:"notes,omitempty"`
}

type databaseSize struct {
	DB   int    `json:"db"`
	Keys uint64 `json:"keys"`
}

// keySize is one of the biggest keys. A name that is not UTF-8 is base64.
type keySize struct {
	Key       string `json:"key,omitempty"`
	KeyBase64 []byte `json:"key_base64,omitempty"`
	Shortened bool   `json:"shortened,omitempty"`
	DB        int    `json:"db"`
	Slot      int    `json:"slot"`
	Type      string `json:"type"`
	Bytes     int64  `json:"bytes"`
}

func newDumpFacts(d *rdb.Report, level verify.Level, sound bool) dumpFacts {
	server, version := verify.ServerOf(d)
	slots := verify.SlotsOf(d)
	facts := dumpFacts{
		RDBVersion: d.Version, Engine: d.Engine, Server: server, ServerVersion: version, Mode: verify.ModeOf(d),
		Keys: d.Keys, Expiring: d.Expiring, Types: d.Types, Slots: slots.Len(), SlotRanges: slots,
		Functions: len(d.Functions), Modules: d.Modules, UsedMemory: d.UsedMemory, ReplicationID: d.ReplID,
		DuplicatesUnchecked: d.DuplicatesUnchecked, Notes: newNotes(d.Notes),
	}
	if !d.Created.IsZero() {
		facts.Created = &d.Created
	}
	if d.ReplID != "" {
		facts.ReplicationOffset = &d.ReplOffset
	}
	if sound && !d.ChecksumDisabled {
		facts.CRC64 = fmt.Sprintf("%016x", d.CRC64)
	}
	if sound && level == verify.Deep {
		facts.Digest = &d.Digest
	}
	for _, db := range d.Databases {
		facts.Databases = append(facts.Databases, databaseSize{db.DB, db.Keys})
	}
	for _, k := range d.Biggest {
		size := keySize{Key: k.Key, Shortened: k.Shortened, DB: k.DB, Slot: k.Slot, Type: k.Family.String(), Bytes: k.Bytes}
		if !utf8.ValidString(k.Key) {
			size.Key, size.KeyBase64 = "", []byte(k.Key)
		}
		facts.Biggest = append(facts.Biggest, size)
	}
	return facts
}

type fileMessage struct {
	Type         string       `json:"message_type"` // "file"
	Path         string       `json:"path"`
	Level        verify.Level `json:"level"`
	Bytes        int64        `json:"bytes"`
	BytesRead    int64        `json:"bytes_read"` // up to here it was understood
	Sound        bool         `json:"sound"`
	Unverifiable bool         `json:"unverifiable,omitempty"`
	dumpFacts
	Findings []catalog.Finding `json:"findings,omitempty"`
}

func newFileMessage(r *verify.FileReport) fileMessage {
	return fileMessage{
		Type: "file", Path: r.Path, Level: r.Level, Bytes: r.Bytes, BytesRead: r.Dump.Bytes, Sound: r.Damage == nil, Unverifiable: r.Unverifiable,
		dumpFacts: newDumpFacts(r.Dump, r.Level, r.Damage == nil), Findings: fileFindings(r),
	}
}

// fileFindings are what is wrong with a dump: reading stops at the first.
func fileFindings(r *verify.FileReport) []catalog.Finding {
	d := r.Damage
	if d == nil {
		return nil
	}
	return []catalog.Finding{{
		Finding: manifest.Finding{Code: d.Code, Severity: "error", Subject: r.Path, Detail: d.Detail}, Offset: &d.Offset,
	}}
}

type appendOnlyMessage struct {
	Type         string                  `json:"message_type"` // "append_only"
	Path         string                  `json:"path"`
	Level        verify.Level            `json:"level"`
	Sound        bool                    `json:"sound"`
	Loadable     bool                    `json:"loadable"` // with aof-load-truncated yes, perhaps without its end
	Files        []appendOnlyFileMessage `json:"files"`
	First        *time.Time              `json:"first,omitempty"`
	Last         *time.Time              `json:"last,omitempty"`
	Commands     uint64                  `json:"commands"`
	Transactions uint64                  `json:"transactions"`
	Names        map[string]uint64       `json:"commands_by_name,omitempty"`
	Slots        int                     `json:"slots"` // of the commands' keys
	SlotRanges   slot.Set                `json:"slot_ranges"`
	Unplaced     uint64                  `json:"unplaced"` // commands whose keys are not, or not all, among these
	Base         *dumpFacts              `json:"base,omitempty"`
	Findings     []catalog.Finding       `json:"findings,omitempty"`
}

type appendOnlyFileMessage struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // "base", "incr", or "-" for the one file of an old server
	Bytes    int64  `json:"bytes"`
	Keys     uint64 `json:"keys"` // of the dump it begins with
	Commands uint64 `json:"commands"`
	SafeEnd  int64  `json:"whole_bytes"` // behind the last command that is whole
}

func newAppendOnlyMessage(path string, level verify.Level, r *aof.Report) appendOnlyMessage {
	total := sumCommands(r)
	slots := r.Slots()
	msg := appendOnlyMessage{
		Type: "append_only", Path: path, Level: level, Sound: r.Err() == nil, Loadable: r.Loadable(),
		Files: []appendOnlyFileMessage{}, Commands: total.commands, Transactions: total.transactions, Names: total.names,
		Slots: slots.Len(), SlotRanges: slots, Unplaced: total.unplaced, Findings: appendOnlyFindings(r),
	}
	if first, last := r.Range(); !first.IsZero() {
		msg.First, msg.Last = &first, &last
	}
	for i := range r.Files {
		f := &r.Files[i]
		file := appendOnlyFileMessage{Name: f.Name, Type: fileType(f), Bytes: f.Bytes, Commands: f.Commands, SafeEnd: f.SafeEnd}
		if f.Dump != nil {
			file.Keys = f.Dump.Keys
		}
		msg.Files = append(msg.Files, file)
	}
	if base := r.Base(); base != nil {
		facts := newDumpFacts(base, level, soundBase(r))
		msg.Base = &facts
	}
	return msg
}

type folderFoundMessage struct {
	Type       string   `json:"message_type"` // "folder"
	Path       string   `json:"path"`
	Dumps      int      `json:"dumps"`
	AppendOnly int      `json:"append_only"`
	Unfinished []string `json:"unfinished,omitempty"`
}

type verifyErrorMessage struct {
	Type  string   `json:"message_type"` // "verify_error"
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

type verifySummaryMessage struct {
	Type    string `json:"message_type"` // "verify_summary"
	Sound   int    `json:"sound"`
	Damaged int    `json:"damaged"`
	Failed  int    `json:"failed"`
}
