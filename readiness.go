package caddysnake

// The http.handlers.python_ready module: tells a load balancer whether to send requests.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(ReadyHandler{})
	httpcaddyfile.RegisterHandlerDirective("python_ready", parseReadyDirective)
}

// ReadyHandler answers 200 when Python applications can take requests, else 503 with
// the reasons as JSON. It asks no application.
//
// An application is ready when it is loaded, its event loop has given a sign of life
// within its blocked_loop, and with workers, at least one of them takes requests.
type ReadyHandler struct {
	// Apps are the names of applications, as the config has them. Default: all
	// applications of handlers without placeholders.
	Apps []string `json:"apps,omitempty"`

	// MaxQueue is the number of requests that may wait for applications of one name.
	// Default: no limit.
	MaxQueue int `json:"max_queue,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (ReadyHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.python_ready", New: func() caddy.Module { return new(ReadyHandler) }}
}

// Provision checks the settings.
func (h *ReadyHandler) Provision(caddy.Context) error {
	if h.MaxQueue < 0 {
		return fmt.Errorf("max_queue must be at least 1, not %d", h.MaxQueue)
	}
	return nil
}

func parseReadyDirective(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(ReadyHandler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	python_ready [<matcher>] [<module>:<variable>...] {
//	    max_queue <n>
//	}
func (h *ReadyHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // "python_ready"
	h.Apps = d.RemainingArgs()
	for d.NextBlock(0) {
		switch d.Val() {
		case "max_queue":
			if err := onlyNumber(d, &h.MaxQueue); err != nil {
				return err
			}
		default:
			return d.Errf("unknown option '%s' of python_ready; there is: max_queue", d.Val())
		}
	}
	return nil
}

// readiness is the answer.
type readiness struct {
	Ready   bool             `json:"ready"`
	Reasons []unreadyBecause `json:"reasons"`
}

// unreadyBecause is one reason not to send requests.
type unreadyBecause struct {
	App    string `json:"app,omitempty"`
	Reason string `json:"reason"`
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *ReadyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	reasons := h.reasons(r)
	body, err := json.Marshal(readiness{len(reasons) == 0, reasons})
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}

// reasons returns all reasons against sending requests.
func (h *ReadyHandler) reasons(r *http.Request) []unreadyBecause {
	reasons := []unreadyBecause{} // not nil, which JSON would show
	if isShuttingDown(r) {
		reasons = append(reasons, unreadyBecause{Reason: "the server is shutting down"})
	}
	queued, known := map[string]int{}, map[string]bool{}
	waiting := slots.countQueued()
	running.Range(func(_, value any) bool {
		switch found := value.(type) {
		case *tenants:
			known[found.name] = true
		case *App:
			known[found.name] = true
			if !h.wants(found) {
				return true
			}
			gen := found.current.Load()
			if gen != nil {
				queued[found.name] += gen.queued(waiting)
			}
			if reason := found.unready(gen); reason != "" && found.required.Load() {
				reasons = append(reasons, unreadyBecause{found.name, reason})
			}
		}
		return true
	})
	for _, name := range h.Apps {
		if !known[name] {
			reasons = append(reasons, unreadyBecause{name, "no application of this name is loaded"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(queued)) {
		if count := queued[name]; h.MaxQueue > 0 && count > h.MaxQueue {
			reasons = append(reasons, unreadyBecause{name, fmt.Sprintf("%d requests wait, more than %d (max_queue)", count, h.MaxQueue)})
		}
	}
	return reasons
}

// wants tells whether the answer depends on an app.
func (h *ReadyHandler) wants(app *App) bool {
	if len(h.Apps) == 0 {
		return app.required.Load()
	}
	return slices.Contains(h.Apps, app.name)
}

// isShuttingDown tells whether Caddy will answer no further requests, also during the
// shutdown_delay of its http app.
func isShuttingDown(r *http.Request) bool {
	if caddy.Exiting() {
		return true
	}
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	value, _ := replacer.Get("http.shutting_down")
	over, _ := value.(bool)
	return over
}

// unready returns why an app, with its current generation, can't take requests; "": it
// can.
func (a *App) unready(gen *generation) string {
	if gen == nil {
		if failure := a.failure.Load(); failure != nil {
			return "its changed code could not be loaded"
		}
		return "" // it was stopped since it was found
	}
	limit := time.Duration(a.config.BlockedLoop)
	if gen.workers != nil {
		return gen.workers.unready(limit)
	}
	if gen.isWSGI || limit == 0 {
		return ""
	}
	silent := time.Duration(gen.load().loop_silent) * time.Microsecond
	return describeSilence(silent, limit)
}

func describeSilence(silent, limit time.Duration) string {
	if silent < limit {
		return ""
	}
	return fmt.Sprintf("its event loop has been blocked for %s (blocked_loop)", silent.Round(time.Millisecond))
}

// unready returns why no worker can take requests; "": one can. limit is blocked_loop.
func (ws *workers) unready(limit time.Duration) string {
	reason := "none of its workers takes requests"
	for _, w := range ws.survey().all {
		if !w.isReady {
			continue
		}
		if ws.gen.isWSGI || limit == 0 || w.silent < limit {
			return ""
		}
		reason = describeSilence(w.silent, limit)
	}
	return reason
}

// queued returns how many requests wait for the app. waiting are those of Caddy's
// process.
func (g *generation) queued(waiting map[*generation]int) int {
	if g.workers == nil {
		return waiting[g]
	}
	seen := g.workers.survey()
	queued := seen.waiting
	for _, w := range seen.all {
		for _, count := range w.slots.countQueued() {
			queued += count
		}
	}
	return queued
}

// Interface guards
var (
	_ caddy.Module                = (*ReadyHandler)(nil)
	_ caddy.Provisioner           = (*ReadyHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ReadyHandler)(nil)
)
