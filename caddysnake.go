// Package caddysnake serves Python web applications, WSGI and ASGI, inside the
// Caddy web server: CPython runs in Caddy's own process.
package caddysnake

// The http.handlers.python module. Its Caddyfile form is in caddyfile.go.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Handler{})
}

const (
	defaultThreads      = 32
	defaultStartTimeout = time.Minute
	defaultSlowRequest  = 30 * time.Second
	defaultBlockedLoop  = 5 * time.Second

	// exitPoll is how soon a load learns that the process is to end.
	exitPoll = 100 * time.Millisecond
)

// Handler answers requests with a Python application. Exactly one of module,
// module_wsgi and module_asgi names it.
//
// The application is loaded when the config is; a config whose application
// can't be loaded is rejected. Handlers with the same settings share one
// application, which also outlives config reloads that don't change them.
//
// The names of the application, working_dir, python_path, venv, env and
// env_files may have placeholders. Then each request names its application,
// which is loaded when it is needed first.
type Handler struct {
	// Module names a WSGI or ASGI application; which of the two is detected.
	// "package.module:variable": the variable may have dots, and is called
	// without arguments when it ends in "()".
	Module string `json:"module,omitempty"`

	// ModuleWSGI names a WSGI application, in the form of module.
	ModuleWSGI string `json:"module_wsgi,omitempty"`

	// ModuleASGI names an ASGI application, in the form of module.
	ModuleASGI string `json:"module_asgi,omitempty"`

	// WorkingDir is the directory with the application's modules, first on its
	// sys.path. It is relative to Caddy's working directory, the default.
	WorkingDir string `json:"working_dir,omitempty"`

	// PythonPath are further directories with modules of the application, behind
	// WorkingDir on its sys.path.
	PythonPath []string `json:"python_path,omitempty"`

	// Venv is a virtual environment whose packages the application uses. It must
	// belong to the Python version that Caddy runs.
	Venv string `json:"venv,omitempty"`

	// Lifespan tells how to treat the ASGI lifespan protocol: "auto" uses it if
	// the application supports it, "on" requires that it does, "off" never uses
	// it. Default: auto.
	Lifespan string `json:"lifespan,omitempty"`

	// Threads is how many requests of a WSGI application may run at once; others
	// wait. Default: 32.
	Threads int `json:"threads,omitempty"`

	// Loop is the event loop of an ASGI application: "asyncio", "uvloop", or
	// "auto", which is uvloop if it can be imported. Default: auto.
	Loop string `json:"loop,omitempty"`

	// Env are environment variables for the application.
	Env map[string]string `json:"env,omitempty"`

	// EnvFiles are files with NAME=value lines, read in order before env.
	EnvFiles []string `json:"env_files,omitempty"`

	// Isolate are further packages that the application imports for itself instead
	// of sharing them with others, by the names of their distributions or their
	// own: those that keep one configuration for the whole process.
	Isolate []string `json:"isolate,omitempty"`

	// MaxApps limits how many applications a handler with placeholders may hold
	// at once. For a further one, the one that has been idle for longest is
	// unloaded; if all are busy, the answer is 503. Default: no limit.
	MaxApps int `json:"max_apps,omitempty"`

	// IdleTimeout is after what time without requests an application of a handler
	// with placeholders is unloaded. Default: never.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// StartTimeout is how long the application may take to load, its startup
	// included. Negative: as long as it takes. Default: 60s.
	StartTimeout caddy.Duration `json:"start_timeout,omitempty"`

	// RequestTimeout is how long the application may take for a request, its
	// response included. Then the client gets status 504, or a broken connection
	// if the response has begun; an ASGI application's task is cancelled, and a
	// WSGI application gets an exception as soon as it runs Python code.
	// Default: no limit.
	RequestTimeout caddy.Duration `json:"request_timeout,omitempty"`

	// SlowRequest is after what time a running WSGI request is reported in the
	// log, with its Python stack. Negative: never. Default: 30s.
	SlowRequest caddy.Duration `json:"slow_request,omitempty"`

	// BlockedLoop is after what time a blocked event loop of an ASGI application
	// is reported in the log, with its Python stack. Negative: never. Default: 5s.
	BlockedLoop caddy.Duration `json:"blocked_loop,omitempty"`

	// WebSocket are the settings for websockets of an ASGI application.
	WebSocket *WebSocketOptions `json:"websocket,omitempty"`

	// Autoreload loads the application's code anew when its files change. Default:
	// it is not.
	Autoreload *AutoreloadOptions `json:"autoreload,omitempty"`

	// Debug shows those who ask for HTML why changed code can't be loaded, with the
	// traceback. Not for production. Default: false.
	Debug bool `json:"debug,omitempty"`

	// One of the two, and its key in the pool.
	app     *App
	tenants *tenants
	key     string

	maxBody int64 // while a Caddyfile is read: see caddyfile_legacy.go
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.python", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the application, unless requests name it.
func (h *Handler) Provision(ctx caddy.Context) error {
	parsed, err := h.parse()
	if err != nil {
		return err
	}
	parsed.base.Round = codeRound.Load()
	names := parsed.placeholders()
	var config appConfig
	if len(names) == 0 {
		if config, err = parsed.resolve(nil); err != nil {
			return err
		}
	}
	engine, err := ctx.App("python")
	if err != nil {
		return err
	}
	logger := ctx.Logger()
	if err := engine.(*Engine).start(logger); err != nil {
		return err
	}
	timeout := cmp.Or(time.Duration(h.StartTimeout), defaultStartTimeout)
	if len(names) > 0 {
		key := tenantsKey(h, parsed.base.Round)
		if h.tenants, err = newTenants(h, key, parsed, timeout, logger); err != nil {
			return err
		}
		h.key = key
		logger.Debug("python handler ready", zap.Strings("placeholders", names))
		return nil
	}
	if h.MaxApps != 0 || h.IdleTimeout != 0 {
		logger.Warn("max_apps and idle_timeout have no effect: no option of this handler has a placeholder")
	}
	loading, cancel := untilExit(ctx)
	defer cancel()
	if h.app, err = loadApp(loading, config, timeout, logger); err != nil {
		return err
	}
	h.key = config.key()
	logger.Debug("python handler ready", zap.String("app", config.Module))
	return nil
}

// errExiting is why a load does not go on.
var errExiting = errors.New("the server is to stop")

// untilExit returns a context that also ends when the process is to: Caddy stops
// nothing before the config is loaded, and tells nobody until then.
func untilExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for !caddy.Exiting() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(exitPoll):
			}
		}
		cancel(errExiting)
	}()
	return ctx, func() { cancel(nil) }
}

// Cleanup lets go of the application, or of all that requests have named.
func (h *Handler) Cleanup() (err error) {
	switch {
	case h.app != nil:
		_, err = apps.Delete(h.key)
	case h.tenants != nil:
		_, err = tenantTables.Delete(h.key)
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if abandoned.isFull(r) {
		return refuse(w, errAbandoned)
	}
	if h.tenants != nil {
		return h.tenants.serve(w, r)
	}
	return h.app.serve(w, r)
}

var modulePattern = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*:[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*(\(\))?$`)

// parse checks the settings and fills in the defaults.
func (h *Handler) parse() (*appTemplate, error) {
	config := appConfig{Debug: h.Debug}
	config.Isolate = append([]string{}, h.Isolate...) // not nil, which JSON would show
	config.Threads, config.Lifespan, config.Loop = h.Threads, h.Lifespan, h.Loop
	slices.Sort(config.Isolate)
	config.Isolate = slices.Compact(config.Isolate)
	named, module := 0, ""
	for _, candidate := range []struct{ module, iface string }{
		{h.Module, ""}, {h.ModuleWSGI, "wsgi"}, {h.ModuleASGI, "asgi"},
	} {
		if candidate.module != "" {
			named++
			module, config.Interface = candidate.module, candidate.iface
		}
	}
	if named != 1 {
		return nil, fmt.Errorf("exactly one of module, module_wsgi and module_asgi must be set, not %d", named)
	}
	if err := oneOf("lifespan", &config.Lifespan, "auto", "on", "off"); err != nil {
		return nil, err
	}
	if err := oneOf("loop", &config.Loop, "auto", "asyncio", "uvloop"); err != nil {
		return nil, err
	}
	if config.Threads == 0 {
		config.Threads = defaultThreads
	}
	if config.Threads < 1 {
		return nil, fmt.Errorf("threads must be at least 1, not %d", config.Threads)
	}
	config.SlowRequest = seconds(max(0, h.SlowRequest))
	if h.SlowRequest == 0 {
		config.SlowRequest = seconds(defaultSlowRequest)
	}
	config.BlockedLoop = seconds(max(0, cmp.Or(time.Duration(h.BlockedLoop), defaultBlockedLoop)))
	var err error
	if config.WebSocket, err = h.WebSocket.resolve(); err != nil {
		return nil, err
	}
	if config.Autoreload, err = h.Autoreload.resolve(); err != nil {
		return nil, err
	}
	config.RequestTimeout = seconds(h.RequestTimeout)
	for _, option := range []struct {
		name  string
		value time.Duration
	}{
		{"request_timeout", time.Duration(h.RequestTimeout)},
		{"idle_timeout", time.Duration(h.IdleTimeout)},
	} {
		if option.value < 0 {
			return nil, fmt.Errorf("%s must be positive, not %s", option.name, option.value)
		}
	}
	if h.MaxApps < 0 {
		return nil, fmt.Errorf("max_apps must be at least 1, not %d", h.MaxApps)
	}
	parsed := &appTemplate{base: config}
	return parsed, parsed.parse(h, module)
}

// check finds mistakes in the settings, as far as they show before the server
// runs them.
func (h *Handler) check() error {
	parsed, err := h.parse()
	if errors.Is(err, errUnset) {
		return nil // the machine that adapts the config need not be the server
	}
	if err != nil || len(parsed.placeholders()) > 0 {
		return err
	}
	_, err = parsed.resolve(nil)
	return err
}

// oneOf checks an option with a fixed set of values; the first is the default.
func oneOf(name string, value *string, allowed ...string) error {
	if *value == "" {
		*value = allowed[0]
	}
	if !slices.Contains(allowed, *value) {
		return fmt.Errorf("%s must be one of %v, not '%s'", name, allowed, *value)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
