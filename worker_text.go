package caddysnake

// Makes text that a worker has written fit for the log, as caddysnake_py/logs.py does
// in Caddy's process: Caddy's console encoder writes it unescaped.

import (
	"fmt"
	"strings"
	"unicode"
)

// printable escapes control characters other than tabs and newlines, and indents
// lines that could be mistaken for a record of the log.
func printable(text string) string {
	if strings.IndexFunc(text, isUnprintable) < 0 {
		return text
	}
	var b strings.Builder
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if i > 0 {
			b.WriteByte('\n')
			if looksLikeRecord(line) {
				b.WriteString("    ")
			}
		}
		for _, r := range line {
			switch {
			case r == '\t' || !isUnprintable(r):
				b.WriteRune(r)
			case r < 0x100:
				fmt.Fprintf(&b, `\x%02x`, r)
			default:
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		}
	}
	return b.String()
}

// oneLine escapes all control characters.
func oneLine(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(printable(text))
}

// isUnprintable tells control characters, line separators, and characters that change
// the direction of writing.
func isUnprintable(r rune) bool {
	switch {
	case unicode.IsControl(r), r == 0x2028, r == 0x2029:
		return true
	default:
		return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
}

// looksLikeRecord tells whether a line could be a record of JSON, one that begins with
// a time, or one with tabs between its fields.
func looksLikeRecord(line string) bool {
	if line == "" {
		return false
	}
	first := line[0]
	if first >= '0' && first <= '9' || first == '{' || first == '[' {
		return true
	}
	return !unicode.IsSpace(rune(first)) && strings.ContainsRune(line, '\t')
}
