// Package table prints columns that line up.
package table

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// Table collects rows of text. Columns whose header begins with ">" are aligned to the right; the sign is not printed. A
// table whose headers are all empty has no header line.
type Table struct {
	header []string
	right  []bool
	rows   [][]string
}

// New returns a table with these columns.
func New(header ...string) *Table {
	t := &Table{right: make([]bool, len(header))}
	for i, h := range header {
		text, right := strings.CutPrefix(h, ">")
		t.right[i] = right
		t.header = append(t.header, text)
	}
	return t
}

// Add appends a row; cells beyond the columns are dropped, missing ones are empty.
func (t *Table) Add(cells ...string) {
	row := make([]string, len(t.header))
	copy(row, cells)
	t.rows = append(t.rows, row)
}

// Write prints the header and the rows, columns two spaces apart, without spaces at line ends.
func (t *Table) Write(w io.Writer) error {
	width := make([]int, len(t.header))
	all := t.rows
	if strings.Join(t.header, "") != "" {
		all = append([][]string{t.header}, t.rows...)
	}
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	out := bufio.NewWriter(w)
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.Flush()
}
