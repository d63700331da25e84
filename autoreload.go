package caddysnake

// Autoreload: the option of the directive, and reloading an app when its files have
// changed and then stayed unchanged for a moment. internal/watch reports the
// changes.

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddysnake/caddysnake/internal/watch"
)

const (
	defaultDebounce = 500 * time.Millisecond
	defaultGrace    = 10 * time.Second
)

// AutoreloadOptions control when an application is reloaded after its files have
// changed, and how long its old code may run on.
type AutoreloadOptions struct {
	// Debounce is the time without further changes before the application is
	// reloaded. Default: 500ms.
	Debounce caddy.Duration `json:"debounce,omitempty"`

	// Include lists globs of files to watch besides *.py. A glob without a slash
	// matches names in any directory; a glob with a slash matches paths relative to
	// working_dir, in which ** matches any number of directories.
	Include []string `json:"include,omitempty"`

	// Exclude lists globs of files and directories to ignore, in the form of
	// include. Hidden directories, __pycache__, node_modules and virtual
	// environments are always ignored.
	Exclude []string `json:"exclude,omitempty"`

	// OnError sets the behaviour when the changed code can't be loaded: "fail"
	// answers requests with HTTP status 500 until it can, "keep" continues with the
	// code that was loaded last. Default: fail.
	OnError string `json:"on_error,omitempty"`

	// Grace is the time after which websockets of the old code are closed, with
	// code 1012, and its idle streams end. Default: 10s.
	Grace caddy.Duration `json:"grace,omitempty"`

	// DrainTimeout is how long other requests may continue to run on the old code
	// before they are cancelled. Default: 5m.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`
}

// autoreloadConfig is AutoreloadOptions with the defaults filled in.
type autoreloadConfig struct {
	Debounce         time.Duration
	Include, Exclude []string
	OnError          string
	DrainLimits      drainLimits
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
		DrainLimits: drainLimits{
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

// watcher watches the files of all apps.
var watcher watch.Watcher

// changes is the reason for a reload.
type changes struct {
	first string
	files int
}

// reloader reloads one app, with one reload at a time.
type reloader struct {
	app      *App
	tree     *watch.Tree
	debounce time.Duration
	wake     chan struct{} // capacity 1: the debounce time is over

	mu    sync.Mutex // guards the changes since the last reload began
	seen  map[string]struct{}
	first string
	timer *time.Timer
}

// startWatching watches an app's files. Call it before loading, so that no change
// is missed.
func (a *App) startWatching() error {
	config := a.config.Autoreload
	r := &reloader{
		app: a, debounce: config.Debounce, wake: make(chan struct{}, 1), seen: map[string]struct{}{},
	}
	r.timer = time.AfterFunc(r.debounce, func() { notify(r.wake) })
	r.timer.Stop()
	tree, err := watcher.Watch(a.config.WorkingDir, watch.Options{
		Include: config.Include, Exclude: config.Exclude, Changed: r.note, Limited: r.limited,
	})
	if err != nil {
		return fmt.Errorf("autoreload of %s: %w", a.config.WorkingDir, err)
	}
	r.tree = tree
	a.reloader = r
	return nil
}

// limited logs that autoreload misses changes below directory.
func (r *reloader) limited(directory, hint string) {
	r.app.logger.Load().Error("autoreload does not see all changes: the limit of inotify watches is reached",
		zap.String("directory", directory), zap.String("hint", hint))
}

// note records a changed file.
func (r *reloader) note(rel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		r.first = rel
	}
	r.seen[rel] = struct{}{}
	r.timer.Reset(r.debounce)
}

func (r *reloader) take() changes {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := changes{first: r.first, files: len(r.seen)}
	clear(r.seen)
	return taken
}

// run reloads the app until ctx ends.
func (r *reloader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			if changed := r.take(); changed.files > 0 && ctx.Err() == nil {
				r.app.logger.Load().Info("python app has changed",
					zap.String("app", r.app.config.Module),
					zap.String("changed", changed.first), zap.Int("files", changed.files))
				r.app.reload(ctx, changed)
			}
		}
	}
}

func (r *reloader) stop() {
	r.tree.Close()
	r.timer.Stop()
}
