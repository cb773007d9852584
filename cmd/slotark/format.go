package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

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

// width is how many cells of a terminal a text takes: two for what East Asia
// writes, none for marks on the letter before, else one.
func width(text string) int {
	cells := 0
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana), 0x3000 <= r && r <= 0x303e, 0xff01 <= r && r <= 0xff60, 0x1f300 <= r && r <= 0x1faff:
			cells += 2
		default:
			cells++
		}
	}
	return cells
}

// lineWidth is how long a line may become that a person reads: what a terminal
// has, unless told otherwise.
const lineWidth = 80

// shortened is a text in so many cells at most.
func shortened(text string, most int) string {
	if width(text) <= most {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && width(string(runes))+1 > most {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ") + "…"
}

// headLine is the first line of what is said of a thing: its name and facts,
// these in lines of their own where one is not enough.
func headLine(name string, facts []string) string {
	if line := name + "  " + strings.Join(facts, ", "); width(line) <= lineWidth {
		return line + "\n"
	}
	return name + "\n" + wrappedPieces(commas(facts), "  ")
}

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
func wrapped(text, indent string) string { return wrappedPieces(strings.Fields(text), indent) }

// wrappedPieces is wrapped of a text that may only be broken between its pieces.
func wrappedPieces(pieces []string, indent string) string {
	var out strings.Builder
	for _, line := range lines(pieces, lineWidth-width(indent)) {
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
