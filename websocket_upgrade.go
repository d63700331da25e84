package caddysnake

// The server's side of a websocket's handshake (RFC 6455 section 4.2.2).

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
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
	if w.config.Compression {
		if answer := negotiateDeflate(r.Header["Sec-Websocket-Extensions"]); answer != "" {
			w.flate = true
			header.Set("Sec-Websocket-Extensions", answer)
		}
	}
	rw.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffers, err := http.NewResponseController(rw).Hijack()
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

// negotiateDeflate returns what to answer to the first offer of
// permessage-deflate that we can keep to; others are declined (RFC 7692
// section 7). A window for each connection would cost more than it saves.
func negotiateDeflate(offers []string) string {
	options, ok := httphead.ParseOptions([]byte(strings.Join(offers, ",")), nil)
	if !ok {
		return ""
	}
	for _, offer := range options {
		parameters := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
		// We can't limit our window, but may agree to the largest.
		var offered wsflate.Parameters
		if offered.Parse(offer) == nil && offered.ServerMaxWindowBits == 15 {
			parameters.ServerMaxWindowBits = 15
		}
		extension := wsflate.Extension{Parameters: parameters}
		answer, err := extension.Negotiate(offer)
		if _, accepted := extension.Accepted(); err != nil || !accepted {
			continue
		}
		var text bytes.Buffer
		if _, err := httphead.WriteOptions(&text, []httphead.Option{answer}); err == nil {
			return text.String()
		}
	}
	return ""
}
