package caddysnake

// The server's side of a websocket's handshake (RFC 6455 section 4.2.2).

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"time"
)

const (
	handshakeMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	readBuffer     = 1 << 10
)

// upgrade answers the handshake, with the headers that the app wants, and takes
// the connection over.
func (w *webSocket) upgrade(rw http.ResponseWriter, r *http.Request, wanted http.Header) error {
	for _, name := range []string{"Accept", "Extensions", "Key", "Version"} {
		wanted.Del("Sec-Websocket-" + name)
	}
	header := rw.Header()
	maps.Copy(header, wanted)
	digest := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + handshakeMagic))
	header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(digest[:]))
	header.Set("Upgrade", "websocket")
	header.Set("Connection", "Upgrade")
	if w.config().Compression {
		if answer := negotiateDeflate(r.Header["Sec-Websocket-Extensions"]); answer != "" {
			w.flate = true
			header.Set("Sec-Websocket-Extensions", answer)
		}
	}
	rw.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffers, err := http.NewResponseController(innermost(rw)).Hijack()
	if err != nil {
		return err
	}
	w.conn = conn
	w.in = buffers.Reader
	if w.in.Buffered() == 0 {
		w.in = bufio.NewReaderSize(conn, readBuffer)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil { // the server's own
		_ = conn.Close()
		return err
	}
	return nil
}

// innermost returns the server's own ResponseWriter. What handlers have wrapped
// it with, to count what passes for one, is not made for after the request, nor
// for several goroutines.
func innermost(rw http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := rw.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return rw
		}
		rw = wrapper.Unwrap()
	}
}
