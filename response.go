package caddysnake

// Writes the pieces of the app's response to the http.ResponseWriter.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
	"unsafe"
)

// exchange is one request being answered.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	slot *slot
	body *bodyStream // nil unless the body is streamed
	sent bool        // the head is written
	slow bool        // setClient was called

	pushed bool // Python has got the slot
	over   bool // the slot was released

	pieces, nudgedAt int  // pieces of the response, and their number at the last nudge
	idle             int  // nudges since the last piece
	nudged           bool // nudged at least once
}

// run writes the app's response. It returns when the response is complete or the
// client is gone; in the latter case the app may still be running.
func (x *exchange) run(timeout time.Duration) error {
	gone := x.r.Context().Done()
	var timedOut <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		timedOut = timer.C
	}
	for {
		select {
		case <-x.slot.piece:
			news := x.slot.take(C.SNAKE_GO_RESPONSE | C.SNAKE_GO_HINT | newsNudge | newsCut)
			if news&C.SNAKE_GO_HINT != 0 {
				x.writeHints()
			}
			if news&C.SNAKE_GO_RESPONSE != 0 {
				x.pieces++
				if done, err := x.write(); done {
					return err
				}
			} else if news&newsNudge != 0 && x.standsStill() {
				x.leave(C.SNAKE_GONE)
				return x.breakOff()
			}
			if news&newsCut != 0 {
				return x.giveUp(errReplaced)
			}
		case <-gone:
			if x.r.ProtoMajor > 1 || x.slot.c.features&C.SNAKE_WEBSOCKET != 0 {
				x.leave(C.SNAKE_GONE)
				return nil
			}
			// HTTP/1: the client may have closed only its sending side. If it has
			// left, a write will fail soon enough.
			C.snake_gone(x.slot.c, C.SNAKE_STOPPED_SENDING)
			gone = nil
		case <-timedOut:
			return x.giveUp(errTimeout)
		}
	}
}

// giveUp ends the exchange and answers in the app's place.
func (x *exchange) giveUp(err error) error {
	x.closeIfUnread()
	x.leave(C.SNAKE_TIMED_OUT)
	if x.sent {
		return x.breakOff()
	}
	return refuse(x.w, err)
}

// standsStill is called at intervals while the app's code is being replaced. A
// started response that wrote nothing between two nudges is treated as an idle
// stream: its app sees a disconnect and has one more interval to end.
func (x *exchange) standsStill() bool {
	if !x.sent || !x.nudged || x.pieces != x.nudgedAt {
		x.nudged, x.nudgedAt, x.idle = true, x.pieces, 0
		return false
	}
	x.idle++
	if x.idle == 1 {
		C.snake_gone(x.slot.c, C.SNAKE_STOPPED_SENDING)
	}
	return x.idle > 1
}

// leave ends the exchange while the app still runs.
func (x *exchange) leave(why C.uint32_t) {
	x.stop()
	x.slot.c.abandoned = abandoned.count(x.r)
	x.slot.abandon(why)
}

// finish ends the exchange after the app's last piece. The slot may be reused
// afterwards.
func (x *exchange) finish() {
	x.stop()
	x.slot.release()
}

// letGo ends the exchange if it has not ended yet.
func (x *exchange) letGo() {
	switch {
	case x.over:
	case x.pushed:
		x.leave(C.SNAKE_GONE)
	default:
		x.slot.release()
	}
}

// stop ends all use of the body and of the ResponseWriter.
func (x *exchange) stop() {
	x.over = true
	if x.body != nil {
		close(x.body.stop)
	}
	if x.slow {
		slots.setClient(x.slot, nil)
	}
}

// write writes one piece to the client. done is true after the last piece.
func (x *exchange) write() (done bool, err error) {
	c := x.slot.c
	flags := c.out_flags
	if flags&C.SNAKE_OUT_FAIL != 0 {
		return true, x.fail()
	}
	if flags&C.SNAKE_OUT_ABORT != 0 && !x.sent {
		return true, x.endUnanswered()
	}
	piece, fits := x.slot.out()
	if !fits {
		return true, x.misfit(flags)
	}
	if flags&C.SNAKE_OUT_HEAD != 0 && c.out_status == http.StatusSwitchingProtocols &&
		c.features&C.SNAKE_WEBSOCKET != 0 {
		if !x.serveWebSocket(piece.head) {
			return true, x.misfit(flags)
		}
		return true, nil
	}
	if flags&C.SNAKE_OUT_HEAD != 0 {
		if !x.writeHead(piece.head) {
			return true, x.misfit(flags)
		}
		x.sent = true
	}
	if file := x.slot.takeFile(); file != nil {
		return x.writeFile(file, flags)
	}
	if flags&C.SNAKE_OUT_END == 0 && !x.slow { // the app waits until the client reads
		x.slow = true
		// Wrappers added by other handlers are not safe for concurrent use, nor
		// after ServeHTTP has returned.
		slots.setClient(x.slot, http.NewResponseController(innermost(x.w)))
	}
	if len(piece.body) > 0 {
		if _, err := x.w.Write(piece.body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return true, x.lost(flags)
		}
	}
	if flags&C.SNAKE_OUT_END != 0 {
		trailers, fits := unpackHeaders(piece.trailers, int(c.out_trailer_count))
		if !fits {
			return true, x.misfit(flags)
		}
		header := x.w.Header()
		for name, value := range trailers.all() {
			header.Add(http.TrailerPrefix+name, value)
		}
		x.finish()
		return true, nil
	}
	if err := http.NewResponseController(x.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return true, x.lost(flags)
	}
	if flags&C.SNAKE_OUT_ABORT != 0 {
		x.finish()
		return true, x.breakOff()
	}
	C.snake_ack(c)
	return false, nil
}

// writeHints sends the app's early hints before its response (RFC 8297). A hint
// that can't be sent is dropped.
func (x *exchange) writeHints() {
	newest := x.slot.takeHints()
	defer C.snake_hints_free(newest)
	var oldest []*C.snake_hint
	for hint := newest; hint != nil; hint = hint.next {
		oldest = append(oldest, hint)
	}
	header := x.w.Header()
	kept := header["Link"]
	for _, hint := range slices.Backward(oldest) {
		links, fits := unpackLinks(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(hint), unsafe.Sizeof(*hint))), int(hint.len)))
		if !fits {
			x.slot.complain(errMisfit)
			continue
		}
		header["Link"] = links
		x.w.WriteHeader(http.StatusEarlyHints)
	}
	header["Link"] = kept
	if kept == nil {
		delete(header, "Link")
	}
}

// misfit ends the exchange after an invalid piece: a length, a count or a status
// contradicts the rest. Nothing of the piece goes to the client.
func (x *exchange) misfit(flags C.uint32_t) error {
	if x.sent { // otherwise Caddy logs the returned error
		x.slot.complain(errMisfit)
	}
	_ = x.lost(flags)
	if x.sent {
		return x.breakOff()
	}
	x.closeIfUnread()
	return refuse(x.w, errMisfit)
}

// lost ends the exchange after a failed write.
func (x *exchange) lost(flags C.uint32_t) error {
	if flags&(C.SNAKE_OUT_END|C.SNAKE_OUT_ABORT) != 0 {
		x.finish()
	} else {
		x.leave(C.SNAKE_GONE)
	}
	return nil
}

// writeFile completes the response with part of a file.
func (x *exchange) writeFile(file *os.File, flags C.uint32_t) (done bool, err error) {
	defer file.Close()
	offset, length := int64(x.slot.c.file_offset), int64(x.slot.c.file_len)
	x.finish() // the file no longer belongs to the slot
	if err := copyFile(x.w, file, offset, length, flags&C.SNAKE_OUT_SHARED != 0); err != nil {
		// The client is gone, or the file can't be read or got shorter.
		_ = http.NewResponseController(x.w).Flush()
		return true, x.breakOff()
	}
	return true, nil
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

// breakOff ends a started response in a way that the client can detect. It does not
// return, except for HTTP/1.0.
func (x *exchange) breakOff() error {
	if x.r.ProtoAtLeast(1, 1) {
		panic(http.ErrAbortHandler) // net/http breaks the connection, or resets the stream
	}
	// For HTTP/1.0 a closed connection is a normal end; only a reset signals an
	// error.
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return conn.Close()
}

// fail passes the request to Caddy's error routes; the app's log has the reason.
func (x *exchange) fail() error {
	x.finish()
	x.closeIfUnread()
	if x.body != nil && x.body.tooLarge.Load() {
		return refuse(x.w, errTooLarge)
	}
	return refuse(x.w, errAppFailed)
}

// endUnanswered ends an exchange whose app ended without a response after it was
// told that its client had left or that the body can't be read.
func (x *exchange) endUnanswered() error {
	broken := x.body != nil && x.body.broken.Load()
	if !broken && x.r.Context().Err() == nil {
		return x.fail()
	}
	x.finish()
	if broken { // the client may still read
		if x.r.ProtoMajor == 1 { // on HTTP/2 this would end other streams too
			x.w.Header().Set("Connection", "close")
		}
		return refuse(x.w, errBroken)
	}
	panic(http.ErrAbortHandler)
}

// writeHead sets the app's headers and writes its status. The app's header replaces
// an earlier one of the same name, such as Server. It returns false, and writes
// nothing, when the head is invalid.
func (x *exchange) writeHead(packed []byte) bool {
	status := int(x.slot.c.out_status)
	headers, fits := unpackHeaders(packed, int(x.slot.c.out_header_count))
	if !fits || status < http.StatusOK || status > 999 {
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

// closeIfUnread announces the end of an HTTP/1 connection whose request body was
// not read completely: the rest must not be parsed as the next request.
func (x *exchange) closeIfUnread() {
	if x.body != nil && !x.body.finished.Load() && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}
