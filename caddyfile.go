package caddysnake

// The python directive.

import (
	"math"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("python", parseDirective)
	// Of two directives, the one that is registered first comes first.
	httpcaddyfile.RegisterDirectiveOrder("python_ready", httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterDirectiveOrder("python", httpcaddyfile.Before, "respond")
}

func parseDirective(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	return h.withBodyLimit(), nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	python [<matcher>] [<module>:<variable>] {
//	    module_wsgi   <module>:<variable>
//	    module_asgi   <module>:<variable>
//	    working_dir   <dir>
//	    python_path   <dir>...
//	    venv          <dir>
//	    lifespan      auto|on|off
//	    threads       <n>
//	    workers       <n>|auto
//	    preload       <package>...
//	    max_requests  <n>
//	    max_memory    <size>
//	    max_age       <duration>
//	    kill_stuck    <duration>
//	    background    <program> <argument>...
//	    loop          auto|asyncio|uvloop
//	    env_var       <name> <value>
//	    env_file      <path>
//	    isolate       <package>...
//	    max_apps      <n>
//	    idle_timeout  <duration>
//	    start_timeout   <duration>|forever
//	    request_id
//	    app_metrics
//	    probe           [<host>]<path>
//	    request_timeout <duration>
//	    slow_request    <duration>|off
//	    blocked_loop    <duration>|off
//	    websocket {
//	        max_size      <size>
//	        ping_interval <duration>|off
//	        ping_timeout  <duration>
//	        compression   on|off
//	    }
//	    autoreload {
//	        debounce      <duration>
//	        include       <glob>...
//	        exclude       <glob>...
//	        on_error      fail|keep
//	        grace         <duration>
//	        drain_timeout <duration>
//	    }
//	    debug
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // "python"
	if d.NextArg() {
		h.Module = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := h.unmarshalOption(d); err != nil {
			return err
		}
	}
	h.Workers = withRuntime(h.Workers, h.workersRuntime)
	if err := h.check(); err != nil {
		return d.Err(err.Error())
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "module_wsgi":
		return onlyArg(d, &h.ModuleWSGI)
	case "module_asgi":
		return onlyArg(d, &h.ModuleASGI)
	case "working_dir":
		return onlyArg(d, &h.WorkingDir)
	case "python_path":
		known := len(h.PythonPath)
		if err := someArgs(d, &h.PythonPath); err != nil {
			return err
		}
		for _, directory := range h.PythonPath[known:] {
			warnOfPackages(d, directory)
		}
	case "venv":
		return onlyArg(d, &h.Venv)
	case "lifespan":
		return onlyArg(d, &h.Lifespan)
	case "loop":
		return onlyArg(d, &h.Loop)
	case "workers":
		if err := onlyArg(d, &h.Workers); err != nil {
			return err
		}
		if _, err := parseWorkers(h.Workers); err != nil {
			return d.Err(err.Error())
		}
	case "preload":
		return someArgs(d, &h.Preload)
	case "request_id":
		if d.NextArg() {
			return d.ArgErr()
		}
		h.RequestID = true
	case "app_metrics":
		if d.NextArg() {
			return d.ArgErr()
		}
		h.AppMetrics = true
	case "probe":
		return onlyArg(d, &h.Probe)
	case "background":
		command := d.RemainingArgs()
		if len(command) == 0 {
			return d.ArgErr()
		}
		h.Background = append(h.Background, command)
	case "max_requests":
		return onlyNumber(d, &h.MaxRequests)
	case "max_memory":
		return onlySize(d, &h.MaxMemory, math.MaxInt64)
	case "max_age":
		return onlyDuration(d, &h.MaxAge)
	case "kill_stuck":
		return onlyDuration(d, &h.KillStuck)
	case "threads":
		return onlyNumber(d, &h.Threads)
	case "env_var":
		var name, value string
		if !d.AllArgs(&name, &value) {
			return d.ArgErr()
		}
		if h.Env == nil {
			h.Env = make(map[string]string)
		}
		h.Env[name] = value
	case "env_file":
		var path string
		if !d.AllArgs(&path) {
			return d.ArgErr()
		}
		h.EnvFiles = append(h.EnvFiles, path)
	case "isolate":
		return someArgs(d, &h.Isolate)
	case "max_apps":
		return onlyNumber(d, &h.MaxApps)
	case "idle_timeout":
		return onlyDuration(d, &h.IdleTimeout)
	case "start_timeout":
		return onlyDuration(d, &h.StartTimeout, "forever", "-1")
	case "request_timeout":
		return onlyDuration(d, &h.RequestTimeout)
	case "slow_request":
		return onlyDuration(d, &h.SlowRequest, "off")
	case "blocked_loop":
		return onlyDuration(d, &h.BlockedLoop, "off")
	case "websocket":
		return h.unmarshalWebSocket(d)
	case "autoreload":
		return h.unmarshalAutoreload(d)
	case "debug":
		if d.NextArg() {
			return d.ArgErr()
		}
		h.Debug = true
	default:
		return h.unmarshalLegacyOption(d)
	}
	return nil
}

func (h *Handler) unmarshalWebSocket(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if h.WebSocket != nil {
		return d.Err("websocket is given twice")
	}
	h.WebSocket = new(WebSocketOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "max_size":
			if err := onlySize(d, &h.WebSocket.MaxSize, math.MaxInt32); err != nil {
				return err
			}
		case "ping_interval":
			if err := onlyDuration(d, &h.WebSocket.PingInterval, "off"); err != nil {
				return err
			}
		case "ping_timeout":
			if err := onlyDuration(d, &h.WebSocket.PingTimeout); err != nil {
				return err
			}
		case "compression":
			on, err := parseOnOff(d)
			if err != nil {
				return err
			}
			if h.WebSocket.Compression != nil {
				return d.Errf("%s is given twice", option)
			}
			h.WebSocket.Compression = &on
		default:
			return d.Errf("unknown option '%s' of websocket", option)
		}
	}
	return nil
}

// onlyArg reads the single value of an option that may be given once.
func onlyArg(d *caddyfile.Dispenser, target *string) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if *target != "" {
		return d.Errf("%s is given twice", option)
	}
	*target = value
	return nil
}

// onlyNumber reads the single number, at least 1, of an option that may be given
// once.
func onlyNumber(d *caddyfile.Dispenser, target *int) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return d.Errf("%s must be a number from 1, not '%s'", option, value)
	}
	*target = n
	return nil
}

// onlySize reads the single size, at least one byte, of an option that may be given
// once.
func onlySize(d *caddyfile.Dispenser, target *int64, limit uint64) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	size, err := humanize.ParseBytes(value)
	if err != nil || size < 1 || size > limit {
		return d.Errf("%s must be a size such as 16MiB, not '%s'", option, value)
	}
	*target = int64(size)
	return nil
}

// someArgs reads values of an option that may be given repeatedly.
func someArgs(d *caddyfile.Dispenser, target *[]string) error {
	values := d.RemainingArgs()
	if len(values) == 0 {
		return d.ArgErr()
	}
	*target = append(*target, values...)
	return nil
}

// onlyDuration reads the single duration of an option that may be given once. The
// words in never mean -1.
func onlyDuration(d *caddyfile.Dispenser, target *caddy.Duration, never ...string) error {
	option, value := d.Val(), ""
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	if slices.Contains(never, value) {
		*target = -1
		return nil
	}
	duration, err := caddy.ParseDuration(value)
	if err != nil || duration <= 0 {
		return d.Errf("%s must be a duration such as 30s, not '%s'", option, value)
	}
	*target = caddy.Duration(duration)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
