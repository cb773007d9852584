package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

func (a *app) printAppendOnly(path string, level verify.Level, r *aof.Report) {
	if a.json {
		a.emit(newAppendOnlyMessage(path, level, r))
		return
	}
	var bytes int64
	for i := range r.Files {
		bytes += r.Files[i].Bytes
	}
	facts := []string{"append-only files"}
	if len(r.Files) > 0 {
		facts = append(facts, human.Size(bytes))
	}
	fmt.Fprint(a.stdout, headLine(path, append(facts, timeRange(r)...)))
	fmt.Fprint(a.stdout, wrapped(appendOnlyVerdict(level, r), "  "), placedRows(appendOnlyFindings(r), "    ", true))
	if len(r.Files) > 0 {
		fmt.Fprint(a.stdout, table(fileRows(r)))
	}
	commands := table(commandRows(r))
	if r.Err() != nil && commands != "" {
		commands = "  the commands up to the damage, not to be trusted:\n" + indented(commands)
	}
	fmt.Fprint(a.stdout, commands)
	if base := r.Base(); base != nil {
		a.printBase(base, level, soundBase(r))
	}
}

// printBase says what the dump holds that a set begins with.
func (a *app) printBase(base *rdb.Report, level verify.Level, sound bool) {
	head := append([]string{"it begins with a dump"}, dumpHead(base)...)
	if !sound {
		head = append(head, fmt.Sprintf("read up to byte %d and not to be trusted", base.Bytes))
		fmt.Fprint(a.stdout, wrappedPieces(commas(head), "  "), indented(table(dumpRows(base))))
		return
	}
	rows := append(dumpRows(base), proofRows(base, level)...)
	fmt.Fprint(a.stdout, wrappedPieces(commas(head), "  "), indented(table(rows)+biggestRows(base)))
}

// appendOnlyVerdict says what a server would make of a set.
func appendOnlyVerdict(level verify.Level, r *aof.Report) string {
	switch {
	case len(r.Findings) == 0:
		return fmt.Sprintf("sound: a server loads all of it (level %s)", level)
	case r.Err() == nil:
		return fmt.Sprintf("sound: a server loads all of it (level %s); to look at:", level)
	case r.Loadable():
		return "damaged: a server with aof-load-truncated yes would start without what follows the damage, and say nothing to its clients"
	}
	return "damaged: a server does not start with it"
}

// soundBase tells whether there is a dump that the set begins with, and nothing
// is wrong with it.
func soundBase(r *aof.Report) bool {
	return r.Base() != nil && !slices.ContainsFunc(r.Findings, func(d *aof.Damage) bool { return d.Code == aof.CodeDump })
}

// fileRows are a line for each file, as a server loads them.
func fileRows(r *aof.Report) [][]string {
	rows := [][]string{{"  FILE", "TYPE", "SIZE", "KEYS", "COMMANDS", "WHOLE UP TO"}}
	for i := range r.Files {
		f := &r.Files[i]
		keys := "-"
		if f.Dump != nil {
			keys = human.Count(f.Dump.Keys)
		}
		whole := fmt.Sprintf("byte %d", f.SafeEnd)
		if f.Lost() > 0 {
			whole += fmt.Sprintf(", %s short", human.Size(f.Lost()))
		}
		rows = append(rows, []string{"  " + f.Name, fileType(f), human.Size(f.Bytes), keys, human.Count(f.Commands), whole})
	}
	return rows
}

// commandsTotal sums up the commands of all files of a set.
type commandsTotal struct {
	commands, transactions, unplaced uint64
	names                            map[string]uint64
}

func sumCommands(r *aof.Report) commandsTotal {
	total := commandsTotal{names: map[string]uint64{}}
	for i := range r.Files {
		f := &r.Files[i]
		total.commands += f.Commands
		total.transactions += f.Transactions
		total.unplaced += f.Unplaced
		for name, n := range f.Names {
			total.names[cmp.Or(name, "unknown")] += n
		}
	}
	return total
}

// namesShown is how many commands are named; --json has them all.
const namesShown = 6

// commandRows say what commands there are, and which slots they touch.
func commandRows(r *aof.Report) [][]string {
	total := sumCommands(r)
	if total.commands == 0 {
		return nil
	}
	names := slices.SortedFunc(maps.Keys(total.names), func(x, y string) int {
		return cmp.Or(cmp.Compare(total.names[y], total.names[x]), cmp.Compare(x, y))
	})
	var parts []string
	others := total.commands
	for _, name := range names[:min(len(names), namesShown)] {
		parts = append(parts, human.Count(total.names[name])+" "+name)
		others -= total.names[name]
	}
	if others > 0 {
		parts = append(parts, human.Count(others)+" others")
	}
	rows := factRows("commands", append([]string{human.Count(total.commands) + ":"}, commas(parts)...))
	if total.transactions > 0 {
		rows = append(rows, factRows("", []string{human.Plural(total.transactions, "transaction")})...)
	}
	standalone := r.Base() != nil && verify.ModeOf(r.Base()) == verify.ModeStandalone
	if slots := r.Slots(); slots.Len() > 0 && !standalone {
		rows = append(rows, slotRows(slots, "touched by commands")...)
	}
	return rows
}

// fileType is "base" or "incr"; the one file of an old server is neither.
func fileType(f *aof.FileReport) string {
	if f.Type == 0 {
		return "-"
	}
	return f.Type.String()
}

// timeRange is when the commands were run, where that is annotated.
func timeRange(r *aof.Report) []string {
	first, last := r.Range()
	switch {
	case first.IsZero():
		return nil
	case first.Equal(last):
		return []string{"commands of " + human.Moment(first)}
	}
	return []string{fmt.Sprintf("commands of %s to %s", human.Moment(first), human.Moment(last))}
}

func appendOnlyFindings(r *aof.Report) []catalog.Finding {
	var findings []catalog.Finding
	for _, d := range r.Findings {
		f := catalog.Finding{Finding: manifest.Finding{Code: d.Code, Severity: string(d.Severity), Subject: d.File, Detail: d.Detail}}
		switch {
		case d.Line > 0:
			f.Subject += fmt.Sprintf(" line %d", d.Line)
		case !strings.HasPrefix(d.Code, "manifest") && d.Code != aof.CodeMissing && d.Code != aof.CodeUnnamed:
			f.Offset = &d.Offset
		}
		findings = append(findings, f)
	}
	return findings
}
