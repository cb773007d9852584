package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/snapshot/catalog"
)

// table writes rows in columns as wide as their widest cell, with two spaces
// between. The last column is not padded, so that no line ends in blanks.
func table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-width(cell)+2))
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// width is how many cells of a terminal a text takes; what is written here is
// one cell a rune.
func width(text string) int { return len([]rune(text)) }

// lineWidth is how long a line may become that a person reads.
const lineWidth = 100

// placedRows is a line for each finding: what it is, of which thing where that
// is not plain, at which byte where it shows at one, and why. Where that makes
// long lines, the reason stands below.
func placedRows(findings []catalog.Finding, indent string, subjects bool) string {
	var heads, whole [][]string
	for _, f := range findings {
		head := []string{indent + f.Code}
		if subjects {
			head = append(head, f.Subject)
		}
		at := ""
		if f.Offset != nil {
			at = fmt.Sprintf("at byte %d", *f.Offset)
		}
		head = append(head, at)
		heads = append(heads, head)
		whole = append(whole, append(head[:len(head):len(head)], f.Detail))
	}
	text := table(withoutEmpty(whole))
	long := false
	for line := range strings.Lines(text) {
		long = long || width(line) > lineWidth
	}
	if !long {
		return text
	}
	var out strings.Builder
	i := 0
	for line := range strings.Lines(table(withoutEmpty(heads))) {
		out.WriteString(line + wrapped(findings[i].Detail, indent+"  "))
		i++
	}
	return out.String()
}

// wrapped is a text in lines that are not too long.
func wrapped(text, indent string) string {
	var out strings.Builder
	for _, line := range lines(strings.Fields(text), lineWidth-width(indent)) {
		out.WriteString(indent + line + "\n")
	}
	return out.String()
}

// lines joins pieces of text with spaces, in lines of at most so many cells.
func lines(pieces []string, most int) []string {
	var all []string
	line := ""
	for _, piece := range pieces {
		if line != "" && width(line)+1+width(piece) > most {
			all, line = append(all, line), ""
		}
		line = strings.TrimLeft(line+" "+piece, " ")
	}
	return append(all, line)
}

// withoutEmpty drops the columns in which no row has anything.
func withoutEmpty(rows [][]string) [][]string {
	if len(rows) == 0 {
		return nil
	}
	kept := make([][]string, len(rows))
	for column := range rows[0] {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[column] != "" }) {
			continue
		}
		for i, row := range rows {
			kept[i] = append(kept[i], row[column])
		}
	}
	return kept
}
