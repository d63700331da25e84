package caddysnake

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func httpConfig(t *testing.T, o serverOptions) (server struct {
	Listen    []string
	Protocols []string
	Routes    []struct {
		Match []struct{ Host []string }
	}
}) {
	t.Helper()
	o.threads, o.admin = 1, "off"
	config, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	var http caddyhttp.App
	if err := json.Unmarshal(config.AppsRaw["http"], &http); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(http.Servers["python"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &server); err != nil {
		t.Fatal(err)
	}
	return server
}

// A host matcher and a port other than 80 trigger automatic HTTPS.
func TestDomainMeansHTTPS(t *testing.T) {
	server := httpConfig(t, serverOptions{app: "main:app", domain: "example.com"})
	if got := server.Listen[0]; got != ":443" {
		t.Errorf("listens on %s", got)
	}
	if len(server.Routes) != 1 || server.Routes[0].Match[0].Host[0] != "example.com" {
		t.Errorf("routes: %+v", server.Routes)
	}
	if server.Protocols != nil {
		t.Errorf("protocols are limited to %v", server.Protocols)
	}
}

func TestPlainHTTPIsLocal(t *testing.T) {
	server := httpConfig(t, serverOptions{app: "main:app"})
	if got := server.Listen[0]; got != "127.0.0.1:9080" {
		t.Errorf("listens on %s", got)
	}
}

func TestShortForm(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"caddy main:app --debug", "caddy python-server main:app --debug"},
		{"caddy pkg.wsgi:make()", "caddy python-server pkg.wsgi:make()"},
		{"caddy run --config x:y", "caddy run --config x:y"},
		{"caddy", "caddy"},
		{"caddy status --address :2019", "caddy python-status --address :2019"},
		{"caddy top", "caddy python-top"},
		{"caddy run status", "caddy run status"},
	} {
		if got := strings.Join(Arguments(strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("%s: %s, not %s", test.args, got, test.want)
		}
	}
}
