package caddysnake

// Turns what a worker writes to a standard stream into messages: one per line, and one
// per traceback, as caddysnake_py/streams.py does in Caddy's process.

import "bytes"

// maxLine is where longer lines are split, in bytes: a line without an end must not
// exhaust the memory.
const maxLine = 1 << 20

var tracebackHeader = []byte("Traceback (most recent call last):")

// lineSplitter collects the bytes of one stream. It is not safe for concurrent use.
type lineSplitter struct {
	emit    func(message string)
	partial []byte // the unfinished line
	block   []byte // the lines of an unfinished traceback; nil: there is none
}

// write adds bytes and emits the messages that they complete.
func (l *lineSplitter) write(data []byte) {
	for {
		line, rest, found := bytes.Cut(data, []byte("\n"))
		l.partial = append(l.partial, line...)
		if !found {
			break
		}
		l.endLine()
		data = rest
	}
	for len(l.partial) > maxLine {
		l.emit(string(l.partial[:maxLine]))
		l.partial = append(l.partial[:0], l.partial[maxLine:]...)
	}
}

// close emits what is unfinished.
func (l *lineSplitter) close() {
	if len(l.partial) > 0 {
		l.endLine()
	}
	l.endBlock()
}

func (l *lineSplitter) endLine() {
	line := l.partial
	switch {
	case l.block != nil:
		l.block = append(append(l.block, '\n'), line...)
		// The first line after the header that is not indented ends the traceback.
		if len(line) > 0 && line[0] != ' ' || len(l.block) > maxLine {
			l.endBlock()
		}
	case bytes.Equal(line, tracebackHeader):
		l.block = bytes.Clone(line)
	case len(line) > 0:
		l.emit(string(bytes.TrimSuffix(line, []byte("\r"))))
	}
	l.partial = l.partial[:0]
	if cap(l.partial) > maxLine/16 {
		l.partial = nil // an unusually long line
	}
}

func (l *lineSplitter) endBlock() {
	if l.block != nil {
		l.emit(string(bytes.TrimRight(l.block, "\n")))
		l.block = nil
	}
}
