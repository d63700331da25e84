package caddysnake

// Frames of a websocket: reading messages, control frames, closing.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

const (
	readStep = 64 << 10
	// maxCloseReason is what is left of a control frame beside the code.
	maxCloseReason = 123
)

var (
	errTooBig   = errors.New("message is larger than max_size")
	errBadUTF8  = errors.New("text is not UTF-8")
	errBadFlate = errors.New("message can't be inflated")
	errClosed   = errors.New("the websocket is closed")
)

// run reads from the client until the websocket has ended.
func (w *webSocket) run() {
	err := w.read()
	var protocol ws.ProtocolError
	switch {
	case errors.Is(err, errTooBig), errors.Is(err, wsutil.ErrMessageTooLarge), errors.Is(err, wsutil.ErrFrameTooLarge):
		w.fail(ws.StatusMessageTooBig, errTooBig.Error())
	case errors.Is(err, errBadUTF8), errors.Is(err, wsutil.ErrInvalidUTF8), errors.Is(err, errBadFlate):
		w.fail(ws.StatusInvalidFramePayloadData, err.Error())
	case errors.As(err, &protocol), errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
		w.fail(ws.StatusProtocolError, err.Error())
	}
	w.end(ws.StatusAbnormalClosure, "")
	if w.ping != nil {
		w.ping.Stop()
	}
	_ = w.conn.Close()
	w.slot.gen.webSockets.remove(w)
	w.slot.release()
}

// fail closes because of what the client sent.
func (w *webSocket) fail(code ws.StatusCode, reason string) {
	w.close(code, reason)
	w.end(code, reason)
	// What the client still sends would make the kernel reset the connection, and
	// the close frame with it.
	if half, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, w.in)
}

// read hands messages to the app until an error or the client's close.
func (w *webSocket) read() error {
	var compressed wsflate.MessageState
	reader := &wsutil.Reader{
		Source:         w.in,
		State:          ws.StateServerSide,
		MaxMessageSize: w.config().MaxSize,
	}
	reader.OnIntermediate = w.control
	if w.flate {
		reader.State |= ws.StateExtended
		reader.Extensions = []wsutil.RecvExtension{strictBits{&compressed}}
	}
	payload := &heard{reader, w}
	for {
		header, err := reader.NextFrame()
		if err != nil {
			return err
		}
		w.received.Store(time.Now().UnixNano())
		if header.OpCode.IsControl() {
			if err := w.control(header, reader); err != nil {
				return err
			}
			continue
		}
		message, err := w.readMessage(payload, header, w.flate && compressed.IsCompressed())
		if err != nil {
			return err
		}
		w.push(header.OpCode, message)
	}
}

// heard notes that the client is alive with each part of a message: in the middle
// of a frame, which may take long to send, it can't answer a ping.
type heard struct {
	io.Reader
	w *webSocket
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.w.received.Store(time.Now().UnixNano())
	}
	return n, err
}

// strictBits refuses the reserved bits that permessage-deflate does not use.
type strictBits struct{ *wsflate.MessageState }

func (s strictBits) UnsetBits(h ws.Header) (ws.Header, error) {
	if h.Rsv2() || h.Rsv3() {
		return h, ws.ErrProtocolNonZeroRsv
	}
	return s.MessageState.UnsetBits(h)
}

// readMessage reads all frames of a message. Memory grows with what has come,
// not with what a header announces.
func (w *webSocket) readMessage(r io.Reader, header ws.Header, compressed bool) ([]byte, error) {
	var buffer bytes.Buffer
	buffer.Grow(int(min(header.Length, readStep)) + bytes.MinRead)
	if !compressed {
		if _, err := buffer.ReadFrom(r); err != nil {
			return nil, err
		}
	} else if err := w.inflate(&buffer, r); err != nil {
		return nil, err
	}
	if header.OpCode == ws.OpText && !utf8.Valid(buffer.Bytes()) {
		return nil, errBadUTF8
	}
	return buffer.Bytes(), nil
}

// control answers a control frame.
func (w *webSocket) control(header ws.Header, r io.Reader) error {
	w.received.Store(time.Now().UnixNano())
	if header.Length > ws.MaxControlFramePayloadSize { // the reader has refused it already
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
		return w.writeFrame(ws.NewPongFrame(payload))
	case ws.OpClose:
		return w.closedByClient(payload)
	}
	return nil
}

func (w *webSocket) closedByClient(payload []byte) error {
	if len(payload) == 0 {
		w.end(ws.StatusNoStatusRcvd, "")
		_ = w.writeLast(ws.NewCloseFrame(nil))
		return errClosed
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if len(payload) == 1 || !isCloseCode(code) {
		return ws.ProtocolError("invalid close code")
	}
	if !utf8.ValidString(reason) {
		return errBadUTF8
	}
	w.end(code, reason)
	_ = w.writeLast(ws.NewCloseFrame(payload)) // its code and its reason
	return errClosed
}

// isCloseCode tells which codes may stand in a close frame (RFC 6455 section
// 7.4 and IANA's registry).
func isCloseCode(code ws.StatusCode) bool {
	return code >= 3000 && code <= 4999 || code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
}

// close sends the close frame and limits how long the client may take to
// answer.
func (w *webSocket) close(code ws.StatusCode, reason string) {
	if len(reason) > maxCloseReason {
		reason = reason[:maxCloseReason]
	}
	body := binary.BigEndian.AppendUint16(nil, uint16(code))
	_ = w.conn.SetReadDeadline(time.Now().Add(closeTimeout))
	_ = w.writeLast(ws.NewCloseFrame(append(body, reason...)))
}

// writeLast writes a close frame, once. When it returns, that has been written,
// whoever does it: the caller may close the connection.
func (w *webSocket) writeLast(frame ws.Frame) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // also for who is writing now
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closing.Swap(true) {
		return errClosed
	}
	return ws.WriteFrame(w.conn, frame)
}

func (w *webSocket) writeFrame(frame ws.Frame) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closing.Load() {
		return nil
	}
	return ws.WriteFrame(w.conn, frame)
}

// writeMessage writes a message as one frame.
func (w *webSocket) writeMessage(op ws.OpCode, payload []byte) error {
	header := ws.Header{Fin: true, OpCode: op}
	if w.flate && len(payload) >= compressFrom {
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
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closing.Load() {
		return nil
	}
	if len(payload) <= readStep {
		head.Write(payload)
		_, err := w.conn.Write(head.Bytes())
		return err
	}
	buffers := net.Buffers{head.Bytes(), payload}
	_, err := buffers.WriteTo(w.conn)
	return err
}
