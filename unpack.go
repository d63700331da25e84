package caddysnake

// Unpacks the headers, trailers and links of a response from C.

import (
	"iter"
	"net/textproto"
	"strings"
)

// canonicalNames saves most responses an allocation per header.
var canonicalNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range append([]string{
		"Server", "Date", "Location", "Set-Cookie", "Vary", "Etag", "Last-Modified", "Expires",
		"X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Allow", "Content-Encoding",
		"Content-Language", "Content-Disposition", "Cross-Origin-Opener-Policy", "Accept-Ranges",
		"Access-Control-Allow-Origin", "Strict-Transport-Security", "Content-Security-Policy", "Link",
	}, knownHeaders...) {
		names[name] = name
		names[strings.ToLower(name)] = name
	}
	return names
}()

func canonicalName(name string) string {
	if known, ok := canonicalNames[name]; ok {
		return known
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// unpackedHeaders holds the headers of a response, with canonical names.
type unpackedHeaders struct{ names, values []string }

// unpackHeaders reads n headers. ok is false if there are fewer, or data after
// them. All strings share one copy of packed.
func unpackHeaders(packed []byte, n int) (headers unpackedHeaders, ok bool) {
	const lengths = 8
	if n < 0 || n > len(packed)/lengths {
		return unpackedHeaders{}, false
	}
	both := make([]string, 2*n)
	headers = unpackedHeaders{both[:n:n], both[n:]}
	c := cursor[string]{left: string(packed)}
	for i := range n {
		name, value := c.header()
		headers.names[i], headers.values[i] = canonicalName(name), value
	}
	return headers, !c.broken && c.left == ""
}

func (h unpackedHeaders) all() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i, name := range h.names {
			if !yield(name, h.values[i]) {
				return
			}
		}
	}
}

// unpackLinks reads the links of a hint.
func unpackLinks(packed []byte) (links []string, ok bool) {
	c := cursor[string]{left: string(packed)}
	for c.left != "" {
		links = append(links, c.field())
	}
	return links, !c.broken
}
