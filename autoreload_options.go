package caddysnake

// The autoreload option of the directive.

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const (
	defaultDebounce = 500 * time.Millisecond
	defaultGrace    = 10 * time.Second
)

// AutoreloadOptions tell when an application is loaded anew because its files
// have changed, and what becomes of the code that ran before.
type AutoreloadOptions struct {
	// Debounce is for how long nothing must have changed before the application
	// is loaded anew. Default: 500ms.
	Debounce caddy.Duration `json:"debounce,omitempty"`

	// Include are globs of files that matter besides *.py. One without a slash is
	// for names in any directory, one with a slash for paths relative to
	// working_dir, in which ** stands for any number of directories.
	Include []string `json:"include,omitempty"`

	// Exclude are globs of files and directories that don't matter, in the form of
	// include. Hidden directories, __pycache__, node_modules and virtual
	// environments never do.
	Exclude []string `json:"exclude,omitempty"`

	// OnError tells what answers requests when the changed code can't be loaded:
	// "fail" has them fail with HTTP status 500 until it can, "keep" goes on with
	// the code that was loaded last. Default: fail.
	OnError string `json:"on_error,omitempty"`

	// Grace is after what time the websockets of the old code are closed, with
	// code 1012, and its streams that stand still. Default: 10s.
	Grace caddy.Duration `json:"grace,omitempty"`

	// DrainTimeout is how long the other requests of the old code may take before
	// they are cancelled. Default: 5m.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`
}

// autoreloadConfig is the same with the defaults filled in.
type autoreloadConfig struct {
	Debounce         time.Duration
	Include, Exclude []string
	OnError          string
	Patience         patience
}

// resolve checks the options and fills in the defaults; nil stays nil.
func (o *AutoreloadOptions) resolve() (*autoreloadConfig, error) {
	if o == nil {
		return nil, nil
	}
	if o.Debounce < 0 || o.Grace < 0 || o.DrainTimeout < 0 {
		return nil, fmt.Errorf("autoreload: debounce, grace and drain_timeout must be positive")
	}
	for _, glob := range slices.Concat(o.Include, o.Exclude) {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return nil, fmt.Errorf("autoreload: '%s' is not a glob", glob)
		}
	}
	config := &autoreloadConfig{
		Debounce: cmp.Or(time.Duration(o.Debounce), defaultDebounce),
		Include:  append([]string{}, o.Include...),
		Exclude:  append([]string{}, o.Exclude...),
		OnError:  o.OnError,
		Patience: patience{
			WebSockets: cmp.Or(time.Duration(o.Grace), defaultGrace),
			Streams:    cmp.Or(time.Duration(o.Grace), defaultGrace),
			Requests:   cmp.Or(time.Duration(o.DrainTimeout), drainTimeout),
		},
	}
	return config, oneOf("on_error", &config.OnError, "fail", "keep")
}

func (h *Handler) unmarshalAutoreload(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if h.Autoreload != nil {
		return d.Err("autoreload is given twice")
	}
	o := new(AutoreloadOptions)
	h.Autoreload = o
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "debounce":
			err = onlyDuration(d, &o.Debounce)
		case "include":
			err = someArgs(d, &o.Include)
		case "exclude":
			err = someArgs(d, &o.Exclude)
		case "on_error":
			err = onlyArg(d, &o.OnError)
		case "grace":
			err = onlyDuration(d, &o.Grace)
		case "drain_timeout":
			err = onlyDuration(d, &o.DrainTimeout)
		default:
			err = d.Errf("unknown option '%s' of autoreload", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
