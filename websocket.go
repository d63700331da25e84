package caddysnake

// A websocket between its client and the app. Framing is gobwas/ws's
// (docs/decisions/0010); messages travel to and from Python as the records of
// core/asgi_websocket.c.

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
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
)

const (
	// inboxLimit is how many bytes of messages wait for the app before the
	// client's sending is held up.
	inboxLimit = 64 << 10
	// closeTimeout is how long a client may take to answer a close.
	closeTimeout = 5 * time.Second
	// statusServiceRestart is in IANA's registry of close codes.
	statusServiceRestart ws.StatusCode = 1012
)

// webSocket is one open websocket. A goroutine reads from the client; pieces
// from the app are written on goroutines that live for one piece, so that an
// idle websocket costs one small goroutine.
type webSocket struct {
	slot  *slot // its generation has the configuration
	conn  net.Conn
	in    *bufio.Reader
	flate bool // permessage-deflate was negotiated

	writing  sync.Mutex   // frames to conn
	closing  atomic.Bool  // our close frame is out
	received atomic.Int64 // when the client sent something, in unix nanoseconds
	ping     *time.Timer

	mu      sync.Mutex // the rest
	room    sync.Cond  // inbox has become shorter, or ended
	inbox   []byte     // records for the app
	wanted  bool       // the app waits for them
	ended   bool       // the last record is the close
	blocked bool       // the reader waits for the app
}

// webSocketConfig is what the websocket option sets.
type webSocketConfig struct {
	MaxSize      int64
	PingInterval time.Duration
	PingTimeout  time.Duration
	Compression  bool
}

// serveWebSocket upgrades the connection as the app has accepted, and returns:
// the websocket goes on without the handler. False: there is something in the
// head that can't be, and the connection is as it was.
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
	w := &webSocket{slot: x.slot}
	w.room.L = &w.mu
	err := w.upgrade(x.w, x.r, header)
	x.over = true // the slot is the websocket's
	w.slot.ws.Store(w)
	select { // what came before dispatch knew of w
	case <-w.slot.want:
		w.want()
	default:
	}
	if err != nil {
		w.end(ws.StatusAbnormalClosure, "")
		w.slot.release()
		return true
	}
	w.received.Store(time.Now().UnixNano())
	if !w.slot.gen.webSockets.add(w) {
		w.goAway()
	}
	w.startPings()
	C.snake_ack(c)
	go w.run()
	return true
}

// dispatch is told of the app's pieces and wishes; it must not wait.
func (w *webSocket) dispatch(events uint32) {
	if events&C.SNAKE_GO_RESPONSE != 0 {
		w.slot.refs.Add(1)
		go w.writePiece()
	}
	if events&C.SNAKE_GO_WANT_BODY != 0 {
		w.want()
	}
}

// want is told that the app has room for more records.
func (w *webSocket) want() {
	w.mu.Lock()
	w.wanted = true
	w.deliver()
	w.mu.Unlock()
}

// deliver hands the inbox to the app if both are ready; the caller holds mu.
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

// push gives a message to the app, waiting while too much waits for it already.
func (w *webSocket) push(op ws.OpCode, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.inbox) >= inboxLimit && !w.ended {
		w.blocked = true
		w.room.Wait()
	}
	if w.blocked { // the client was not silent: nobody read what it sent
		w.received.Store(time.Now().UnixNano())
		w.blocked = false
	}
	if w.ended {
		return
	}
	w.appendRecord(op, payload)
	w.deliver()
}

func (w *webSocket) appendRecord(op ws.OpCode, payload []byte) {
	w.inbox = append(w.inbox, byte(op))
	w.inbox = binary.LittleEndian.AppendUint32(w.inbox, uint32(len(payload)))
	w.inbox = append(w.inbox, payload...)
}

// end tells the app, once, how the websocket has ended.
func (w *webSocket) end(code ws.StatusCode, reason string) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.ended = true
	w.appendRecord(ws.OpClose, append(binary.LittleEndian.AppendUint16(nil, uint16(code)), reason...))
	w.deliver()
	w.room.Broadcast()
	w.mu.Unlock()
	C.snake_gone(w.slot.c, C.SNAKE_CLOSED)
}

// writePiece sends what the app has sent.
func (w *webSocket) writePiece() {
	defer w.slot.release()
	c := w.slot.c
	flags := c.out_flags
	out, fits := w.slot.out()
	if err := w.writeRecords(out.body); !fits || err != nil {
		if !fits || errors.Is(err, errBadRecord) {
			w.slot.complain(errBadRecord)
		}
		_ = w.conn.Close() // the reader notices
	}
	if flags&C.SNAKE_OUT_ABORT != 0 {
		_ = w.conn.Close()
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

// writeRecords sends the messages of a piece to the client.
func (w *webSocket) writeRecords(packed []byte) error {
	for c := (cursor[[]byte]{left: packed}); len(c.left) > 0; {
		opcode, payload := c.record()
		switch op := ws.OpCode(opcode); {
		case c.broken:
			return errBadRecord
		case op == ws.OpText || op == ws.OpBinary:
			if err := w.writeMessage(op, payload); err != nil {
				return err
			}
		case op == ws.OpClose && len(payload) >= 2:
			w.close(ws.StatusCode(binary.LittleEndian.Uint16(payload)), string(payload[2:]))
		default:
			return errBadRecord
		}
	}
	return nil
}

// goAway closes the websocket because the app is being replaced or stopped.
func (w *webSocket) goAway() {
	w.close(statusServiceRestart, "")
	w.end(statusServiceRestart, "")
}

// config returns what the app's websocket option sets.
func (w *webSocket) config() webSocketConfig {
	return w.slot.gen.webSockets.config
}

// startPings pings the client in intervals, and gives it up when nothing comes
// from it for an interval and the timeout.
func (w *webSocket) startPings() {
	if interval := w.config().PingInterval; interval > 0 {
		w.mu.Lock()
		w.ping = time.AfterFunc(interval, w.checkAlive)
		w.mu.Unlock()
	}
}

func (w *webSocket) checkAlive() {
	w.mu.Lock()
	ping, ended, blocked := w.ping, w.ended, w.blocked
	w.mu.Unlock()
	if ended {
		return
	}
	interval, timeout := w.config().PingInterval, w.config().PingTimeout
	silent := time.Since(time.Unix(0, w.received.Load()))
	if silent >= interval+timeout && !blocked {
		w.end(ws.StatusInternalServerError, "keepalive ping timeout")
		w.close(ws.StatusInternalServerError, "keepalive ping timeout")
		_ = w.conn.Close()
		return
	}
	next := interval
	if !blocked {
		next = min(interval, interval+timeout-silent)
	}
	ping.Reset(max(next, 10*time.Millisecond))
	if w.writing.TryLock() { // a message on its way serves as well
		_ = w.conn.SetWriteDeadline(time.Now().Add(timeout))
		err := ws.WriteFrame(w.conn, ws.NewPingFrame(nil))
		_ = w.conn.SetWriteDeadline(time.Time{})
		w.writing.Unlock()
		if err != nil {
			_ = w.conn.Close()
		}
	}
}
