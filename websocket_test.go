package caddysnake

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/caddysnake/caddysnake/internal/ring"
	"github.com/caddysnake/caddysnake/internal/wsconn"
)

// client is the connection of a client that sends nothing. It records the data
// written to it.
type client struct {
	net.Conn
	written bytes.Buffer
	closed  bool
}

func (c *client) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *client) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *client) Close() error                     { c.closed = true; return nil }
func (c *client) SetDeadline(time.Time) error      { return nil }
func (c *client) SetReadDeadline(time.Time) error  { return nil }
func (c *client) SetWriteDeadline(time.Time) error { return nil }

// hijackable is a ResponseRecorder with a connection to hijack.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// openWebSocket returns a websocket on a connection. Python does not have its slot.
func openWebSocket(t *testing.T, conn net.Conn, flate bool, config webSocketConfig) (*webSocket, *ring.Writer, *ring.Reader) {
	t.Helper()
	s, _, out, in := slotNowhere(t)
	s.gen = &generation{}
	s.gen.webSockets.config = config
	w := newWebSocket(s)
	t.Cleanup(func() {
		w.mu.Lock()
		w.left = true
		w.mu.Unlock()
		s.gen = nil
		s.release()
	})
	s.setReceiver(w)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if flate {
		r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate")
	}
	if err := w.upgrade(hijackable{httptest.NewRecorder(), conn}, r, http.Header{}); err != nil {
		t.Fatal(err)
	}
	return w, out, in
}

// webSocketFor returns a websocket, its client, and the app's side of its rings.
func webSocketFor(t *testing.T, flate bool) (*webSocket, *client, *ring.Writer, *ring.Reader) {
	t.Helper()
	conn := new(client)
	w, out, in := openWebSocket(t, conn, flate, webSocketConfig{MaxSize: 1 << 10, Compression: true})
	return w, conn, out, in
}

// sentTo returns the records that the app gets.
func sentTo(t *testing.T, in *ring.Reader) (records []string) {
	t.Helper()
	for {
		record, ok, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			in.Publish()
			return records
		}
		records = append(records, fmt.Sprintf("%d %s", record.Kind, record.Payload()))
		in.Done()
	}
}

func TestMessagesAndTheEndAreRecords(t *testing.T) {
	w, _, _, in := webSocketFor(t, false)
	w.push(wsconn.Text, []byte("hello"))
	w.push(wsconn.Binary, nil)
	w.end(0x6261, "bye")
	w.end(codeAbnormal, "")
	w.push(wsconn.Text, []byte("too late"))
	if got := sentTo(t, in); !slices.Equal(got, []string{"11 hello", "12 ", "13 abbye"}) {
		t.Errorf("%q", got)
	}
	if w.slot.wire.gone != 4 {
		t.Errorf("gone is %d", w.slot.wire.gone)
	}
}

func TestALongMessageArrivesInParts(t *testing.T) {
	w, _, _, in := webSocketFor(t, false)
	want := bytes.Repeat([]byte("0123456789abcde"), 20000)
	pushed := make(chan struct{})
	go func() {
		w.push(wsconn.Binary, want)
		w.push(wsconn.Text, []byte("after it"))
		close(pushed)
	}()
	var got []byte
	for last := false; !last; {
		record, ok, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if in.Publish(); atomic.SwapUint32((*uint32)(&w.slot.wire.room_wanted), 0) != 0 {
				w.slot.tell(goWantBody)
			}
			runtime.Gosched()
			continue
		}
		if record.Kind&^recordPart != recordBinary {
			t.Fatalf("a record of kind %d", record.Kind)
		}
		last = record.Kind&recordPart == 0
		got = record.AppendTo(got)
		in.Done()
	}
	in.Publish()
	w.slot.tell(goWantBody)
	<-pushed
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes have arrived", len(got))
	}
	if got := sentTo(t, in); !slices.Equal(got, []string{"11 after it"}) {
		t.Errorf("%q", got)
	}
}

func TestAMessageEndsInTheMiddleWhenTheWebSocketEnds(t *testing.T) {
	w, _, _, in := webSocketFor(t, false)
	pushed := make(chan struct{})
	go func() {
		w.push(wsconn.Binary, make([]byte, 1<<20))
		close(pushed)
	}()
	for atomic.LoadUint32((*uint32)(&w.slot.wire.room_wanted)) == 0 {
		runtime.Gosched()
	}
	w.end(codeAbnormal, strings.Repeat("x", 123))
	<-pushed
	record, _, err := in.Next()
	if err != nil || record.Kind != recordBinary|recordPart {
		t.Fatalf("%v, a record of kind %d", err, record.Kind)
	}
	in.Done()
	if got := sentTo(t, in); len(got) != 1 || !strings.HasPrefix(got[0], "13 ") {
		t.Errorf("%q", got)
	}
}

func TestPartsFromTheAppBecomeOneMessage(t *testing.T) {
	w, client, out, _ := webSocketFor(t, false)
	out.Write(recordText|recordPart, []byte("hel"), nil)
	out.Write(recordText, []byte("lo"), nil)
	out.Write(recordBinary, nil, nil)
	out.Write(recordClose, []byte("\xe8\x03bye"), nil)
	out.Write(recordEnd, nil, nil)
	out.Publish()
	w.writeRecords()
	if got := client.written.String(); got != "\x81\x05hello\x82\x00\x88\x05\x03\xe8bye" {
		t.Errorf("%q", got)
	}
	if !w.ended || !w.output.over || !out.IsEmpty() {
		t.Errorf("ended: %t, over: %t, taken: %t", w.ended, w.output.over, out.IsEmpty())
	}
}

func TestRecordsOfAnAppThatDoNotFitEndItsWebSocket(t *testing.T) {
	for name, records := range map[string][]testRecord{
		"a close without a code": {{recordClose, []byte("a")}},
		"a close in parts":       {{recordClose | recordPart, []byte("ab")}},
		"a part of another kind": {{recordText | recordPart, []byte("a")}, {recordBinary, []byte("b")}},
		"a body":                 {{recordData, []byte("a")}},
		"an unknown kind":        {{1 << 20, nil}},
	} {
		w, client, out, _ := webSocketFor(t, false)
		for _, record := range append(records, testRecord{recordText, []byte("more")}) {
			out.Write(record.kind, record.payload, nil)
		}
		out.Publish()
		w.writeRecords()
		if !w.output.over || !client.closed || strings.HasSuffix(client.written.String(), "more") {
			t.Errorf("%s: over: %t, closed: %t, %q", name, w.output.over, client.closed, client.written.String())
		}
	}
	w, client, out, _ := webSocketFor(t, false)
	out.Write(recordText, []byte("ok"), nil)
	out.Publish()
	w.slot.wire.out_made += 4
	if w.writeRecords(); !w.output.over || !client.closed {
		t.Error("a broken ring is read on")
	}
}

func TestAnIdleWebSocketGivesItsMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _, in := webSocketFor(t, false)
		home := w.slot.home.(*nowhere)
		w.push(wsconn.Text, []byte("hello"))
		if time.Sleep(10 * idleAfter); home.waits.Load() == idle {
			t.Fatal("the app has not read the message yet")
		}
		if got := sentTo(t, in); !slices.Equal(got, []string{"11 hello"}) {
			t.Fatalf("%q", got)
		}
		if time.Sleep(2 * idleAfter); home.waits.Load() != idle {
			t.Errorf("the app was told %d", home.waits.Load())
		}
		if w.slot.in.Memory()[0] != 0 {
			t.Error("the ring was kept")
		}
		wakes := home.wakes.Load()
		if time.Sleep(10 * idleAfter); home.wakes.Load() != wakes || w.idle.watched.Load() {
			t.Error("it is still looked after")
		}
		w.push(wsconn.Text, []byte("again"))
		if got := sentTo(t, in); !slices.Equal(got, []string{"11 again"}) {
			t.Fatalf("%q", got)
		}
		if time.Sleep(3 * idleAfter); home.wakes.Load() != wakes+1 {
			t.Error("it is not looked after again")
		}
	})
}

func TestAnOpenWebSocketKeepsOnlyTheLineOfItsRequest(t *testing.T) {
	server, client := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, client) }()
	s, _, _, _ := slotNowhere(t)
	gen := &generation{drained: make(chan struct{})}
	gen.refs.Store(1)
	s.gen = gen
	request := func() weak.Pointer[http.Request] {
		x := exchange{w: hijackable{httptest.NewRecorder(), server}, r: httptest.NewRequest(http.MethodGet, "/chat", nil), slot: s}
		s.line = lineOf(x.r)
		x.serveWebSocket(unpackedHeaders{})
		return weak.Make(x.r)
	}()
	runtime.GC()
	if request.Value() != nil {
		t.Error("the request is kept, and so are the buffers of its connection")
	}
	if got := s.line.String(); !strings.HasPrefix(got, "GET /chat after ") {
		t.Errorf("the log would say %q", got)
	}
	client.Close()
	<-gen.drained
	if s.line != (requestLine{}) {
		t.Error("a free slot keeps the line of a request")
	}
}

func TestAClientIsNotSilentWhileNobodyReadsWhatItSends(t *testing.T) {
	const interval, timeout = 20 * time.Second, 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, client) }() // the client reads, but never sends
		w, _, in := openWebSocket(t, server, false, webSocketConfig{MaxSize: 1 << 10, PingInterval: interval, PingTimeout: timeout})
		w.push(wsconn.Binary, make([]byte, w.slot.in.Room()))
		pushed := make(chan struct{})
		go func() {
			w.push(wsconn.Text, []byte("one more"))
			close(pushed)
		}()
		w.conn.StartPings()
		hasEnded := func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.ended
		}
		if time.Sleep(time.Hour); hasEnded() {
			t.Fatal("it was given up while nobody read")
		}
		sentTo(t, in)
		w.slot.tell(goWantBody)
		<-pushed
		if time.Sleep(interval + timeout - time.Second); hasEnded() {
			t.Error("what nobody read was counted as silence")
		}
		if time.Sleep(interval + time.Second); !hasEnded() {
			t.Error("it is silent, and was not given up")
		}
		_ = client.Close()
	})
}
