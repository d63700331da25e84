package caddysnake

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddysnake/caddysnake/internal/wsconn"
)

// client is the connection of a client that sends nothing. It records the data
// written to it.
type client struct {
	net.Conn
	written bytes.Buffer
}

func (c *client) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *client) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *client) Close() error                     { return nil }
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
func openWebSocket(t *testing.T, conn net.Conn, flate bool, config webSocketConfig) *webSocket {
	t.Helper()
	s, err := slots.get(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.gen = &generation{}
	s.gen.webSockets.config = config
	t.Cleanup(func() {
		s.gen = nil
		s.release()
	})
	w := newWebSocket(s)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if flate {
		r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate")
	}
	if err := w.upgrade(hijackable{httptest.NewRecorder(), conn}, r, http.Header{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// webSocketFor returns a websocket and its client.
func webSocketFor(t *testing.T, flate bool) (*webSocket, *client) {
	t.Helper()
	conn := new(client)
	return openWebSocket(t, conn, flate, webSocketConfig{MaxSize: 1 << 10, Compression: true}), conn
}

// inboxOf returns the records that wait for the app.
func inboxOf(t *testing.T, w *webSocket) (records []string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := (cursor[[]byte]{left: w.inbox}); len(c.left) > 0; {
		kind, payload := c.record()
		if c.broken {
			t.Fatalf("%q", w.inbox)
		}
		records = append(records, fmt.Sprintf("%d %s", kind, payload))
	}
	return records
}

func TestMessagesAndTheEndAreRecords(t *testing.T) {
	w, _ := webSocketFor(t, false)
	w.push(wsconn.Text, []byte("hello"))
	w.push(wsconn.Binary, nil)
	w.end(0x6261, "bye")
	w.end(codeAbnormal, "")
	w.push(wsconn.Text, []byte("too late"))
	if got := inboxOf(t, w); !slices.Equal(got, []string{"1 hello", "2 ", "8 abbye"}) {
		t.Errorf("%q", got)
	}
}

func TestAClientIsNotSilentWhileNobodyReadsWhatItSends(t *testing.T) {
	const interval, timeout = 20 * time.Second, 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, client) }() // the client reads, but never sends
		w := openWebSocket(t, server, false, webSocketConfig{MaxSize: 1 << 10, PingInterval: interval, PingTimeout: timeout})
		w.push(wsconn.Binary, make([]byte, inboxLimit))
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
		w.mu.Lock() // the app takes the inbox
		w.inbox = nil
		w.room.Broadcast()
		w.mu.Unlock()
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
