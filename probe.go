package caddysnake

// The probe: a request of Caddy's own to code that has just been loaded, before it gets
// any other.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	probeAgent = "caddysnake-probe"
	// maxProbeBody is how much of the answer to a failed probe is shown, in bytes.
	maxProbeBody = 500
)

var probePattern = regexp.MustCompile(`^([A-Za-z0-9.-]+(:[0-9]+)?)?/[^#\s]*$`)

// parseProbe checks the option: a path, after a host if there is one.
func parseProbe(value string) (*url.URL, error) {
	if probePattern.MatchString(value) {
		if target, err := url.Parse("http://" + value); err == nil {
			return target, nil
		}
	}
	return nil, fmt.Errorf("probe must be a path such as /health, or a host and a path, not '%s'", value)
}

// probe asks the generation, and returns an error if its answer is one.
func (g *generation) probe(ctx context.Context, value string) error {
	target, err := parseProbe(value)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.RequestURI(), http.NoBody)
	if err != nil {
		return err
	}
	r.Host = target.Host
	if r.Host == "" {
		r.Host = "localhost"
	}
	r.RequestURI = target.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	r.Header.Set("User-Agent", probeAgent)
	var timeout time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	w := &probeWriter{header: make(http.Header)}
	g.acquire() // nobody else can have released it
	err = g.answer(exchange{w: w, r: r}, timeout)
	if refused := (caddyhttp.HandlerError{}); errors.As(err, &refused) {
		return fmt.Errorf("probe %s: status %d: %w", value, refused.StatusCode, refused.Err)
	}
	if err != nil {
		return fmt.Errorf("probe %s: %w", value, err)
	}
	if w.status < 200 || w.status >= 400 {
		return fmt.Errorf("probe %s: status %d: %s", value, w.status, printable(strings.ToValidUTF8(string(w.body), "\ufffd")))
	}
	return nil
}

// probeWriter takes the answer to a probe.
type probeWriter struct {
	header http.Header
	status int
	body   []byte // its beginning
}

// Header implements http.ResponseWriter.
func (w *probeWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *probeWriter) WriteHeader(status int) {
	if w.status < 200 { // early hints come before
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *probeWriter) Write(data []byte) (int, error) {
	w.body = append(w.body, data[:min(len(data), maxProbeBody-len(w.body))]...)
	return len(data), nil
}

// FlushError is used by http.ResponseController.
func (w *probeWriter) FlushError() error { return nil }

// Interface guard
var _ http.ResponseWriter = (*probeWriter)(nil)
