package caddysnake

// What C has packed of a response: headers, trailers and links.

import (
	"iter"
	"net/textproto"
	"strings"
)

// canonicalNames spares most responses an allocation per header.
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

// unpackedHeaders are the headers of a response, names in their canonical form.
type unpackedHeaders struct{ names, values []string }

// unpackHeaders reads n headers; not ok: there are less, or something behind
// them. All of them share one copy of packed.
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
