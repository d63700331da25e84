package caddysnake

// A websocket between its client and the app: messages of internal/wsconn become
// records in one ring, and records in the other ring become messages.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
	"sync"

	"github.com/caddysnake/caddysnake/internal/wsconn"
)

const (
	// minPart is the shortest part of a message for which the reader wakes up.
	minPart = 4 << 10

	// Close codes (IANA's registry).
	codeAbnormal       = 1006 // no close frame has arrived
	codeInternalError  = 1011
	codeServiceRestart = 1012
)

// webSocket is one open websocket. One goroutine reads from the client. A
// short-lived goroutine writes what the app sends, so an idle websocket costs one
// small goroutine.
type webSocket struct {
	slot *slot
	conn *wsconn.Conn // nil if the upgrade has failed; constant otherwise

	mu    sync.Mutex // guards slot.in and the fields below
	room  sync.Cond  // signalled when the app has taken something, or ended was set
	ended bool       // the app gets no further records
	left  bool       // the slot is about to be released

	output webSocketOutput
	idle   idleMark
}

func newWebSocket(s *slot) *webSocket {
	w := &webSocket{slot: s}
	w.room.L = &w.mu
	return w
}

// upgrade answers the handshake with the app's headers and hijacks the connection.
func (w *webSocket) upgrade(rw http.ResponseWriter, r *http.Request, wanted http.Header) (err error) {
	config := &w.slot.gen.webSockets.config
	w.conn, err = wsconn.Upgrade(unwrapped{rw}, r, wanted, wsconn.Options{
		MaxSize:      config.MaxSize,
		PingInterval: config.PingInterval,
		PingTimeout:  config.PingTimeout,
		Compression:  config.Compression,
		Ended:        w.end,
	})
	return err
}

// unwrapped writes through all ResponseWriters, but hijacks the connection of the
// server's own.
type unwrapped struct{ http.ResponseWriter }

func (u unwrapped) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(innermost(u.ResponseWriter)).Hijack()
}

// innermost returns the server's own ResponseWriter. Wrappers added by other
// handlers are not safe for concurrent use, nor after ServeHTTP has returned.
func innermost(rw http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := rw.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return rw
		}
		rw = wrapper.Unwrap()
	}
}

// serveWebSocket upgrades the connection after the app has accepted; the websocket
// lives on without the handler.
func (x *exchange) serveWebSocket(headers unpackedHeaders) {
	header := http.Header{}
	for name, value := range headers.all() {
		header.Add(name, value)
	}
	w := newWebSocket(x.slot)
	err := w.upgrade(x.w, x.r, header)
	if err == nil {
		x.measured.answered(http.StatusSwitchingProtocols)
	}
	x.measured.leaveSlot(x.slot)
	x.over = true // the websocket owns the slot
	w.slot.setReceiver(w)
	if err != nil {
		w.end(codeAbnormal, "")
		w.slot.release()
		return
	}
	if !w.slot.gen.webSockets.add(w) {
		w.goAway()
	}
	w.conn.StartPings()
	w.write() // records that came with the head
	go w.run()
}

// run reads from the client until the websocket has ended.
func (w *webSocket) run() {
	for {
		kind, message, err := w.conn.ReadMessage()
		if err != nil {
			break
		}
		w.push(kind, message)
	}
	w.end(codeAbnormal, "") // no effect if the websocket has ended already
	w.conn.CloseNow()
	w.slot.gen.webSockets.remove(w)
	w.mu.Lock()
	w.left = true
	w.mu.Unlock()
	w.slot.release()
}

// receive implements receiver.
func (w *webSocket) receive() {
	news := w.slot.take(C.SNAKE_GO_OUT | C.SNAKE_GO_WANT_BODY | newsLost)
	if news&C.SNAKE_GO_OUT != 0 && w.conn != nil {
		w.write()
	}
	if news&newsLost != 0 && w.conn != nil {
		w.stop()
		go w.conn.Close(codeInternalError, "")
	}
	if news&C.SNAKE_GO_WANT_BODY != 0 {
		w.mu.Lock()
		w.room.Broadcast()
		w.mu.Unlock()
	}
}

// recordKinds are the kinds of records with messages.
var recordKinds = map[wsconn.MessageType]uint32{wsconn.Text: C.SNAKE_TEXT, wsconn.Binary: C.SNAKE_BINARY}

// push passes a message to the app, in parts if it is long. It waits while the ring
// has no room.
func (w *webSocket) push(kind wsconn.MessageType, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for paused := false; !w.ended; {
		in := &w.slot.in
		room := in.Room()
		if room < len(payload) && room < minPart {
			w.slot.wantRoom()
			room = in.Room() // there may be room since
		}
		if room < len(payload) && room < minPart {
			if !paused {
				paused = true
				w.conn.Pause()
				defer w.conn.Resume()
			}
			w.room.Wait()
			continue
		}
		record, n := recordKinds[kind], len(payload)
		if room < n {
			record, n = record|C.SNAKE_PART, room
		}
		in.Write(record, payload[:n], nil)
		in.Publish()
		w.slot.notify(C.SNAKE_WAIT_IN)
		w.noteTraffic()
		if payload = payload[n:]; record&C.SNAKE_PART == 0 {
			return
		}
	}
}

// end tells the app, once, the code and reason of the close.
func (w *webSocket) end(code uint16, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	w.slot.in.Write(C.SNAKE_CLOSE, binary.NativeEndian.AppendUint16(nil, code), []byte(reason))
	w.slot.in.Publish()
	w.room.Broadcast()
	w.slot.gone(C.SNAKE_CLOSED)
}

// stop is called when the app takes no more records.
func (w *webSocket) stop() {
	w.mu.Lock()
	w.ended = true
	w.room.Broadcast()
	w.mu.Unlock()
}

// goAway closes the websocket because the app is being replaced or stopped.
func (w *webSocket) goAway() {
	w.conn.Close(codeServiceRestart, "")
	w.end(codeServiceRestart, "")
}

// Interface guard
var _ receiver = (*webSocket)(nil)
