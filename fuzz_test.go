package caddysnake

// Fuzz targets for Go's parsers. `make fuzz` runs every target. The target for
// websocket frames is in internal/wsconn.

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func FuzzUnpackHeaders(f *testing.F) {
	f.Add(packHeaders("content-type", "text/plain", "X-A", ""), 2)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255}, 1)
	f.Fuzz(func(t *testing.T, packed []byte, n int) {
		headers, ok := unpackHeaders(packed, n)
		if !ok {
			return
		}
		if len(headers.names) != n || len(headers.values) != n {
			t.Fatalf("%d names and %d values of %d", len(headers.names), len(headers.values), n)
		}
		size := 8 * n
		for name, value := range headers.all() {
			size += len(name) + len(value)
		}
		if size != len(packed) {
			t.Errorf("%d of %d bytes", size, len(packed))
		}
	})
}

func FuzzUnpackLinks(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00a\x02\x00\x00\x00bc"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		links, ok := unpackLinks(packed)
		var again []byte
		for _, link := range links {
			again = appendString(again, link)
		}
		if ok && !bytes.Equal(again, packed) {
			t.Errorf("%q became %q", packed, again)
		}
	})
}

func FuzzLogRecord(f *testing.F) {
	f.Add([]byte("stdouthello"), 6)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if source, message := splitRecord(data, n); source+message != string(data) {
			t.Errorf("%q at %d: %q and %q", data, n, source, message)
		}
	})
}

func FuzzWebSocketRecords(f *testing.F) {
	f.Add([]byte("\x0b\x00\x00\x00\x05\x00\x00\x00hello\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x00\xe8\x03\x00\x00\x00\x00\x00\x00"), false)
	f.Add(append([]byte("\x0c\x00\x00\x00\x00\x04\x00\x00"), make([]byte, 1<<10)...), true)
	f.Add([]byte("\x0b\x00\x01\x00\x01\x00\x00\x00a\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00"), false)
	f.Fuzz(func(t *testing.T, packed []byte, flate bool) {
		w, client, _, _ := webSocketFor(t, flate)
		*(*uint32)(&w.slot.wire.out_made) = uint32(copy(w.slot.out.Memory(), packed))
		w.writeRecords()
		// The client gets complete frames, and none after a close.
		for r := bytes.NewReader(client.written.Bytes()); r.Len() > 0; {
			header, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Seek(header.Length, io.SeekCurrent); err != nil || header.Length > int64(r.Size()) {
				t.Fatalf("a frame of %d bytes, %v", header.Length, err)
			}
			if header.OpCode == ws.OpClose && r.Len() > 0 {
				t.Errorf("%d bytes after a close", r.Len())
			}
		}
	})
}

func FuzzResponseRecords(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x08\x00\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00ok\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x08\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00a\x00\x00\x00\x09\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		x, recorder := exchangeWith(t)
		*(*uint32)(&x.slot.wire.out_made) = uint32(copy(x.slot.out.Memory(), packed))
		defer func() {
			if reason := recover(); reason != nil && reason != http.ErrAbortHandler {
				panic(reason)
			}
			if recorder.Body.Len() > 0 && !x.sent {
				t.Error("a body without a head")
			}
			x.letGo()
		}()
		if done, err := x.write(); done && err == nil && !x.over {
			t.Error("the slot is lost")
		}
	})
}

// unpackRequest reads pack's output, as core/head.c does.
func unpackRequest(t *testing.T, packed []byte, n uint32, webSocket, encrypted bool) {
	c := cursor[string]{left: string(packed)}
	for range 13 {
		c.field()
	}
	for range n {
		index := c.byte()
		if int(index) > len(knownHeaders) {
			t.Errorf("a header with index %d", index)
		}
		if index == 0 {
			c.field()
		}
		c.field()
	}
	if webSocket {
		c.field()
	}
	if encrypted {
		c.take(8)
		certificates := c.uint32()
		c.field()
		for range certificates {
			c.field()
		}
	}
	if c.broken || c.left != "" {
		t.Errorf("%q does not consist of %d headers: %d bytes are left", packed, n, len(c.left))
	}
}

func FuzzPack(f *testing.F) {
	f.Add([]byte("GET /a%20b?q=1 HTTP/1.1\r\nHost: example.com:80\r\nCookie: a=b\r\nX-Y: 1\r\nX-Y: 2\r\n\r\n"), false, false)
	f.Add([]byte("POST http://[::1]/x HTTP/1.1\r\nHost: [::1]:8080\r\nTransfer-Encoding: chunked\r\n\r\n"), true, true)
	f.Add([]byte("GET / HTTP/1.0\r\nSec-WebSocket-Protocol: a, b\r\nX_Y: z\r\nProxy: evil\r\n\r\n"), true, false)
	f.Fuzz(func(t *testing.T, text []byte, forWSGI, encrypted bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		r.RemoteAddr = r.Host // anything
		if encrypted {
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{{Raw: text}}}
		}
		b, n := pack(nil, r, forWSGI)
		b = appendString(b, offeredSubprotocols(r))
		if encrypted {
			b = appendTLS(b, r)
		}
		unpackRequest(t, b, n, true, encrypted)
	})
}

func FuzzPaths(f *testing.F) {
	f.Add("one", "two")
	f.Add(strings.Repeat("x", 200), "../..")
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, text := range []string{"/srv/{a}/app", "sites/x{a}y/{b}", "{a}"} {
			parsed, err := parseTemplate("working_dir", text)
			if err != nil {
				t.Fatal(err)
			}
			path, fixed, err := parsed.fillPath("working_dir", map[string]string{"a": one, "b": two})
			if err != nil {
				continue
			}
			if clean, root := filepath.Clean(path), filepath.Clean(fixed); clean != root && root != "." && !strings.HasPrefix(clean, strings.TrimSuffix(root, "/")+"/") {
				t.Errorf("%q leads from %q to %q", one, root, clean)
			}
			if slices.Contains(strings.Split(path, "/"), "..") {
				t.Errorf("%q leads up: %q", one, path)
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("/srv/{http.request.host.labels.1}/{a}")
	f.Add(`\{x\}{y{z}}`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseTemplate("working_dir", text)
		if err != nil {
			return
		}
		if len(parsed.literals) != len(parsed.names)+1 {
			t.Fatalf("%d literals around %d names", len(parsed.literals), len(parsed.names))
		}
		_ = parsed.fill(map[string]string{})
	})
}
