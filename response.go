package caddysnake

// From the pieces that the app sends to the http.ResponseWriter.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var (
	errAppFailed = errors.New("python application failed")
	errTooLarge  = errors.New("request body too large")
	errTimeout   = errors.New("python application did not respond within its request_timeout")
	errReplaced  = errors.New("python application was replaced or stopped before it responded")

	errOtherLength = errors.New("the request's Content-Length is not the length of its body")
)

// exchange is one request being answered.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	slot *slot
	body *bodyStream // nil unless the body is streamed
	sent bool        // the head is out
	slow bool        // the slot knows the client

	pieces, nudgedAt int  // of the response; nudgedAt as of the last nudge
	idle             int  // nudges without a piece between them
	nudged           bool // at all
}

// run writes the app's response. It returns when the response is complete or
// the client is gone; the app may still be running in the latter case.
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
			news := x.slot.news.Swap(0)
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
				return x.giveUp(http.StatusServiceUnavailable, errReplaced)
			}
		case <-gone:
			if x.r.ProtoMajor > 1 || x.slot.c.features&C.SNAKE_WEBSOCKET != 0 {
				x.leave(C.SNAKE_GONE)
				return nil
			}
			// HTTP/1: perhaps the client only closed its sending side. If not, a
			// write will fail soon enough.
			C.snake_gone(x.slot.c, C.SNAKE_STOPPED_SENDING)
			gone = nil
		case <-timedOut:
			return x.giveUp(http.StatusGatewayTimeout, errTimeout)
		}
	}
}

// giveUp answers in the app's place.
func (x *exchange) giveUp(status int, err error) error {
	x.closeIfUnread()
	x.leave(C.SNAKE_TIMED_OUT)
	if x.sent {
		return x.breakOff()
	}
	return caddyhttp.Error(status, err)
}

// standsStill is asked in intervals when the app's code is being replaced. A
// response that has begun and does not move between two of them is a stream that
// waits for something: its app sees a disconnect. It has another interval to end.
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

// leave ends the exchange before the app has.
func (x *exchange) leave(why C.uint32_t) {
	x.stop()
	x.slot.abandon(why)
}

// finish ends the exchange after the app's last piece; the slot may be used
// again from here on.
func (x *exchange) finish() {
	x.stop()
	x.slot.release()
}

// stop has nobody use the body or the ResponseWriter any more.
func (x *exchange) stop() {
	if x.body != nil {
		close(x.body.stop)
	}
	if x.slow {
		slots.setClient(x.slot, nil)
	}
}

// write hands one piece to the client. done tells that it was the last.
func (x *exchange) write() (done bool, err error) {
	c := x.slot.c
	flags := c.out_flags
	if flags&C.SNAKE_OUT_FAIL != 0 {
		return true, x.fail()
	}
	out := x.slot.out()
	if flags&C.SNAKE_OUT_HEAD != 0 && c.out_status == http.StatusSwitchingProtocols {
		x.serveWebSocket(out[:c.out_head_len])
		return true, nil
	}
	if flags&C.SNAKE_OUT_HEAD != 0 {
		x.writeHead(out[:c.out_head_len])
		x.sent = true
	}
	if file := x.slot.takeFile(); file != nil {
		return x.writeFile(file, int64(c.file_offset), int64(c.file_len))
	}
	if flags&C.SNAKE_OUT_END == 0 && !x.slow { // the app waits for the client
		x.slow = true
		// Not through what other handlers have wrapped it with, which is for one goroutine.
		slots.setClient(x.slot, http.NewResponseController(innermost(x.w)))
	}
	data, trailers := out[c.out_head_len:], []byte(nil)
	if flags&C.SNAKE_OUT_TRAILERS != 0 {
		data, trailers = out[c.out_head_len:c.out_body_end], out[c.out_body_end:]
	}
	if len(data) > 0 {
		if _, err := x.w.Write(data); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return true, x.lost(flags)
		}
	}
	if flags&C.SNAKE_OUT_END != 0 {
		header := x.w.Header()
		for name, value := range fields(trailers, int(c.out_trailer_count)) {
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

// writeHints sends what the app hints at before its response (RFC 8297). A hint
// that can't be sent is none.
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
		header["Link"] = nil
		packed := C.GoBytes(unsafe.Pointer(uintptr(unsafe.Pointer(hint))+unsafe.Sizeof(*hint)), C.int(hint.len))
		for len(packed) >= 4 {
			n := 4 + int(binary.LittleEndian.Uint32(packed))
			header["Link"] = append(header["Link"], string(packed[4:n]))
			packed = packed[n:]
		}
		x.w.WriteHeader(http.StatusEarlyHints)
	}
	header["Link"] = kept
	if kept == nil {
		delete(header, "Link")
	}
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

// writeFile completes the response with a part of a file. net/http sends it by
// sendfile where it can.
func (x *exchange) writeFile(file *os.File, offset, length int64) (done bool, err error) {
	defer file.Close()
	x.finish() // the file is ours, apart from the slot
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return true, x.breakOff()
	}
	if _, err := io.CopyN(x.w, file, length); err != nil {
		// The client is gone, or the file can't be read or has become shorter.
		_ = http.NewResponseController(x.w).Flush()
		return true, x.breakOff()
	}
	return true, nil
}

// breakOff ends a response that has begun in a way that the client can see. It
// does not return, except for HTTP/1.0.
func (x *exchange) breakOff() error {
	if x.r.ProtoAtLeast(1, 1) {
		panic(http.ErrAbortHandler) // net/http breaks the connection, or resets the stream
	}
	// The end of the connection is the end of a response: only a reset tells.
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

// fail gives the request to Caddy's error routes; the app's log has the reason.
func (x *exchange) fail() error {
	x.finish()
	x.closeIfUnread()
	if x.body != nil && x.body.tooLarge.Load() {
		return caddyhttp.Error(http.StatusRequestEntityTooLarge, errTooLarge)
	}
	return caddyhttp.Error(http.StatusInternalServerError, errAppFailed)
}

// writeHead sets the app's headers and writes its status. A name that the app
// uses replaces what was set before, such as Server.
func (x *exchange) writeHead(packed []byte) {
	header := x.w.Header()
	n := int(x.slot.c.out_header_count)
	values := make([]string, 0, n) // the headers' slices, in one allocation
	hasType := false
	names := make([]string, 0, 16)
	for name, value := range fields(packed, n) {
		values = append(values, value)
		if len(header[name]) > 0 && slices.Contains(names, name) {
			header[name] = append(header[name], value)
		} else {
			header[name] = values[len(values)-1 : len(values) : len(values)]
		}
		names = append(names, name)
		hasType = hasType || name == "Content-Type"
	}
	if !hasType {
		header["Content-Type"] = nil // no guesses in the app's name
	}
	if x.slot.c.out_status == http.StatusNoContent {
		delete(header, "Content-Length") // RFC 9110 section 8.6
	}
	x.closeIfUnread()
	x.w.WriteHeader(int(x.slot.c.out_status))
	if x.r.ProtoMajor == 3 && x.r.Method == http.MethodHead && len(header["Content-Length"]) == 0 {
		// Else quic-go says that the body which it doesn't send has no bytes.
		_ = http.NewResponseController(x.w).Flush()
	}
}

// closeIfUnread announces the end of an HTTP/1 connection whose request body
// has not been read completely: what the client still sends must not be taken
// for its next request.
func (x *exchange) closeIfUnread() {
	if x.body != nil && !x.body.finished.Load() && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}

// canonicalNames spares most responses an allocation per header.
var canonicalNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range append([]string{
		"Server", "Date", "Location", "Set-Cookie", "Vary", "Etag", "Last-Modified", "Expires",
		"X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Allow", "Content-Encoding",
		"Content-Language", "Content-Disposition", "Cross-Origin-Opener-Policy", "Accept-Ranges",
		"Access-Control-Allow-Origin", "Strict-Transport-Security", "Content-Security-Policy", "Link",
	}, knownHeaders...) {
		names[name] = name
		names[strings.ToLower(name)] = name
	}
	return names
}()

func canonicalName(name string) string {
	if known, ok := canonicalNames[name]; ok {
		return known
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// fields yields the n fields of a packed list, names in their canonical form.
// All of them share one copy of it.
func fields(packed []byte, n int) iter.Seq2[string, string] {
	text := string(packed)
	return func(yield func(name, value string) bool) {
		for range n {
			nameEnd := 8 + int(binary.LittleEndian.Uint32(packed))
			end := nameEnd + int(binary.LittleEndian.Uint32(packed[4:]))
			if !yield(canonicalName(text[8:nameEnd]), text[nameEnd:end]) {
				return
			}
			packed, text = packed[end:], text[end:]
		}
	}
}
