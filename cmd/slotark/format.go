package main

import "strings"

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
