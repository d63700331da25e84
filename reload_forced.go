package caddysnake

// `caddy reload --force` reloads the code of all apps, even of those whose
// configuration has not changed. Caddy does not tell modules that a load is forced;
// it only sends a header to its own endpoint. The endpoint in this file wraps
// Caddy's.

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"
)

func init() {
	caddy.RegisterModule(adminLoad{})
}

// codeRound counts forced loads. It is part of an app's identity, so a forced load
// creates new apps next to those of the running config.
var codeRound atomic.Uint64

// adminLoad handles POST /load. Its pattern is more specific than that of Caddy's
// own endpoint and takes precedence.
type adminLoad struct{}

var loads struct {
	sync.Mutex // serialises loads: another load must not count as forced
	lastRound  uint64
}

// CaddyModule returns the Caddy module information.
func (adminLoad) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.python_load", New: func() caddy.Module { return new(adminLoad) }}
}

// Routes implements caddy.AdminRouter.
func (adminLoad) Routes() []caddy.AdminRoute {
	info, err := caddy.GetModule("admin.api.load")
	if err != nil {
		return nil // a Caddy without the endpoint
	}
	router, ok := info.New().(caddy.AdminRouter)
	if !ok {
		return nil
	}
	for _, route := range router.Routes() {
		if route.Pattern == "/load" {
			return []caddy.AdminRoute{{Pattern: "POST /load", Handler: loadBy(route.Handler)}}
		}
	}
	return nil
}

func loadBy(handler caddy.AdminHandler) caddy.AdminHandler {
	return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		loads.Lock()
		defer loads.Unlock()
		if !httpguts.HeaderValuesContainsToken(r.Header["Cache-Control"], "must-revalidate") {
			return handler.ServeHTTP(w, r)
		}
		loads.lastRound++
		before := codeRound.Swap(loads.lastRound)
		zygotes.forget() // the packages may have changed, too
		err := handler.ServeHTTP(w, r)
		if err != nil {
			codeRound.Store(before) // the running config stays in use
		}
		return err
	})
}

// Interface guard
var _ caddy.AdminRouter = (*adminLoad)(nil)
