package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/verify"
)

func (a *app) printFile(r *verify.FileReport) {
	if a.json {
		a.emit(newFileMessage(r))
		return
	}
	fmt.Fprint(a.stdout, headLine(r.Path, append(dumpHead(r.Dump), human.Size(r.Bytes))))
	if r.Damage != nil {
		a.printDamagedFile(r)
		return
	}
	verdict := "sound at level " + string(r.Level)
	if r.Dump.Keys == 0 {
		verdict += ": it holds no key"
	}
	fmt.Fprintf(a.stdout, "  %s\n", verdict)
	rows := append(dumpRows(r.Dump), proofRows(r.Dump, r.Level)...)
	fmt.Fprint(a.stdout, table(rows), biggestRows(r.Dump))
}

// printDamagedFile says what is wrong and what was read up to there.
func (a *app) printDamagedFile(r *verify.FileReport) {
	fmt.Fprintf(a.stdout, "  damaged: 1 finding\n%s", placedRows(fileFindings(r), "    ", false))
	if rows := dumpRows(r.Dump); len(rows) > 0 {
		fmt.Fprintf(a.stdout, "  read up to byte %d, and not to be trusted:\n%s", r.Dump.Bytes, indented(table(rows)))
	}
	fmt.Fprint(a.stdout, wrapped(damageAdvice(r.Damage.Code), ""))
}

// damageAdvice says what to do about a dump that is not sound.
func damageAdvice(code string) string {
	switch code {
	case rdb.CodeMagic:
		return "This is no dump of Redis or Valkey. If it is one that was compressed or encrypted, unpack it first."
	case rdb.CodeVersion:
		return "If a newer server wrote it, a newer release of slotark may read it."
	case rdb.CodeCRC64:
		return "Its structure was read to the end, but its bytes are not those that were written; which of them, a checksum cannot tell. " +
			"Restore from another copy: slotark list"
	}
	return "What comes after the damage was not read; what came before it cannot be trusted. Restore from another copy: slotark list"
}

// dumpHead says what a dump is: "RDB 10", "Redis 7.0.15", "cluster", "written …".
func dumpHead(d *rdb.Report) []string {
	if d.Version == 0 {
		return nil
	}
	engine, version := verify.ServerOf(d)
	if version == "" {
		version = "of unknown version"
	} else {
		version = keyText(version, false) // a dump may say anything
	}
	parts := []string{fmt.Sprintf("RDB %d", d.Version), engineName(engine) + " " + version}
	if mode := verify.ModeOf(d); mode != verify.ModeUnknown {
		parts = append(parts, string(mode))
	}
	if !d.Created.IsZero() {
		parts = append(parts, "written "+human.Moment(d.Created))
	}
	return parts
}

// dumpRows are a line for each thing a dump holds, and none for what it does not.
func dumpRows(d *rdb.Report) [][]string {
	var rows [][]string
	if d.Keys > 0 {
		rows = append(rows, factRows("keys", typeCounts(d))...)
		if d.Expiring > 0 {
			rows = append(rows, factRows("expiring", []string{human.Count(d.Expiring)})...)
		}
		if len(d.Databases) > 1 || d.MaxDB > 0 {
			rows = append(rows, factRows("databases", databaseCounts(d))...)
		}
		if verify.ModeOf(d) != verify.ModeStandalone {
			rows = append(rows, slotRows(verify.SlotsOf(d), "with keys")...)
		}
	}
	if d.Imports.Len() > 0 {
		rows = append(rows, slotRows(d.Imports, "being migrated to this node")...)
	}
	if n := len(d.Functions); n == 1 {
		rows = append(rows, factRows("functions", []string{"1 library"})...)
	} else if n > 1 {
		rows = append(rows, factRows("functions", []string{human.Count(n) + " libraries"})...)
	}
	if len(d.Modules) > 0 {
		rows = append(rows, factRows("modules", commas(d.Modules))...)
	}
	if d.UsedMemory > 0 {
		rows = append(rows, factRows("memory", []string{human.Size(d.UsedMemory) + " used by the server"})...)
	}
	if d.ReplID != "" {
		rows = append(rows, factRows("replication", []string{keyText(d.ReplID, false), fmt.Sprintf("at offset %d", d.ReplOffset)})...)
	}
	return rows
}

// proofRows are what proves a sound dump, and what is not proved of it.
func proofRows(d *rdb.Report, level verify.Level) [][]string {
	var rows [][]string
	if d.ChecksumDisabled {
		rows = append(rows, factRows("checksum", strings.Fields(
			"unverifiable: it has no CRC64 (rdbchecksum no), so a flipped bit inside a value could not be seen"))...)
	} else {
		rows = append(rows, factRows("checksum", []string{fmt.Sprintf("CRC64 %016x", d.CRC64)})...)
	}
	if level == verify.Deep && d.Keys > 0 {
		rows = append(rows, factRows("digest", []string{d.Digest.String()})...)
	}
	if d.DuplicatesUnchecked {
		rows = append(rows, factRows("unchecked", strings.Fields(uncheckedText))...)
	}
	for _, n := range d.Notes {
		rows = append(rows, factRows("note", strings.Fields(n.String()))...)
	}
	return rows
}

const uncheckedText = "some names, or members of a value, were not held against all the others: they are too many. That is no damage."

// factWidth is how wide a fact is written before it goes on in the next line.
const factWidth = 64

// factRows are a fact's name and the pieces of its text, in as many lines as
// they take.
func factRows(name string, pieces []string) [][]string {
	var rows [][]string
	for _, line := range lines(pieces, factWidth) {
		rows = append(rows, []string{"  " + name, line})
		name = ""
	}
	return rows
}

// commas puts one behind each of a list but the last.
func commas(parts []string) []string {
	list := slices.Clone(parts)
	for i := range list[:max(0, len(list)-1)] {
		list[i] += ","
	}
	return list
}

// typeCounts is "53: 33 strings, 12 sets, 8 lists", the most frequent first, or
// "53 strings".
func typeCounts(d *rdb.Report) []string {
	names := slices.SortedFunc(maps.Keys(d.Types), func(x, y string) int {
		return cmp.Or(cmp.Compare(d.Types[y], d.Types[x]), cmp.Compare(x, y))
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, strings.Replace(human.Plural(d.Types[name], name), "hashs", "hashes", 1))
	}
	if len(parts) == 1 {
		return parts
	}
	return append([]string{human.Count(d.Keys) + ":"}, commas(parts)...)
}

// databaseCounts is "0 (50 keys), 15 (3 keys)".
func databaseCounts(d *rdb.Report) []string {
	var parts []string
	for _, db := range d.Databases {
		parts = append(parts, fmt.Sprintf("%d (%s)", db.DB, human.Plural(db.Keys, "key")))
	}
	return commas(parts)
}

// maxRanges is how many ranges of slots are written out; --json has them all.
const maxRanges = 12

// slotRows say how many slots do something, and which.
func slotRows(slots slot.Set, do string) [][]string {
	ranges := slots.Ranges()
	shown := ranges
	if len(ranges) > maxRanges+1 { // that the last follows is as long as one more
		shown = ranges[:maxRanges]
	}
	var parts []string
	for _, r := range shown {
		parts = append(parts, r.String())
	}
	pieces := append([]string{fmt.Sprintf("%s %s:", human.Count(slots.Len()), do)}, commas(parts)...)
	if len(shown) < len(ranges) {
		pieces = append(pieces, fmt.Sprintf("… %d", ranges[len(ranges)-1].Last), fmt.Sprintf("(%d ranges)", len(ranges)))
	}
	return factRows("slots", pieces)
}

// biggestRows are the keys that take most of a dump.
func biggestRows(d *rdb.Report) string {
	if len(d.Biggest) == 0 {
		return ""
	}
	several := len(d.Databases) > 1 || d.MaxDB > 0
	rows := [][]string{{"  BIGGEST KEYS", "TYPE", "IN THE DUMP"}}
	if several {
		rows[0] = append(rows[0], "DB")
	}
	for _, k := range d.Biggest {
		row := []string{"  " + keyText(k.Key, k.Shortened), k.Family.String(), human.Size(k.Bytes)}
		if several {
			row = append(row, strconv.Itoa(k.DB))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

// keyText is a key's name, or other text of a dump, for a person: quoted where it is not plain, and no
// longer than leaves room beside it.
func keyText(key string, shortened bool) string {
	const most = 48
	text := key
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` || key == "" || strings.ContainsRune(key, ' ') {
		text = quoted
	}
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	if shortened {
		return text + "…"
	}
	return text
}

// indented puts each line of a text two cells to the right.
func indented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("  " + line)
	}
	return out.String()
}
