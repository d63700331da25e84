package caddysnake

// The python app of Caddy's config: settings of the process, not of one app.

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Engine))
	httpcaddyfile.RegisterGlobalOption("python", parseGlobalOption)
}

// Engine is the `python` app: settings of the interpreter that all Python
// applications of the process share. It exists even if it is not configured.
type Engine struct {
	// SpareCore leaves one core to Python: it sets GOMAXPROCS to the number of
	// cores minus one while Python apps are configured. It has no effect on a
	// machine with one core, when the GOMAXPROCS environment variable is set, or
	// when a container limits the cores. Default: true.
	SpareCore *bool `json:"spare_core,omitempty"`

	// PerTenantMetrics is the number of applications that blocks with placeholders
	// have loaded and that get metrics of their own; further ones share the name
	// _other. Default: 0, the applications of a block share the block's metrics.
	PerTenantMetrics int `json:"per_tenant_metrics,omitempty"`

	held    bool
	metered atomic.Bool // the config has metrics
	ctx     caddy.Context
}

// gracePeriod is the grace period of the running config's HTTP app, a
// time.Duration.
var gracePeriod atomic.Int64

// CaddyModule returns the Caddy module information.
func (*Engine) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "python", New: func() caddy.Module { return new(Engine) }}
}

// Provision does not start Python. Handlers that need it call start.
func (e *Engine) Provision(ctx caddy.Context) error {
	if e.PerTenantMetrics < 0 {
		return fmt.Errorf("per_tenant_metrics must be at least 1, not %d", e.PerTenantMetrics)
	}
	e.ctx = ctx
	if err := ctx.GetMetricsRegistry().Register(metricsCollector{e}); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := ctx.GetMetricsRegistry().Register(appMetricsCollector{e}); err != nil {
		return fmt.Errorf("registering metrics of applications: %w", err)
	}
	return nil
}

// Start implements caddy.App. Caddy calls it after provisioning all apps.
func (e *Engine) Start() error {
	perTenant.Store(int64(e.PerTenantMetrics))
	app, err := e.ctx.AppIfConfigured("http")
	if err != nil {
		return nil //nolint:nilerr // without the HTTP app there are no requests
	}
	if servers, ok := app.(*caddyhttp.App); ok {
		gracePeriod.Store(int64(servers.GracePeriod))
	}
	return nil
}

// Stop implements caddy.App.
func (*Engine) Stop() error { return nil }

// start starts Python and applies the settings. Handlers call it in Provision.
func (e *Engine) start(logger *zap.Logger, metered bool) error {
	if err := startPython(); err != nil {
		return err
	}
	if metered && e.metered.CompareAndSwap(false, true) {
		addMetering(1)
	}
	if !e.held && (e.SpareCore == nil || *e.SpareCore) {
		e.held = true
		spareCores.hold(logger)
	}
	return nil
}

// hasMetrics tells whether Caddy measures the requests of the HTTP app that ctx belongs
// to.
func hasMetrics(ctx caddy.Context) bool {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return app.Metrics != nil
		}
	}
	return false
}

// Cleanup returns the spare core to Go, and ends measuring.
func (e *Engine) Cleanup() error {
	if e.metered.Load() {
		addMetering(-1)
	}
	if e.held {
		spareCores.release()
	}
	return nil
}

// spareCores counts the configs that leave a core to Python.
var spareCores coreCounter

type coreCounter struct {
	mu      sync.Mutex
	holders int
	lowered bool
}

func (c *coreCounter) hold(logger *zap.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders++
	cores := runtime.NumCPU()
	if c.lowered || os.Getenv("GOMAXPROCS") != "" || cores < 2 || runtime.GOMAXPROCS(0) != cores {
		return // already lowered, or set by the user or a container limit
	}
	runtime.GOMAXPROCS(cores - 1)
	c.lowered = true
	logger.Info("leaving one core to Python", zap.Int("gomaxprocs", cores-1))
}

func (c *coreCounter) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders--
	if c.holders == 0 && c.lowered {
		runtime.GOMAXPROCS(runtime.NumCPU())
		c.lowered = false
	}
}

// parseGlobalOption parses
//
//	python {
//	    spare_core         on|off
//	    per_tenant_metrics <n>
//	}
func parseGlobalOption(d *caddyfile.Dispenser, _ any) (any, error) {
	engine := new(Engine)
	d.Next() // "python"
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "spare_core":
			on, err := parseOnOff(d)
			if err != nil {
				return nil, err
			}
			engine.SpareCore = &on
		case "per_tenant_metrics":
			if err := onlyNumber(d, &engine.PerTenantMetrics); err != nil {
				return nil, err
			}
		default:
			return nil, d.Errf("unknown option '%s' of python; there are: spare_core, per_tenant_metrics", d.Val())
		}
	}
	return httpcaddyfile.App{Name: "python", Value: caddyconfig.JSON(engine, nil)}, nil
}

func parseOnOff(d *caddyfile.Dispenser) (bool, error) {
	name, value := d.Val(), ""
	if !d.AllArgs(&value) {
		return false, d.ArgErr()
	}
	if value != "on" && value != "off" {
		return false, d.Errf("%s must be on or off, not '%s'", name, value)
	}
	return value == "on", nil
}

// Interface guards
var (
	_ caddy.App          = (*Engine)(nil)
	_ caddy.Provisioner  = (*Engine)(nil)
	_ caddy.CleanerUpper = (*Engine)(nil)
)
