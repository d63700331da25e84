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

	// exitPoll is the interval at which a load checks whether the process exits.
	exitPoll = 100 * time.Millisecond
)

// Handler answers requests with a Python application. Exactly one of module,
// module_wsgi and module_asgi names it.
//
// The application is loaded when the config is; a config whose application can't be
// loaded is rejected. Handlers with the same settings share one application, which
// also outlives config reloads that don't change them.
//
// The application's name, working_dir, python_path, venv, env and env_files may
// contain placeholders. Each request then selects its application, which is loaded
// for its first request.
type Handler struct {
	// Module names a WSGI or ASGI application; the interface is detected. Form:
	// "package.module:variable". The variable may have dots, and is called without
	// arguments when it ends in "()".
	Module string `json:"module,omitempty"`

	// ModuleWSGI names a WSGI application, in the form of module.
	ModuleWSGI string `json:"module_wsgi,omitempty"`

	// ModuleASGI names an ASGI application, in the form of module.
	ModuleASGI string `json:"module_asgi,omitempty"`

	// WorkingDir is the directory of the application's modules, the first entry of
	// its sys.path. It is relative to Caddy's working directory, which is the
	// default.
	WorkingDir string `json:"working_dir,omitempty"`

	// PythonPath lists further directories with modules of the application. They
	// follow WorkingDir on its sys.path.
	PythonPath []string `json:"python_path,omitempty"`

	// Venv is the application's virtual environment. It must belong to the Python
	// version that Caddy runs.
	Venv string `json:"venv,omitempty"`

	// Lifespan sets the use of the ASGI lifespan protocol: "auto" uses it if the
	// application supports it, "on" requires support, "off" never uses it. Default:
	// auto.
	Lifespan string `json:"lifespan,omitempty"`

	// Threads is the number of requests that a WSGI application may run at once;
	// further requests wait. Default: 32.
	Threads int `json:"threads,omitempty"`

	// Workers is the number of processes that serve the application: "auto" is one
	// for each core that Caddy may use, "0" serves it in Caddy's own process.
	// Default: 0.
	Workers string `json:"workers,omitempty"`

	// Preload lists packages that workers do not import themselves: they are forked
	// from a process that has imported these. The names are those of modules, and not
	// of the application's own.
	Preload []string `json:"preload,omitempty"`

	// MaxRequests is the number of requests and websockets after which a worker is
	// replaced, and up to a tenth more, so that workers do not end together. The
	// successor is ready before the old worker gets no more requests. Default: no
	// limit.
	MaxRequests int `json:"max_requests,omitempty"`

	// MaxMemory is the resident memory in bytes above which a worker is replaced.
	// Default: no limit.
	MaxMemory int64 `json:"max_memory,omitempty"`

	// MaxAge is the time after which a worker is replaced, and up to a tenth more.
	// Default: no limit.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// KillStuck is the time without a sign of life after which a worker with
	// requests is killed. Default: never.
	KillStuck caddy.Duration `json:"kill_stuck,omitempty"`

	// Background lists commands, each a program and its arguments, that run beside the
	// application: in its environment, from its load to its end. One that ends is
	// started again.
	Background [][]string `json:"background,omitempty"`

	// Loop is the event loop of an ASGI application: "asyncio", "uvloop", or
	// "auto", which is uvloop if it can be imported. Default: auto.
	Loop string `json:"loop,omitempty"`

	// Env are environment variables for the application.
	Env map[string]string `json:"env,omitempty"`

	// EnvFiles are files with NAME=value lines, read in order before env.
	EnvFiles []string `json:"env_files,omitempty"`

	// Isolate lists further packages that the application imports for itself
	// instead of sharing them with other applications. Use it for packages that
	// keep one configuration for the whole process. An entry is the name of a
	// distribution or of a package.
	Isolate []string `json:"isolate,omitempty"`

	// MaxApps limits the number of applications that a handler with placeholders
	// holds at once. For a further application, the one that has been idle longest
	// is unloaded; if all are busy, the answer is 503. Default: no limit.
	MaxApps int `json:"max_apps,omitempty"`

	// IdleTimeout is the time without requests after which a handler with
	// placeholders unloads an application. Default: never.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// StartTimeout limits the time to load the application, including its startup.
	// Negative: no limit. Default: 60s.
	StartTimeout caddy.Duration `json:"start_timeout,omitempty"`

	// RequestID gives each request an id, in the header X-Request-Id and in the records
	// that the application logs. Default: false.
	RequestID bool `json:"request_id,omitempty"`

	// AppMetrics adds to Caddy's metrics what the application counts with
	// prometheus_client, in its default registry. It has no effect without Caddy's own
	// metrics. Default: false.
	AppMetrics bool `json:"app_metrics,omitempty"`

	// Probe is the path, or the host and path, of a GET request that code must answer with
	// a status below 400 when it is loaded. Otherwise the load fails. Default: none.
	Probe string `json:"probe,omitempty"`

	// RequestTimeout limits the time for a request, including its response. When it
	// expires, the client gets status 504, or a broken connection if the response
	// has begun. An ASGI application's task is cancelled; a WSGI application gets
	// an exception as soon as it runs Python code. Default: no limit.
	RequestTimeout caddy.Duration `json:"request_timeout,omitempty"`

	// SlowRequest is the time after which a running WSGI request is logged with its
	// Python stack. Negative: never. Default: 30s.
	SlowRequest caddy.Duration `json:"slow_request,omitempty"`

	// BlockedLoop is the time after which a blocked event loop of an ASGI
	// application is logged with its Python stack. Negative: never. Default: 5s.
	BlockedLoop caddy.Duration `json:"blocked_loop,omitempty"`

	// WebSocket holds the settings for websockets of an ASGI application.
	WebSocket *WebSocketOptions `json:"websocket,omitempty"`

	// Autoreload reloads the application's code when its files change. Default: no
	// autoreload.
	Autoreload *AutoreloadOptions `json:"autoreload,omitempty"`

	// Debug answers requests that accept HTML with the traceback when changed code
	// can't be loaded. Not for production. Default: false.
	Debug bool `json:"debug,omitempty"`

	// Either app or tenants is set; key is its key in the usage pool.
	app     *App
	tenants *tenants
	key     string

	workersRuntime string // only while a Caddyfile is read, like maxBody

	maxBody int64 // only while a Caddyfile is read; see caddyfile_legacy.go
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.python", New: func() caddy.Module { return new(Handler) }}
}

// Provision loads the application, unless placeholders select it per request.
func (h *Handler) Provision(ctx caddy.Context) error {
	parsed, err := h.parse()
	if err != nil {
		return err
	}
	parsed.base.Round = codeRound.Load()
	names := parsed.placeholders()
	var config appConfig
	if len(names) == 0 {
		config, err = parsed.resolve(nil)
	} else {
		err = parsed.checkFixed()
	}
	if err != nil {
		return err
	}
	engine, err := ctx.App("python")
	if err != nil {
		return err
	}
	logger := ctx.Logger()
	if err := engine.(*Engine).start(logger, hasMetrics(ctx)); err != nil {
		return err
	}
	if h.AppMetrics && !hasMetrics(ctx) {
		logger.Warn("app_metrics has no effect: the global option metrics is missing")
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
	if h.app, err = loadApp(loading, config, h.name(), timeout, logger); err != nil {
		return err
	}
	h.app.required.Store(true)
	h.key = config.key()
	logger.Debug("python handler ready", zap.String("app", config.Module))
	return nil
}

// name returns the application's name as configured.
func (h *Handler) name() appName {
	name := cmp.Or(h.Module, h.ModuleWSGI, h.ModuleASGI)
	return appName{name, meterOf(name)}
}

// errExiting is the reason for aborting a load.
var errExiting = errors.New("the server is stopping")

// untilExit returns a context that is also cancelled when the process exits. Caddy
// stops nothing before the config is loaded, and notifies no module until then.
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

// Cleanup releases the application, or all applications that requests have
// selected.
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
	var err error
	if config.Workers, err = parseWorkers(h.Workers); err != nil {
		return nil, err
	}
	if config.Limits, err = h.workerLimits(config.Workers); err != nil {
		return nil, err
	}
	if config.Preload, err = h.preloaded(config.Workers); err != nil {
		return nil, err
	}
	for _, command := range h.Background {
		if len(command) == 0 || command[0] == "" {
			return nil, errors.New("background needs a program")
		}
	}
	config.Background = h.Background
	if h.Probe != "" {
		if _, err := parseProbe(h.Probe); err != nil {
			return nil, err
		}
	}
	config.Probe, config.RequestID, config.Metrics = h.Probe, h.RequestID, h.AppMetrics
	config.SlowRequest = seconds(max(0, h.SlowRequest))
	if h.SlowRequest == 0 {
		config.SlowRequest = seconds(defaultSlowRequest)
	}
	config.BlockedLoop = seconds(max(0, cmp.Or(time.Duration(h.BlockedLoop), defaultBlockedLoop)))
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

// check finds the mistakes in the settings that are visible before the server runs.
func (h *Handler) check() error {
	parsed, err := h.parse()
	if errors.Is(err, errUnset) {
		return nil // the machine that adapts the config may not be the server
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
