package caddysnake

// Writes the app's response, records in a ring, to the http.ResponseWriter.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/caddysnake/caddysnake/internal/ring"
)

// timeToSend is the time that the beginning of a broken response has to leave for its
// client.
const timeToSend = 20 * time.Millisecond

// errClientLost means that the client can't be written to.
var errClientLost = errors.New("the client is gone")

// write writes all records that are there to the client. done is true after the
// last record.
func (x *exchange) write() (done bool, err error) {
	out := &x.slot.out
	some, flush := false, false
	for {
		record, ok, broken := out.Next()
		if broken != nil {
			return true, x.misfit()
		}
		if !ok {
			break
		}
		some = true
		out.Done() // the memory stays ours until giveBack
		switch record.Kind {
		case C.SNAKE_END, C.SNAKE_FAIL, C.SNAKE_ABORT, C.SNAKE_FILE:
			return true, x.end(record, flush)
		case C.SNAKE_DATA:
			err = x.writeData(record)
			flush = true
		case C.SNAKE_HEAD:
			if done, err = x.begin(record); done {
				return true, nil
			}
			flush = true
		case C.SNAKE_HINT:
			x.writeHint(record)
		case C.SNAKE_TRAILERS:
			err = x.addTrailers(record)
		default:
			err = errMisfit
		}
		if err != nil {
			return true, x.spoiled(err)
		}
	}
	if flush && !x.flush() {
		return true, x.spoiled(errClientLost)
	}
	if some {
		x.pieces++
		x.slot.giveBack()
	}
	return false, nil
}

// spoiled ends the exchange after an error in the middle of the response.
func (x *exchange) spoiled(err error) error {
	if errors.Is(err, errMisfit) {
		return x.misfit()
	}
	x.leave(C.SNAKE_GONE)
	return nil
}

// end ends the exchange with the app's last record.
func (x *exchange) end(record ring.Record, flush bool) error {
	switch {
	case record.Kind == C.SNAKE_FAIL && !x.sent:
		return x.fail()
	case record.Kind == C.SNAKE_ABORT && !x.sent:
		return x.endUnanswered()
	case record.Kind == C.SNAKE_FAIL || !x.sent:
		return x.misfit()
	case record.Kind == C.SNAKE_FILE:
		return x.writeFile(record)
	case record.Kind == C.SNAKE_ABORT:
		if flush && !x.flush() {
			return x.spoiled(errClientLost)
		}
		if flush && x.r.ProtoMajor == 3 { // a reset discards what QUIC has not sent yet
			time.Sleep(timeToSend)
		}
		x.finish()
		return x.breakOff()
	default:
		// A response in several pieces must look the same whether they arrive at
		// once or not: net/http would give it a Content-Length.
		if flush && x.slow && !x.flush() {
			return x.spoiled(errClientLost)
		}
		x.finish()
		return nil
	}
}

// flush sends what was written to the client. It returns false if that fails.
func (x *exchange) flush() bool {
	err := http.NewResponseController(x.w).Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported)
}

// copies are buffers for parts of a body.
var copies = sync.Pool{New: func() any { return new([]byte) }}

// writeData writes a part of the body.
func (x *exchange) writeData(record ring.Record) error {
	if !x.sent {
		return errMisfit
	}
	if !x.slow && !x.endsNext() { // the app waits until the client reads
		x.slow = true
		// Wrappers added by other handlers are not safe for concurrent use, nor
		// after ServeHTTP has returned.
		x.slot.setClient(http.NewResponseController(innermost(x.w)))
	}
	parts := [2][]byte{record.First, record.Second}
	if !x.slot.home.isTrusted() { // writers such as encoders read more than once
		buffer := copies.Get().(*[]byte)
		defer copies.Put(buffer)
		*buffer = record.AppendTo((*buffer)[:0])
		parts = [2][]byte{*buffer, nil}
	}
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		if _, err := x.w.Write(part); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return errClientLost
		}
	}
	return nil
}

// endsNext tells whether the response's end is in the ring, right behind the body.
func (x *exchange) endsNext() bool {
	next, ok, _ := x.slot.out.Next()
	return ok && (next.Kind == C.SNAKE_END || next.Kind == C.SNAKE_TRAILERS)
}

// addTrailers sets the headers that follow the body.
func (x *exchange) addTrailers(record ring.Record) error {
	c := cursor[[]byte]{left: record.Payload()}
	count := c.uint32()
	trailers, fits := unpackHeaders(c.left, count)
	if c.broken || !fits || !x.sent {
		return errMisfit
	}
	header := x.w.Header()
	for name, value := range trailers.all() {
		header.Add(http.TrailerPrefix+name, value)
	}
	return nil
}

// writeHint sends links before the response (RFC 8297). A hint that can't be sent is
// dropped.
func (x *exchange) writeHint(record ring.Record) {
	links, fits := unpackLinks(record.Payload())
	if !fits {
		x.slot.complain(errMisfit)
	}
	if !fits || x.sent {
		return
	}
	header := x.w.Header()
	kept := header["Link"]
	header["Link"] = links
	x.w.WriteHeader(http.StatusEarlyHints)
	header["Link"] = kept
	if kept == nil {
		delete(header, "Link")
	}
}

// writeFile completes the response with part of a file.
func (x *exchange) writeFile(record ring.Record) error {
	const size = 8 + 8 + 4 + 4
	var part [size]byte
	if record.Len() != size {
		return x.misfit()
	}
	record.AppendTo(part[:0])
	offset := int64(binary.NativeEndian.Uint64(part[:]))
	length := int64(binary.NativeEndian.Uint64(part[8:]))
	shared := binary.NativeEndian.Uint32(part[16:]) != 0
	if offset < 0 || length < 0 {
		return x.misfit()
	}
	file := x.slot.home.takeFile(x.slot, true)
	if file == nil {
		return x.misfit()
	}
	defer file.Close()
	x.finish() // the file no longer belongs to the slot
	if err := copyFile(x.w, file, offset, length, shared); err != nil {
		// The client is gone, or the file can't be read or got shorter.
		_ = http.NewResponseController(x.w).Flush()
		return x.breakOff()
	}
	return nil
}

// copyFile copies part of a file. net/http uses sendfile where it can, which needs
// a file offset of its own. If the app shares the offset, copyFile reopens the
// file. Where that fails, as for a file that this process may not open, copyFile
// reads with pread instead.
func copyFile(w io.Writer, file *os.File, offset, length int64, shared bool) error {
	if shared {
		own, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
		if err != nil {
			_, err := io.CopyN(w, io.NewSectionReader(file, offset, length), length)
			return err
		}
		defer own.Close()
		file = own
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(w, file, length)
	return err
}

// begin writes the head. done is true if a websocket has taken the connection over.
func (x *exchange) begin(record ring.Record) (done bool, err error) {
	c := cursor[[]byte]{left: record.Payload()}
	status, count := c.uint32(), c.uint32()
	headers, fits := unpackHeaders(c.left, count) // a copy: the app's side can't change it
	if c.broken || !fits || x.sent {
		return false, errMisfit
	}
	if status == http.StatusSwitchingProtocols && x.slot.features&C.SNAKE_WEBSOCKET != 0 {
		x.serveWebSocket(headers)
		return true, nil
	}
	if !x.writeHead(status, headers) {
		return false, errMisfit
	}
	x.sent = true
	x.measured.answered(int(status))
	return false, nil
}

// writeHead sets the app's headers and writes its status. The app's header replaces
// an earlier one of the same name, such as Server. It returns false, and writes
// nothing, when the status is invalid.
func (x *exchange) writeHead(status int, headers unpackedHeaders) bool {
	if status < http.StatusOK || status > 999 {
		return false
	}
	header := x.w.Header()
	hasType := false
	for i, name := range headers.names {
		if len(header[name]) > 0 && slices.Contains(headers.names[:i], name) {
			header[name] = append(header[name], headers.values[i])
		} else {
			header[name] = headers.values[i : i+1 : i+1]
		}
		hasType = hasType || name == "Content-Type"
	}
	if !hasType {
		header["Content-Type"] = nil // net/http must not guess it for the app
	}
	if status == http.StatusNoContent {
		delete(header, "Content-Length") // RFC 9110 section 8.6
	}
	x.closeIfUnread()
	x.w.WriteHeader(status)
	if x.r.ProtoMajor == 3 && x.r.Method == http.MethodHead && len(header["Content-Length"]) == 0 {
		// Otherwise quic-go sets Content-Length: 0 for the body that it does not
		// send.
		_ = http.NewResponseController(x.w).Flush()
	}
	return true
}
