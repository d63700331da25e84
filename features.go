package caddysnake

// Features of a request beyond plain HTTP: websocket, TLS, trailers, early hints.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// requestFeatures returns the features of an ASGI request's connection.
func requestFeatures(r *http.Request) uint32 {
	var features uint32
	if r.ProtoAtLeast(1, 1) {
		features |= C.SNAKE_EARLY_HINTS
	}
	if r.ProtoMajor > 1 || httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers") {
		features |= C.SNAKE_TRAILERS_TAKEN
	}
	if r.TLS != nil {
		features |= C.SNAKE_TLS
	}
	if isWebSocket(r) {
		features |= C.SNAKE_WEBSOCKET
	}
	return features
}

// isWebSocket tells whether the client asks for a websocket (RFC 6455 section
// 4.2.1).
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor == 1 &&
		httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// isExtendedConnect tells whether the client requests another protocol on an HTTP/2
// or HTTP/3 stream (RFC 8441), which this server does not advertise.
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect &&
		(len(r.Header[":protocol"]) > 0 || r.ProtoMajor == 3 && r.Proto != "HTTP/3.0")
}

// checkHandshake refuses an invalid websocket handshake before the app sees it.
func checkHandshake(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		// This server and every proxy before it would read the body as frames.
		w.Header().Set("Connection", "close")
		return refuse(w, errWebSocketBody)
	}
	if r.Header.Get("Sec-Websocket-Version") != "13" {
		w.Header().Set("Sec-Websocket-Version", "13")
		w.Header().Set("Upgrade", "websocket") // RFC 9110 section 15.5.22
		w.Header().Set("Connection", "Upgrade")
		return refuse(w, errWebSocketVersion)
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 || len(r.Header["Sec-Websocket-Key"]) != 1 {
		return refuse(w, errWebSocketKey)
	}
	return nil
}

// offeredSubprotocols joins the subprotocols that the client lists in one or more
// headers.
func offeredSubprotocols(r *http.Request) string {
	values := r.Header["Sec-Websocket-Protocol"]
	if len(values) == 0 {
		return ""
	}
	var names []string
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ",")
}

// appendTLS appends the facts of ASGI's tls extension: version and cipher suite
// (uint32), the number of client certificates, the subject of the first, and
// all of them in PEM.
func appendTLS(b []byte, r *http.Request) []byte {
	state := r.TLS
	b = binary.LittleEndian.AppendUint32(b, uint32(state.Version))
	b = binary.LittleEndian.AppendUint32(b, uint32(state.CipherSuite))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(state.PeerCertificates)))
	subject := ""
	if len(state.PeerCertificates) > 0 {
		subject = state.PeerCertificates[0].Subject.String()
	}
	b = appendString(b, subject)
	for _, certificate := range state.PeerCertificates {
		b = appendString(b, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})))
	}
	return b
}
