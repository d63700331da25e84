package caddysnake

// The admin.api.python module: Caddy's admin endpoint shows the applications, and
// reloads or unloads one. What the answers look like is in admin_view.go.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(adminPython{})
}

type adminPython struct{}

// CaddyModule returns the Caddy module information.
func (adminPython) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.python", New: func() caddy.Module { return new(adminPython) }}
}

// Routes implements caddy.AdminRouter.
func (adminPython) Routes() []caddy.AdminRoute {
	route := func(pattern string, handler caddy.AdminHandlerFunc) caddy.AdminRoute {
		return caddy.AdminRoute{Pattern: pattern, Handler: handler}
	}
	return []caddy.AdminRoute{
		route("GET /python/apps", showing(func() any { return viewApps() })),
		route("GET /python/workers", showing(func() any { return viewWorkers() })),
		route("GET /python/requests", showing(func() any { return viewRequests() })),
		route("GET /python/stacks", adminStacks),
		route("GET /python/profile", adminProfile),
		route("POST /python/apps/{id}/reload", adminReload),
		route("POST /python/apps/{id}/unload", adminUnload),
	}
}

// showing answers with what view returns, as JSON.
func showing(view func() any) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error { return show(w, view()) }
}

func show(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

var (
	errUnknownID  = errors.New("there is no python application with this id; GET /python/apps shows all")
	errNotATenant = errors.New("only applications of blocks with placeholders can be unloaded: " +
		"the others stay loaded as long as the configuration has them")
	errStillLoading = errors.New("the application is being loaded")
)

func adminError(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// adminReload loads the code of an app again. If that fails, the app keeps the code that
// it has, and the error is the answer.
func adminReload(w http.ResponseWriter, r *http.Request) error {
	app, in := findApp(r.PathValue("id"))
	var err error
	switch {
	case app != nil:
		loading, cancel := untilExit(r.Context())
		defer cancel()
		err = app.load(loading, true, zap.String("reason", "admin endpoint"))
	case in.table != nil:
		err = in.table.retry(in.key, in.tenant)
	default:
		return adminError(http.StatusNotFound, errUnknownID)
	}
	if errors.Is(err, errStillLoading) {
		return adminError(http.StatusConflict, err)
	}
	if err != nil {
		return adminError(http.StatusInternalServerError, err)
	}
	return showOne(w, r.PathValue("id"))
}

// adminUnload unloads an app of a block with placeholders, which its next request loads
// again.
func adminUnload(w http.ResponseWriter, r *http.Request) error {
	app, in := findApp(r.PathValue("id"))
	switch {
	case app == nil && in.table == nil:
		return adminError(http.StatusNotFound, errUnknownID)
	case in.table == nil:
		return adminError(http.StatusConflict, errNotATenant)
	case !in.table.drop(in.key, in.tenant, "admin"):
		return adminError(http.StatusConflict, errStillLoading)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func showOne(w http.ResponseWriter, id string) error {
	for _, view := range viewApps() {
		if view.ID == id {
			return show(w, view)
		}
	}
	return adminError(http.StatusNotFound, fmt.Errorf("%w: it was unloaded meanwhile", errUnknownID))
}

// tenantAt is a tenant and its place.
type tenantAt struct {
	table  *tenants
	key    string
	tenant *tenant
}

// findApp returns the app with an id (nil: it is not loaded), and if it is a tenant, its
// place.
func findApp(id string) (found *App, in tenantAt) {
	running.Range(func(_, value any) bool {
		switch value := value.(type) {
		case *App:
			if value.id == id {
				found = value
			}
		case *tenants:
			if key, t := value.find(id); t != nil {
				in = tenantAt{value, key, t}
			}
		}
		return true
	})
	return found, in
}

// find returns the tenant with an id.
func (ts *tenants) find(id string) (key string, _ *tenant) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	for key, t := range ts.byKey {
		if t.id == id {
			return key, t
		}
	}
	return "", nil
}

// drop takes a tenant out of the table and unloads it. It returns false if the tenant is
// being loaded.
func (ts *tenants) drop(key string, t *tenant, reason string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ts.byKey[key] != t: // it is gone already
	case t.hasFailed():
		delete(ts.byKey, key)
		ts.failures--
	case t.loaded() == nil:
		return false
	default:
		ts.evict(key, t, reason)
	}
	return true
}

// retry loads a tenant that has failed before, and waits for it.
func (ts *tenants) retry(key string, t *tenant) error {
	if !ts.drop(key, t, "admin") {
		return errStillLoading
	}
	t, err := ts.add(key)
	if err != nil {
		return err
	}
	<-t.ready
	return t.err
}

// Interface guard
var _ caddy.AdminRouter = (*adminPython)(nil)
