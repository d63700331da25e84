package caddysnake

// Packs an http.Request into the head that core/head.c reads.

import "C"

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// knownHeaders have a one-byte index in a packed head: 1 + their position. Python
// prepares its own spellings of them once.
var knownHeaders = []string{
	"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Cookie",
	"Content-Type", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
	"Referer", "Origin", "Authorization", "Cache-Control", "Pragma", "Upgrade-Insecure-Requests",
	"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Sec-Ch-Ua",
	"Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "If-None-Match", "If-Modified-Since", "If-Match",
	"Range", "X-Requested-With", "X-Real-Ip", "X-Request-Id", "X-Csrftoken", "Te", "Dnt",
	"Priority", "Traceparent", "Expect", "Upgrade",
}

const (
	hostIndex   = 1
	lengthIndex = 9
)

var headerIndex = func() map[string]byte {
	index := make(map[string]byte, len(knownHeaders))
	for i, name := range knownHeaders {
		index[name] = byte(i + 1)
	}
	return index
}()

// appendString appends a length-prefixed field.
func appendString(b []byte, s string) []byte {
	n := len(s)
	b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(b, s...)
}

// pack appends the head of r to b and returns the number of headers in it.
//
// The fields are, each as a little-endian uint32 length and its bytes: method,
// script name, path (both decoded), raw path, query, HTTP version, scheme, client
// host and port, server host and port, request URI, user. Headers follow: a byte
// with the index of a known name, or 0 and the name as a field; then the value as a
// field. Host and Content-Length are the values that Caddy uses.
//
// For WSGI, repeated headers are joined, since an environ has one string for each
// (RFC 9110 section 5.3, RFC 9113 section 8.2.3).
func pack(b []byte, r *http.Request, forWSGI bool) ([]byte, uint32) {
	ctx := r.Context()
	original, _ := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)

	script, uri := "", r.RequestURI
	if original.URL != nil {
		script = strippedPrefix(original.URL.Path, r.URL.Path)
		uri = original.RequestURI
	}
	b = appendString(b, r.Method)
	b = appendString(b, script)
	b = appendString(b, r.URL.Path)
	b = appendString(b, rawPath(r, script, uri))
	b = appendString(b, r.URL.RawQuery)
	b = appendString(b, httpVersion(r))
	scheme := requestScheme(r, vars)
	b = appendString(b, scheme)
	host, port := clientAddress(r, vars)
	b = appendString(b, host)
	b = appendString(b, port)
	host, port = serverAddress(r, scheme)
	if forWSGI && strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]" // part of a URL (RFC 3875 section 4.1.14)
	}
	b = appendString(b, host)
	b = appendString(b, port)
	b = appendString(b, uri)
	b = appendString(b, authenticatedUser(r))

	var n uint32
	if r.Host != "" {
		b = append(b, hostIndex)
		b = appendString(b, r.Host)
		n++
	}
	if hasLength(r) {
		var room [20]byte
		b = append(b, lengthIndex)
		b = appendString(b, string(strconv.AppendInt(room[:0], r.ContentLength, 10)))
		n++
	}
	if !forWSGI && len(r.TransferEncoding) > 0 {
		// net/http removes it from the headers. WSGI applications such as Bottle
		// would decode the chunks again.
		b = appendHeader(b, 0, "Transfer-Encoding")
		b = appendString(b, strings.Join(r.TransferEncoding, ", "))
		n++
	}
	for name, values := range r.Header {
		index := headerIndex[name]
		if index == hostIndex || index == lengthIndex || index == 0 && isApart(name) {
			continue
		}
		if forWSGI {
			// A header like X_Y would become the same variable as X-Y, and
			// HTTP_PROXY configures HTTP clients (CVE-2016-5385).
			if index == 0 && (strings.IndexByte(name, '_') >= 0 || name == "Proxy") {
				continue
			}
			b = appendHeader(b, index, name)
			b = appendString(b, joined(name, values))
			n++
			continue
		}
		for _, value := range values {
			b = appendHeader(b, index, name)
			b = appendString(b, value)
			n++
		}
	}
	return b, n
}

// hasLength tells whether the body's length is known and needs a header.
func hasLength(r *http.Request) bool {
	return r.ContentLength > 0 || r.ContentLength == 0 && len(r.Header["Content-Length"]) > 0
}

// isApart tells which names, besides Host and Content-Length, net/http keeps out of
// the headers. Such a name among the headers, from HTTP/2, HTTP/3 or another
// handler, would contradict the routing and framing of the request.
func isApart(name string) bool {
	return name == "Transfer-Encoding" || strings.HasPrefix(name, ":")
}

func appendHeader(b []byte, index byte, name string) []byte {
	b = append(b, index)
	if index == 0 {
		b = appendString(b, name)
	}
	return b
}

func joined(name string, values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	separator := ", "
	if name == "Cookie" {
		separator = "; "
	}
	return strings.Join(values, separator)
}

// strippedPrefix returns the prefix that handle_path or uri strip_prefix removed
// from the path: SCRIPT_NAME and root_path. These handlers clean the path, and
// replace an empty rest with "/".
func strippedPrefix(original, current string) string {
	if original == current {
		return ""
	}
	clean := caddyhttp.CleanPath(original, true)
	if current == "/" && !strings.HasSuffix(clean, "/") {
		return clean
	}
	prefix, found := strings.CutSuffix(clean, current)
	if !found {
		return ""
	}
	return strings.TrimSuffix(prefix, "/")
}

// rawPath returns the undecoded path, as received unless a handler rewrote it.
func rawPath(r *http.Request, script, uri string) string {
	if strings.HasPrefix(uri, "/") && (script != "" || uri == r.RequestURI) {
		path, _, _ := strings.Cut(uri, "?")
		return path
	}
	return r.URL.EscapedPath()
}

func httpVersion(r *http.Request) string {
	switch {
	case r.ProtoMajor == 3:
		return "3"
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMajor == 1 && r.ProtoMinor == 1:
		return "1.1"
	default:
		return "1.0"
	}
}

// requestScheme trusts X-Forwarded-Proto only from trusted proxies. Some proxies,
// such as Traefik, send wss for a websocket.
func requestScheme(r *http.Request, vars map[string]any) string {
	if r.TLS != nil {
		return "https"
	}
	if trusted, _ := vars[caddyhttp.TrustedProxyVarKey].(bool); trusted {
		proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
		proto = strings.TrimSpace(proto)
		if strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss") {
			return "https"
		}
	}
	return "http"
}

// clientAddress returns the peer, or the client that a trusted proxy names, whose
// port is unknown. A client on a Unix socket has neither host nor port.
func clientAddress(r *http.Request, vars map[string]any) (host, port string) {
	host, port = splitHostPort(r.RemoteAddr)
	if ip, _ := vars[caddyhttp.ClientIPVarKey].(string); ip != "" && ip != host {
		return ip, "0"
	}
	if port == "" {
		return "", ""
	}
	return host, port
}

// serverAddress returns the host and port that the client addressed: with the
// scheme they form a working URL (PEP 3333, "URL Reconstruction"). Without a Host
// header, it is the connection's local address.
func serverAddress(r *http.Request, scheme string) (host, port string) {
	address := r.Host
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && address == "" {
		address = local.String()
	}
	host, port = splitHostPort(address)
	if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		port = "80"
		if scheme == "https" {
			port = "443"
		}
	}
	if host == "" {
		host = "localhost"
	}
	return host, port
}

// splitHostPort is net.SplitHostPort for input that may lack the port; it allocates
// no error. Brackets are removed.
func splitHostPort(address string) (host, port string) {
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 || strings.IndexByte(address[colon:], ']') >= 0 {
		return strings.Trim(address, "[]"), ""
	}
	host = address[:colon]
	if strings.HasPrefix(host, "[") {
		host = strings.Trim(host, "[]")
	}
	return host, address[colon+1:]
}

// authenticatedUser returns the user that Caddy's authentication found.
func authenticatedUser(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	user, _ := repl.GetString("http.auth.user.id")
	return user
}
