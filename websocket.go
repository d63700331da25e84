package caddysnake

// A websocket between its client and the app: converts messages of internal/wsconn
// to records (the format of core/asgi_websocket.c), and back.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"sync"
	"unsafe"

	"github.com/caddysnake/caddysnake/internal/wsconn"
)

const (
	// inboxLimit is the number of buffered bytes at which reading from the client
	// pauses.
	inboxLimit = 64 << 10
	// recordClose is the kind of a record with a close code and a reason. The kinds
	// of messages are wsconn's types.
	recordClose = 8

	// Close codes (IANA's registry).
	codeAbnormal       = 1006 // no close frame has arrived
	codeServiceRestart = 1012
)

// webSocket is one open websocket. One goroutine reads from the client. A
// short-lived goroutine writes each piece from the app, so an idle websocket costs
// one small goroutine.
type webSocket struct {
	slot *slot
	conn *wsconn.Conn

	mu     sync.Mutex // guards the fields below
	room   sync.Cond  // signalled when inbox was emptied, or ended was set
	inbox  []byte     // records for the app
	wanted bool       // the app waits for records
	ended  bool       // the app gets no further records
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

// serveWebSocket upgrades the connection after the app has accepted, and returns;
// the websocket lives on without the handler. It returns false, and leaves the
// connection unchanged, if the head is invalid.
func (x *exchange) serveWebSocket(packed []byte) bool {
	c := x.slot.c
	headers, fits := unpackHeaders(packed, int(c.out_header_count))
	if !fits || c.features&C.SNAKE_WEBSOCKET == 0 {
		return false
	}
	header := http.Header{}
	for name, value := range headers.all() {
		header.Add(name, value)
	}
	w := newWebSocket(x.slot)
	err := w.upgrade(x.w, x.r, header)
	x.over = true // the websocket owns the slot
	w.slot.setReceiver(w)
	if err != nil {
		w.end(codeAbnormal, "")
		w.slot.release()
		return true
	}
	if !w.slot.gen.webSockets.add(w) {
		w.goAway()
	}
	w.conn.StartPings()
	C.snake_ack(c)
	go w.run()
	return true
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
	w.slot.release()
}

// receive implements receiver: it handles the app's pieces and requests for
// records.
func (w *webSocket) receive() {
	news := w.slot.take(C.SNAKE_GO_RESPONSE | C.SNAKE_GO_WANT_BODY)
	if news&C.SNAKE_GO_RESPONSE != 0 {
		w.slot.refs.Add(1)
		go w.writePiece()
	}
	if news&C.SNAKE_GO_WANT_BODY != 0 {
		w.want()
	}
}

// want records that the app can take more records.
func (w *webSocket) want() {
	w.mu.Lock()
	w.wanted = true
	w.deliver()
	w.mu.Unlock()
}

// deliver passes the inbox to the app if both are ready. The caller holds mu.
func (w *webSocket) deliver() {
	if !w.wanted || (len(w.inbox) == 0 && !w.ended) {
		return
	}
	w.wanted = false
	c := w.slot.c
	c.chunk_len, c.chunk_end = 0, C.SNAKE_MORE
	if w.ended {
		c.chunk_end = C.SNAKE_EOF
	}
	if C.snake_slot_reserve_chunk(c, C.size_t(max(1, len(w.inbox)))) == 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(c.chunk)), len(w.inbox)), w.inbox)
		c.chunk_len = C.size_t(len(w.inbox))
	} else {
		c.chunk_end = C.SNAKE_LOST
	}
	w.inbox = nil
	w.room.Broadcast()
	C.snake_body_ready(c)
}

// push passes a message to the app. It waits while the inbox is full.
func (w *webSocket) push(kind wsconn.MessageType, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.inbox) >= inboxLimit && !w.ended {
		w.conn.Pause()
		for len(w.inbox) >= inboxLimit && !w.ended {
			w.room.Wait()
		}
		w.conn.Resume()
	}
	if w.ended {
		return
	}
	w.appendRecord(byte(kind), payload)
	w.deliver()
}

func (w *webSocket) appendRecord(kind byte, payload []byte) {
	w.inbox = append(w.inbox, kind)
	w.inbox = binary.LittleEndian.AppendUint32(w.inbox, uint32(len(payload)))
	w.inbox = append(w.inbox, payload...)
}

// end tells the app, once, the code and reason of the close.
func (w *webSocket) end(code uint16, reason string) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.ended = true
	w.appendRecord(recordClose, append(binary.LittleEndian.AppendUint16(nil, code), reason...))
	w.deliver()
	w.room.Broadcast()
	w.mu.Unlock()
	C.snake_gone(w.slot.c, C.SNAKE_CLOSED)
}

// writePiece writes the app's piece to the client.
func (w *webSocket) writePiece() {
	defer w.slot.release()
	c := w.slot.c
	flags := c.out_flags
	out, fits := w.slot.out()
	if err := w.writeRecords(out.body); !fits || err != nil {
		if !fits || errors.Is(err, errBadRecord) {
			w.slot.complain(errBadRecord)
		}
		w.conn.CloseNow() // the reader notices
	}
	if flags&C.SNAKE_OUT_ABORT != 0 {
		w.conn.CloseNow()
	}
	if flags&(C.SNAKE_OUT_ABORT|C.SNAKE_OUT_END) == 0 {
		C.snake_ack(c)
		return
	}
	w.mu.Lock() // the app takes no more
	w.ended = true
	w.room.Broadcast()
	w.mu.Unlock()
}

var errBadRecord = errors.New("a websocket record does not fit into its buffer")

// writeRecords sends a piece's messages to the client.
func (w *webSocket) writeRecords(packed []byte) error {
	for c := (cursor[[]byte]{left: packed}); len(c.left) > 0; {
		opcode, payload := c.record()
		switch kind := wsconn.MessageType(opcode); {
		case c.broken:
			return errBadRecord
		case kind == wsconn.Text || kind == wsconn.Binary:
			if err := w.conn.WriteMessage(kind, payload); err != nil {
				return err
			}
		case kind == recordClose && len(payload) >= 2:
			w.conn.Close(binary.LittleEndian.Uint16(payload), string(payload[2:]))
		default:
			return errBadRecord
		}
	}
	return nil
}

// goAway closes the websocket because the app is being replaced or stopped.
func (w *webSocket) goAway() {
	w.conn.Close(codeServiceRestart, "")
	w.end(codeServiceRestart, "")
}

// Interface guard
var _ receiver = (*webSocket)(nil)
