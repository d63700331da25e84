package caddysnake

// `caddy reload --force`: the code of all apps is loaded anew, even of those whose
// configuration has not changed. Caddy does not tell modules that a load is
// forced, only its own endpoint, by a header; this one stands before that.

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

// codeRound counts forced loads. It is part of an app's identity, so that the
// apps of a forced load are new ones next to those of the running config.
var codeRound atomic.Uint64

// adminLoad takes POST /load, of which the pattern of Caddy's own endpoint is
// the more general one.
type adminLoad struct{}

var loads struct {
	sync.Mutex // so that no other load is taken for a forced one
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
		err := handler.ServeHTTP(w, r)
		if err != nil {
			codeRound.Store(before) // the running config goes on
		}
		return err
	})
}

// Interface guard
var _ caddy.AdminRouter = (*adminLoad)(nil)
