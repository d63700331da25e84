package caddysnake

// The option request_id: one id for a request in Caddy's log, in the application, and in
// what the application logs.

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const requestIDHeader = "X-Request-Id"

// identify sets the header to Caddy's id of the request. A client can't choose it.
func identify(r *http.Request) {
	r.Header.Del(requestIDHeader)
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok { // Caddy's own probe
		return
	}
	if id, ok := repl.GetString("http.request.uuid"); ok {
		r.Header.Set(requestIDHeader, id)
	}
}

// idPattern matches what request_ids.py makes: a request's id, and with tracing the ids of
// its trace and span.
var idPattern = regexp.MustCompile(`^[0-9a-f-]{36}( [0-9a-f]{32} [0-9a-f]{16})?$`)

// idFields returns the fields of a record for ids in that form. Others are dropped: an
// application in a worker can write what it likes.
func idFields(ids string) []zap.Field {
	fields := make([]zap.Field, 0, 5) // with those of the caller
	if ids == "" || !idPattern.MatchString(ids) {
		return fields
	}
	names := [...]string{"request_id", "trace_id", "span_id"}
	for i, id := range strings.Fields(ids) {
		fields = append(fields, zap.String(names[i], id))
	}
	return fields
}
