package wsconn

// The answer to a handshake (RFC 6455 section 4.2.2).

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

// Upgrade answers a handshake with already checked headers, and hijacks the
// connection. further holds additional headers of the answer; the handshake's own
// headers in it are ignored. After an error there is no websocket.
func Upgrade(rw http.ResponseWriter, r *http.Request, further http.Header, options Options) (*Conn, error) {
	for _, name := range []string{"Accept", "Extensions", "Key", "Version"} {
		further.Del("Sec-Websocket-" + name)
	}
	header := rw.Header()
	maps.Copy(header, further)
	digest := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + handshakeMagic))
	header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(digest[:]))
	header.Set("Upgrade", "websocket")
	header.Set("Connection", "Upgrade")
	flate := false
	if options.Compression {
		if answer := negotiateDeflate(r.Header["Sec-Websocket-Extensions"]); answer != "" {
			flate = true
			header.Set("Sec-Websocket-Extensions", answer)
		}
	}
	rw.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffers, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return nil, err
	}
	in := buffers.Reader
	if in.Buffered() == 0 { // frees the server's larger buffer
		in = bufio.NewReaderSize(conn, readBuffer)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil { // clears the server's deadline
		_ = conn.Close()
		return nil, err
	}
	return newConn(conn, in, flate, options), nil
}
