package caddysnake

// Tables for people. On a terminal, no line is longer than the terminal is wide.

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// leastCut is the narrowest that a last column is cut to; with less room it is left out.
const leastCut = 16

// terminalSize is the size of a terminal; zero: it is none.
type terminalSize struct{ columns, rows int }

func sizeOf(out io.Writer) terminalSize {
	file, ok := out.(*os.File)
	if !ok {
		return terminalSize{}
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return terminalSize{}
	}
	return terminalSize{int(size.Col), int(size.Row)}
}

// textTable is a table in which the columns are aligned.
type textTable struct {
	head    []string
	right   []bool // columns of numbers
	keepEnd bool   // of the last column, when it is cut
	rows    [][]string
}

func (t *textTable) add(row ...string) { t.rows = append(t.rows, row) }

// write writes the columns that fit into the width; all if it is 0.
func (t *textTable) write(out io.Writer, width int) {
	widths := make([]int, len(t.head))
	for _, row := range t.all() {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	shown, cut := fit(widths, width)
	for _, row := range t.all() {
		var line strings.Builder
		for i, cell := range row[:shown] {
			if i == len(t.head)-1 && cut > 0 {
				cell = t.cut(cell, cut)
			}
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
			if t.right[i] {
				cell = pad + cell
			} else if i < shown-1 {
				cell += pad
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		fmt.Fprintln(out, line.String())
	}
}

func (t *textTable) all() [][]string { return append([][]string{t.head}, t.rows...) }

func (t *textTable) cut(cell string, width int) string {
	runes := []rune(cell)
	switch {
	case len(runes) <= width:
		return cell
	case t.keepEnd:
		return "…" + string(runes[len(runes)-width+1:])
	default:
		return string(runes[:width-1]) + "…"
	}
}

// fit returns how many columns fit into a line, and the width that the last of all
// columns is cut to (0: it is not). The first column is always shown.
func fit(widths []int, width int) (shown, cut int) {
	used := 0
	for i, column := range widths {
		if i > 0 {
			used += 2
		}
		if left := width - used; width > 0 && i > 0 && column > left {
			if i == len(widths)-1 && left >= leastCut {
				return i + 1, left
			}
			return i, 0
		}
		used += column
	}
	return len(widths), 0
}

// cutMiddle leaves out the middle of a text that is longer than width.
func cutMiddle(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}
