package wsconn

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

const maxSize = 1 << 10

// gone is the connection of a client that has left. It records the data written to
// it.
type gone struct {
	net.Conn
	written bytes.Buffer
	closed  bool
}

func (g *gone) Write(p []byte) (int, error)      { return g.written.Write(p) }
func (g *gone) Close() error                     { g.closed = true; return nil }
func (g *gone) SetReadDeadline(time.Time) error  { return nil }
func (g *gone) SetWriteDeadline(time.Time) error { return nil }

// frames returns the frames that were sent to the client.
func (g *gone) frames(t *testing.T) (frames []ws.Frame) {
	t.Helper()
	for r := bytes.NewReader(g.written.Bytes()); r.Len() > 0; {
		frame, err := readFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame)
	}
	return frames
}

// readFrame reads one of the server's frames, as a client does.
func readFrame(r io.Reader) (frame ws.Frame, err error) {
	if frame.Header, err = ws.ReadHeader(r); err == nil {
		frame.Payload = make([]byte, frame.Header.Length)
		_, err = io.ReadFull(r, frame.Payload)
	}
	return frame, err
}

// ending holds the arguments of a call to Ended.
type ending struct {
	code   uint16
	reason string
}

// connFor returns a websocket whose client has sent data and left.
func connFor(sent []byte, flate bool) (c *Conn, client *gone, endings *[]ending) {
	client, endings = new(gone), new([]ending)
	c = newConn(client, bufio.NewReader(bytes.NewReader(sent)), flate, Options{
		MaxSize: maxSize,
		Ended:   func(code uint16, reason string) { *endings = append(*endings, ending{code, reason}) },
	})
	return c, client, endings
}

// masked returns frames in the form that a client sends.
func masked(frames ...ws.Frame) (sent []byte) {
	for _, frame := range frames {
		sent = append(sent, ws.MustCompileFrame(ws.MaskFrame(frame))...)
	}
	return sent
}

func closeFrame(code ws.StatusCode, reason string) ws.Frame {
	return ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason))
}

// reserved sets reserved bits of a frame.
func reserved(frame ws.Frame, one, two, three bool) ws.Frame {
	frame.Header.Rsv = ws.Rsv(one, two, three)
	return frame
}

func compressed(t *testing.T, text string) ws.Frame {
	t.Helper()
	payload, err := deflated([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return reserved(ws.NewTextFrame(payload), true, false, false)
}

func TestWhatAClientSends(t *testing.T) {
	text := func(s string) ws.Frame { return ws.NewTextFrame([]byte(s)) }
	part := func(op ws.OpCode, fin bool, s string) ws.Frame { return ws.NewFrame(op, fin, []byte(s)) }
	huge := compressed(t, strings.Repeat("x", maxSize+1))
	broken := reserved(text("\xff\xff\xff\xff"), true, false, false)
	large := strings.Repeat("y", maxSize)
	const protocolError, badData, tooBig = 1002, 1007, 1009
	for _, test := range []struct {
		name     string
		sent     []byte
		flate    bool
		messages []string // T or B, then the payload
		code     uint16   // 0: the connection broke without a close
		reason   string   // the reason of the client's close
		pongs    int
	}{
		{name: "messages and a close", sent: masked(text("one"), ws.NewBinaryFrame([]byte("\xff")), closeFrame(1000, "bye")), messages: []string{"Tone", "B\xff"}, code: 1000, reason: "bye"},
		{name: "no close", sent: masked(text("")), messages: []string{"T"}},
		{name: "half a frame", sent: masked(text("hello"))[:8]},
		{name: "half a message", sent: masked(part(ws.OpText, false, "hello"))},
		{name: "fragments", sent: masked(part(ws.OpText, false, "\xe2\x82"), part(ws.OpContinuation, true, "\xac")), messages: []string{"T€"}},
		{name: "pings", sent: masked(ws.NewPingFrame([]byte("?")), text("x"), ws.NewPingFrame([]byte("?"))), messages: []string{"Tx"}, pongs: 2},
		{name: "a ping between fragments", sent: masked(part(ws.OpBinary, false, "a"), ws.NewPingFrame([]byte("?")), part(ws.OpContinuation, true, "b")), messages: []string{"Bab"}, pongs: 1},
		{name: "a close between fragments", sent: masked(part(ws.OpBinary, false, "a"), closeFrame(4000, ""), part(ws.OpContinuation, true, "b")), code: 4000},
		{name: "an unsolicited pong", sent: masked(ws.NewPongFrame(nil), text("x")), messages: []string{"Tx"}},
		{name: "the largest message", sent: masked(text(large)), messages: []string{"T" + large}},
		{name: "a message that is too large", sent: masked(text(large + "y")), code: tooBig},
		{name: "fragments that are too large", sent: masked(part(ws.OpText, false, large), part(ws.OpContinuation, true, "y")), code: tooBig},
		{name: "text that is not UTF-8", sent: masked(text("\xff")), code: badData},
		{name: "a frame without a mask", sent: ws.MustCompileFrame(text("x")), code: protocolError},
		{name: "a continuation without a message", sent: masked(part(ws.OpContinuation, true, "x")), code: protocolError},
		{name: "a reserved bit", sent: masked(reserved(text("x"), false, true, false)), code: protocolError},
		{name: "a reserved bit besides the compression bit", sent: masked(reserved(compressed(t, "x"), true, false, true)), flate: true, code: protocolError},
		{name: "compression that was not negotiated", sent: masked(compressed(t, "x")), code: protocolError},
		{name: "a compressed message", sent: masked(compressed(t, "hello"), text("plain")), flate: true, messages: []string{"Thello", "Tplain"}},
		{name: "a compressed message that is too large", sent: masked(huge), flate: true, code: tooBig},
		{name: "a compressed message that is broken", sent: masked(broken), flate: true, code: badData},
		{name: "half a compressed message", sent: masked(compressed(t, "hello"))[:8], flate: true},
		{name: "a close without a code", sent: masked(ws.NewCloseFrame(nil)), code: 1005},
		{name: "a close with half a code", sent: masked(ws.NewCloseFrame([]byte{3})), code: protocolError},
		{name: "a close with an invalid code", sent: masked(closeFrame(1006, "")), code: protocolError},
		{name: "a close with the code of another registry", sent: masked(closeFrame(1014, "")), code: 1014},
		{name: "a close whose reason is not UTF-8", sent: masked(closeFrame(1000, "\xff")), code: badData},
		{name: "messages after the close", sent: masked(closeFrame(3000, ""), text("x")), code: 3000},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, client, endings := connFor(test.sent, test.flate)
			var messages []string
			for {
				kind, message, err := c.ReadMessage()
				if err != nil {
					break
				}
				messages = append(messages, map[MessageType]string{Text: "T", Binary: "B"}[kind]+string(message))
			}
			if !slices.Equal(messages, test.messages) {
				t.Errorf("the messages are %q", messages)
			}
			if test.code == 0 && len(*endings) > 0 || test.code != 0 && (len(*endings) != 1 || (*endings)[0].code != test.code) {
				t.Fatalf("the end is %v", *endings)
			}
			if test.reason != "" && (*endings)[0].reason != test.reason {
				t.Errorf("the reason is %q", (*endings)[0].reason)
			}
			answers := client.frames(t)
			for range test.pongs {
				if len(answers) == 0 || answers[0].Header.OpCode != ws.OpPong || string(answers[0].Payload) != "?" {
					t.Fatalf("the pongs are %v", answers)
				}
				answers = answers[1:]
			}
			if test.code == 0 {
				if len(answers) > 0 {
					t.Errorf("the client was sent %v", answers)
				}
				return
			}
			if len(answers) != 1 || answers[0].Header.OpCode != ws.OpClose {
				t.Fatalf("the client was sent %v", answers)
			}
			code, reason := ws.ParseCloseFrameData(answers[0].Payload)
			if len(answers[0].Payload) == 0 {
				code = ws.StatusNoStatusRcvd
			}
			if uint16(code) != test.code || reason != (*endings)[0].reason {
				t.Errorf("the close is answered with %d %q, the end is %v", code, reason, *endings)
			}
		})
	}
}

func TestWhatAClientIsSent(t *testing.T) {
	long := strings.Repeat("long ", 100)
	for _, flate := range []bool{false, true} {
		c, client, _ := connFor(nil, flate)
		for _, message := range []string{"", "short", long, strings.Repeat(long, readStep/len(long)+1)} {
			if err := c.WriteMessage(Binary, []byte(message)); err != nil {
				t.Fatal(err)
			}
			frames := client.frames(t)
			client.written.Reset()
			if len(frames) != 1 || frames[0].Header.OpCode != ws.OpBinary || !frames[0].Header.Fin || frames[0].Header.Masked {
				t.Fatalf("the client was sent %v", frames)
			}
			payload := frames[0].Payload
			if compressed := frames[0].Header.Rsv != 0; compressed != (flate && len(message) >= compressFrom) {
				t.Errorf("%d bytes: compressed is %v", len(message), compressed)
			} else if compressed {
				var inflated bytes.Buffer
				if err := inflate(&inflated, bytes.NewReader(payload), int64(len(message))); err != nil {
					t.Error(err)
				}
				payload = inflated.Bytes()
			}
			if string(payload) != message {
				t.Errorf("%d bytes have become %d others", len(message), len(payload))
			}
		}
	}
}

func TestNothingFollowsAClose(t *testing.T) {
	c, client, _ := connFor(masked(ws.NewPingFrame(nil), closeFrame(1000, "")), false)
	c.Close(4000, strings.Repeat("r", 200))
	c.Close(4001, "")
	if err := c.WriteMessage(Text, []byte("x")); err != nil {
		t.Error(err)
	}
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("there was a message")
	}
	frames := client.frames(t)
	if len(frames) != 1 {
		t.Fatalf("the client was sent %v", frames)
	}
	if code, reason := ws.ParseCloseFrameData(frames[0].Payload); code != 4000 || reason != strings.Repeat("r", 123) {
		t.Errorf("the close is %d %q", code, reason)
	}
	if client.closed {
		t.Error("the client could not answer")
	}
	if c.CloseNow(); !client.closed {
		t.Error("the connection is open")
	}
}

// FuzzWebSocketFrames reads arbitrary bytes. `make fuzz` runs it.
func FuzzWebSocketFrames(f *testing.F) {
	for _, frame := range []ws.Frame{
		ws.NewTextFrame([]byte("hello")), ws.NewBinaryFrame(make([]byte, 300)), ws.NewPingFrame([]byte("?")),
		closeFrame(ws.StatusNormalClosure, "bye"), ws.NewFrame(ws.OpText, false, []byte("first")),
	} {
		f.Add(masked(frame), false)
		f.Add(masked(frame), true)
	}
	if payload, err := deflated(bytes.Repeat([]byte("deflate "), 100)); err == nil {
		f.Add(masked(reserved(ws.NewTextFrame(payload), true, false, false)), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, flate bool) {
		c, client, endings := connFor(sent, flate)
		for n := 0; ; n++ {
			kind, message, err := c.ReadMessage()
			if err != nil {
				break
			}
			if len(message) > maxSize {
				t.Errorf("a message of %d bytes", len(message))
			}
			if kind != Text && kind != Binary || len(*endings) > 0 || n > len(sent) {
				t.Fatalf("message %d of type %d, the end is %v", n, kind, *endings)
			}
		}
		if len(*endings) > 1 {
			t.Errorf("it has ended in %v", *endings)
		}
		// The client gets complete frames. The last one is a close if and only if
		// Ended was called.
		closed := false
		for r := bytes.NewReader(client.written.Bytes()); r.Len() > 0; {
			header, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, r, header.Length); err != nil || closed {
				t.Fatalf("a frame of %d bytes, after a close: %v, %v", header.Length, closed, err)
			}
			closed = header.OpCode == ws.OpClose
		}
		if closed != (len(*endings) == 1) {
			t.Errorf("a close was sent: %v, the end is %v", closed, *endings)
		}
	})
}
