// Package wsconn implements the server side of a websocket (RFC 6455): handshake,
// messages, compression, keepalive and close. gobwas/ws reads and writes the frames
// (docs/decisions/0010).
package wsconn

// The connection: its state and its methods for the user.

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

// MessageType is the type of a message: the opcode of its frames.
type MessageType byte

// A Text message is valid UTF-8; a Binary message is any bytes.
const (
	Text   = MessageType(ws.OpText)
	Binary = MessageType(ws.OpBinary)
)

// Options holds limits and settings of a websocket.
type Options struct {
	// MaxSize is the largest size of a message from the client, in bytes, after
	// inflation.
	MaxSize int64

	// PingInterval is the interval between pings to the client; 0: never.
	PingInterval time.Duration

	// PingTimeout is how long the client may take to answer a ping before the
	// connection is closed.
	PingTimeout time.Duration

	// Compression allows permessage-deflate (RFC 7692).
	Compression bool

	// Ended is called with a close code and a reason when the client has closed the
	// websocket, violated the protocol, or timed out; not when the connection just
	// breaks. The client may not have got the answer yet, so Ended must not block.
	// After StartPings, Ended may be called twice, and on another goroutine than
	// ReadMessage's: the first call counts.
	Ended func(code uint16, reason string)
}

// closeTimeout is how long a client may take to answer a close.
const closeTimeout = 5 * time.Second

// Conn is an open websocket. One goroutine may call ReadMessage; any number may
// call the other methods.
type Conn struct {
	conn    net.Conn
	in      *bufio.Reader
	options Options
	flate   bool // permessage-deflate was negotiated

	// Only for the reading goroutine.
	frames     wsutil.Reader
	compressed wsflate.MessageState

	writing sync.Mutex  // guards the writing of frames to conn
	closing atomic.Bool // our close frame was sent

	ping     *time.Timer  // constant; nil without pings
	received atomic.Int64 // time of the last data from the client, in unix nanoseconds
	paused   atomic.Bool  // see Pause
	over     atomic.Bool  // the websocket is closing: no more pings
}

func newConn(conn net.Conn, in *bufio.Reader, flate bool, options Options) *Conn {
	c := &Conn{conn: conn, in: in, options: options, flate: flate}
	c.frames = wsutil.Reader{
		Source:         in,
		State:          ws.StateServerSide,
		MaxMessageSize: options.MaxSize,
		OnIntermediate: c.control,
	}
	if flate {
		c.frames.State |= ws.StateExtended
		c.frames.Extensions = []wsutil.RecvExtension{strictBits{&c.compressed}}
	}
	c.hear()
	if options.PingInterval > 0 {
		c.ping = time.AfterFunc(options.PingInterval, c.checkAlive)
		c.ping.Stop() // until StartPings
	}
	return c
}

// ReadMessage returns the client's next message. An error means the end: the
// connection is broken, or either side has closed the websocket and the client has
// been told. The caller must still call CloseNow.
func (c *Conn) ReadMessage() (MessageType, []byte, error) {
	opcode, message, err := c.nextMessage()
	if err != nil {
		if code, reason := violation(err); code != 0 {
			c.refuse(code, reason)
		}
		return 0, nil, err
	}
	return MessageType(opcode), message, nil
}

// WriteMessage sends a message as one frame. After a close frame it sends nothing.
func (c *Conn) WriteMessage(kind MessageType, payload []byte) error {
	header := ws.Header{Fin: true, OpCode: ws.OpCode(kind)}
	if c.flate && len(payload) >= compressFrom {
		var err error
		if payload, err = deflated(payload); err != nil {
			return err
		}
		header.Rsv = ws.Rsv(true, false, false)
	}
	header.Length = int64(len(payload))
	var head bytes.Buffer
	if err := ws.WriteHeader(&head, header); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closing.Load() {
		return nil
	}
	if len(payload) <= readStep {
		head.Write(payload)
		_, err := c.conn.Write(head.Bytes())
		return err
	}
	buffers := net.Buffers{head.Bytes(), payload}
	_, err := buffers.WriteTo(c.conn)
	return err
}

// Close sends a close frame, with the reason cut to fit, and limits the time for
// the client's answer. Only the first close frame of a websocket is sent.
func (c *Conn) Close(code uint16, reason string) {
	body := ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	_ = c.conn.SetReadDeadline(time.Now().Add(closeTimeout))
	_ = c.writeLast(ws.NewCloseFrame(body))
	c.over.Store(true)
}

// CloseNow closes the connection, with or without a close frame before it.
func (c *Conn) CloseNow() {
	c.over.Store(true)
	if c.ping != nil {
		c.ping.Stop()
	}
	_ = c.conn.Close()
}
