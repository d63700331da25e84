package wsconn

// Frames: reading messages, answering control frames, closing.

import (
	"bytes"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

// readStep is the initial buffer size for a message, and the largest message that
// is written in one write.
const readStep = 64 << 10

var (
	errTooBig   = errors.New("message is larger than max_size")
	errBadUTF8  = errors.New("text is not UTF-8")
	errBadFlate = errors.New("message can't be inflated")
	errClosed   = errors.New("the websocket is closed")
)

// violation returns the close code and reason for a protocol violation by the
// client; 0 if err is another kind of error.
func violation(err error) (code ws.StatusCode, reason string) {
	var protocol ws.ProtocolError
	switch {
	case errors.Is(err, errTooBig), errors.Is(err, wsutil.ErrMessageTooLarge), errors.Is(err, wsutil.ErrFrameTooLarge):
		return ws.StatusMessageTooBig, errTooBig.Error()
	case errors.Is(err, errBadUTF8), errors.Is(err, wsutil.ErrInvalidUTF8), errors.Is(err, errBadFlate):
		return ws.StatusInvalidFramePayloadData, err.Error()
	case errors.As(err, &protocol), errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
		return ws.StatusProtocolError, err.Error()
	}
	return 0, ""
}

// refuse closes the websocket after a violation by the client.
func (c *Conn) refuse(code ws.StatusCode, reason string) {
	c.Close(uint16(code), reason)
	c.ended(code, reason)
	// Unread data from the client would make the kernel reset the connection, and
	// the close frame would be lost.
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c.in)
}

// nextMessage reads a message and answers the control frames before it.
func (c *Conn) nextMessage() (ws.OpCode, []byte, error) {
	for {
		header, err := c.frames.NextFrame()
		if err != nil {
			return 0, nil, err
		}
		c.hear()
		if !header.OpCode.IsControl() {
			message, err := c.readMessage(header)
			return header.OpCode, message, err
		}
		if err := c.control(header, &c.frames); err != nil {
			return 0, nil, err
		}
	}
}

// strictBits rejects reserved bits that permessage-deflate does not use.
type strictBits struct{ *wsflate.MessageState }

func (s strictBits) UnsetBits(h ws.Header) (ws.Header, error) {
	if h.Rsv2() || h.Rsv3() {
		return h, ws.ErrProtocolNonZeroRsv
	}
	return s.MessageState.UnsetBits(h)
}

// readMessage reads all frames of a message. Memory grows with the received data,
// not with the announced length.
func (c *Conn) readMessage(header ws.Header) ([]byte, error) {
	var buffer bytes.Buffer
	buffer.Grow(int(min(header.Length, readStep)) + bytes.MinRead)
	if c.flate && c.compressed.IsCompressed() {
		if err := inflate(&buffer, payloadReader{c}, c.options.MaxSize); err != nil {
			return nil, err
		}
	} else if _, err := buffer.ReadFrom(payloadReader{c}); err != nil {
		return nil, err
	}
	if header.OpCode == ws.OpText && !utf8.Valid(buffer.Bytes()) {
		return nil, errBadUTF8
	}
	return buffer.Bytes(), nil
}

// control answers a control frame.
func (c *Conn) control(header ws.Header, r io.Reader) error {
	c.hear()
	if header.Length > ws.MaxControlFramePayloadSize { // unreachable: the reader has rejected it already
		return ws.ErrProtocolControlPayloadOverflow
	}
	payload := make([]byte, header.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	if n, err := r.Read(make([]byte, 1)); n == 0 && err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, wsutil.ErrNoFrameAdvance) {
		return err
	}
	switch header.OpCode {
	case ws.OpPing:
		return c.writeFrame(ws.NewPongFrame(payload))
	case ws.OpClose:
		return c.closedByClient(payload)
	}
	return nil
}

// closedByClient handles the client's close frame.
func (c *Conn) closedByClient(payload []byte) error {
	if len(payload) == 0 {
		c.ended(ws.StatusNoStatusRcvd, "")
		_ = c.writeLast(ws.NewCloseFrame(nil))
		return errClosed
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if len(payload) == 1 || !isCloseCode(code) {
		return ws.ProtocolError("invalid close code")
	}
	if !utf8.ValidString(reason) {
		return errBadUTF8
	}
	c.ended(code, reason)
	_ = c.writeLast(ws.NewCloseFrame(payload)) // echoes code and reason
	return errClosed
}

// ended reports the code and reason of the close.
func (c *Conn) ended(code ws.StatusCode, reason string) {
	c.over.Store(true)
	c.options.Ended(uint16(code), reason)
}

// isCloseCode tells whether a close frame may carry the code (RFC 6455 section 7.4
// and IANA's registry).
func isCloseCode(code ws.StatusCode) bool {
	return code >= 3000 && code <= 4999 || code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
}

// writeLast writes a close frame, once. When it returns, some goroutine has written
// the close frame, and the caller may close the connection.
func (c *Conn) writeLast(frame ws.Frame) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // also limits a concurrent write
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closing.Swap(true) {
		return errClosed
	}
	return ws.WriteFrame(c.conn, frame)
}

func (c *Conn) writeFrame(frame ws.Frame) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closing.Load() {
		return nil
	}
	return ws.WriteFrame(c.conn, frame)
}
