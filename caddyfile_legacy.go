package caddysnake

// Options of the python directive in earlier releases. Caddyfiles with these
// options still load, and the log says how to replace the options.

import (
	"encoding/json"
	"math"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

// unmarshalLegacyOption reads an option of earlier releases. These options have no
// JSON fields. Syntax:
//
//	python … {
//	    workers_runtime  thread|process
//	    runtime          <name>
//	    max_dynamic_apps <n>
//	    request_body     <size>
//	    request_body {
//	        max_size <size>
//	    }
//	}
func (h *Handler) unmarshalLegacyOption(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "workers_runtime":
		return h.unmarshalWorkersRuntime(d)
	case "runtime":
		var name string
		if !d.AllArgs(&name) {
			return d.ArgErr()
		}
		warn(d, "runtime "+name+" has no effect: remove it; "+
			"loop chooses the event loop of an ASGI application, and workers its processes")
	case "max_dynamic_apps":
		if err := onlyNumber(d, &h.MaxApps); err != nil {
			return err
		}
		warn(d, "max_dynamic_apps is called max_apps now, and has the same effect: rename it")
	case "request_body":
		return h.unmarshalRequestBody(d)
	default:
		return d.Errf("unknown option '%s' of python", option)
	}
	return nil
}

func (h *Handler) unmarshalWorkersRuntime(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&h.workersRuntime) {
		return d.ArgErr()
	}
	if h.workersRuntime != "thread" && h.workersRuntime != "process" {
		return d.Errf("workers_runtime must be thread or process, not '%s'", h.workersRuntime)
	}
	return nil
}

// withRuntime returns the number of workers for a workers_runtime of earlier releases.
func withRuntime(workers, runtime string) string {
	switch {
	case runtime == "thread":
		return ""
	case runtime == "process" && workers == "":
		return "1"
	default:
		return workers
	}
}

func (h *Handler) unmarshalRequestBody(d *caddyfile.Dispenser) error {
	if h.maxBody != 0 {
		return d.Err("request_body is given twice")
	}
	warn(d, "request_body has become a directive of Caddy; its limit is applied, but write "+
		"request_body before python, not inside of it")
	if d.NextArg() {
		return h.unmarshalMaxBody(d, "request_body", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if option := d.Val(); option != "max_size" {
			return d.Errf("unknown option '%s' of request_body inside of python; "+
				"there is: max_size", option)
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		if err := h.unmarshalMaxBody(d, "max_size", d.Val()); err != nil {
			return err
		}
	}
	if h.maxBody == 0 {
		return d.Err("request_body needs a max_size")
	}
	return nil
}

func (h *Handler) unmarshalMaxBody(d *caddyfile.Dispenser, option, value string) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if h.maxBody != 0 {
		return d.Errf("%s is given twice", option)
	}
	size, err := humanize.ParseBytes(value)
	if err != nil || size < 1 || size > math.MaxInt64 {
		return d.Errf("%s must be a size such as 10MB, not '%s'", option, value)
	}
	h.maxBody = int64(size)
	return nil
}

// withBodyLimit returns the handler. If the Caddyfile has the legacy request_body
// option, it puts Caddy's own request_body handler in front.
func (h *Handler) withBodyLimit() caddyhttp.MiddlewareHandler {
	if h.maxBody == 0 {
		return h
	}
	limit := requestbody.RequestBody{MaxSize: h.maxBody}
	return &caddyhttp.Subroute{Routes: caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{
		caddyconfig.JSONModuleObject(limit, "handler", "request_body", nil),
		caddyconfig.JSONModuleObject(h, "handler", "python", nil),
	}}}}
}

// warnOfPackages warns of package directories that the user should replace with the
// venv option.
func warnOfPackages(d *caddyfile.Dispenser, directory string) {
	switch filepath.Base(directory) {
	case "site-packages", "dist-packages":
		warn(d, "python_path "+directory+" makes the packages there the application's own; "+
			"name their virtual environment with venv instead, so that applications can share them")
	}
}

// warn logs a message for the user about the current option, as Caddy's own
// directives do; each command that reads a Caddyfile shows it. The logger's name is
// lost while caddy run buffers its log.
func warn(d *caddyfile.Dispenser, message string) {
	caddy.Log().Named(loggerName).Warn("python: "+message, zap.String("file", d.File()), zap.Int("line", d.Line()))
}
