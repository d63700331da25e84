package caddysnake

import (
	"net/http/httptest"
	"testing"
)

func TestStrippedPrefixIsWhatHandlersTookOffThePath(t *testing.T) {
	for _, c := range []struct{ original, current, want string }{
		{"/", "/", ""},
		{"/app/x", "/app/x", ""},
		{"/app/x", "/x", "/app"},
		{"/app/", "/", "/app"},
		{"/app", "/", "/app"},
		{"/app/a/../b", "/b", "/app"},
		{"/app//b", "/b", "/app"},
		{"/old", "/new", ""},
		{"/a", "/longer/a", ""},
	} {
		if got := strippedPrefix(c.original, c.current); got != c.want {
			t.Errorf("strippedPrefix(%q, %q) = %q, want %q", c.original, c.current, got, c.want)
		}
	}
}

func TestSplitHostPortToleratesWhatClientsSend(t *testing.T) {
	for _, c := range []struct{ address, host, port string }{
		{"example.com", "example.com", ""},
		{"example.com:8080", "example.com", "8080"},
		{"[::1]:80", "::1", "80"},
		{"[::1]", "::1", ""},
		{":80", "", "80"},
		{"", "", ""},
		{"@", "@", ""},
	} {
		host, port := splitHostPort(c.address)
		if host != c.host || port != c.port {
			t.Errorf("splitHostPort(%q) = %q, %q, want %q, %q", c.address, host, port, c.host, c.port)
		}
	}
}

func TestServerAddressFallsBackToTheSchemesPort(t *testing.T) {
	for _, c := range []struct{ header, scheme, host, port string }{
		{"example.com", "http", "example.com", "80"},
		{"example.com", "https", "example.com", "443"},
		{"example.com:99999999999", "http", "example.com", "80"},
		{"example.com:x", "http", "example.com", "80"},
		{"", "http", "localhost", "80"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.header
		host, port := serverAddress(r, c.scheme)
		if host != c.host || port != c.port {
			t.Errorf("serverAddress(%q, %q) = %q, %q, want %q, %q", c.header, c.scheme, host, port, c.host, c.port)
		}
	}
}
