package caddysnake

// dynamicApp: the apps of a handler whose settings have placeholders. Each
// request names its app; the first one has it loaded.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	// retryAfter is how long a failed load counts, unless a file changes.
	retryAfter = 5 * time.Second
	// maxFailures limits how many failed loads are remembered.
	maxFailures = 1000
)

// dynamicApp is shared by handlers with the same settings, and kept across
// config reloads. It implements caddy.Destructor.
type dynamicApp struct {
	template    *appTemplate
	keyIn       func(round uint64) string
	names       []string // of the placeholders
	timeout     time.Duration
	maxApps     int           // 0: no limit
	idleTimeout time.Duration // 0: never
	logger      atomic.Pointer[zap.Logger]

	ctx  context.Context
	stop context.CancelFunc
	idle *time.Timer

	mu       sync.RWMutex
	tenants  map[string]*tenant // by the values of the placeholders
	failures int                // how many of them have failed
}

// tenant is one app of a dynamicApp: loading, loaded, or failed.
type tenant struct {
	config appConfig
	ready  chan struct{} // closed when it is loaded or has failed
	used   atomic.Int64  // when a request came, in ns of Unix time

	// Set before ready is closed.
	app    *App
	err    error
	failed time.Time
	file   fileState
}

var dynamicApps = caddy.NewUsagePool()

// dynamicKey identifies a dynamicApp: by the handler's settings, as its JSON has them.
func dynamicKey(h *Handler, round uint64) string { return keyOf([]any{h, round}) }

// newDynamicApp returns the dynamicApp of a key, which the caller must delete
// from dynamicApps when it is done with it.
func newDynamicApp(h *Handler, key string, parsed *appTemplate, timeout time.Duration, logger *zap.Logger) (*dynamicApp, error) {
	value, _, err := dynamicApps.LoadOrNew(key, func() (caddy.Destructor, error) {
		d := &dynamicApp{
			template:    parsed,
			keyIn:       func(round uint64) string { return dynamicKey(h, round) },
			names:       parsed.placeholders(),
			timeout:     timeout,
			maxApps:     h.MaxApps,
			idleTimeout: time.Duration(h.IdleTimeout),
			tenants:     make(map[string]*tenant),
		}
		d.ctx, d.stop = context.WithCancel(context.Background())
		if d.idleTimeout > 0 {
			d.mu.Lock() // it may be that fast
			d.idle = time.AfterFunc(d.idleTimeout, d.evictIdle)
			d.mu.Unlock()
		}
		running.Store(key, d)
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	d := value.(*dynamicApp)
	d.setLogger(logger)
	return d, nil
}

func (d *dynamicApp) setLogger(logger *zap.Logger) {
	d.logger.Store(logger)
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, t := range d.tenants {
		if app := t.loaded(); app != nil {
			app.adopt(logger, d.timeout)
		}
	}
}

// loaded returns the app, or nil if it is not there (yet).
func (t *tenant) loaded() *App {
	select {
	case <-t.ready:
		return t.app
	default:
		return nil
	}
}

// serve has the app answer that the request names.
func (d *dynamicApp) serve(w http.ResponseWriter, r *http.Request) error {
	var room [256]byte
	key, err := d.appendKey(room[:0], r)
	if err != nil {
		return refuse(w, err)
	}
	for {
		d.mu.RLock()
		t := d.tenants[string(key)]
		d.mu.RUnlock()
		if t == nil {
			t, err = d.add(string(key))
			if errors.Is(err, errAppStopped) {
				return d.serveLate(w, r)
			}
			if err != nil {
				return refuse(w, err)
			}
		}
		select {
		case <-t.ready:
		case <-r.Context().Done():
			return refuse(w, fmt.Errorf("%w: %w", errClientLeft, r.Context().Err()))
		}
		if t.err != nil {
			if d.forget(string(key), t) {
				continue
			}
			return refuse(w, fmt.Errorf("python app %s in %s %w", t.config.Module, t.config.WorkingDir, errLoadFailed))
		}
		d.touch(t)
		gen, err := t.app.acquire()
		if errors.Is(err, errAppStopped) {
			if d.ctx.Err() == nil {
				continue // it was evicted in the meantime
			}
			return d.serveLate(w, r)
		}
		if err != nil {
			return t.app.refuse(w, r, err)
		}
		defer d.touch(t)
		return gen.serve(w, r, time.Duration(t.config.RequestTimeout))
	}
}

// serveLate is App.serveLate for an app that a request names.
func (d *dynamicApp) serveLate(w http.ResponseWriter, r *http.Request) error {
	found, _ := running.Load(d.keyIn(codeRound.Load()))
	if successor, ok := found.(*dynamicApp); ok && successor != d {
		return successor.serve(w, r)
	}
	return refuse(w, errAppStopped)
}

// appendKey appends the values of the placeholders, each after its length.
func (d *dynamicApp) appendKey(key []byte, r *http.Request) ([]byte, error) {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	for _, name := range d.names {
		value, known := replacer.GetString(name)
		if !known {
			return nil, fmt.Errorf("%w: unknown placeholder {%s}", errNoApp, name)
		}
		if value == "" {
			return nil, fmt.Errorf("%w: {%s} is empty", errNoApp, name)
		}
		if namesHost(name) {
			if host, _ := splitHostPort(r.Host); strings.Contains("."+host+".", "..") {
				return nil, fmt.Errorf("%w: the host %q has an empty label", errNoApp, host)
			}
			value = strings.ToLower(value)
		}
		key = appendValue(key, value)
	}
	return key, nil
}

// namesHost tells whether the value of a placeholder is the host or a part of it.
// An empty label, such as behind a dot at the end, would shift the others: the host
// of one app would name another.
func namesHost(placeholder string) bool {
	return strings.HasPrefix(placeholder, "http.request.host") ||
		strings.EqualFold(placeholder, "http.request.header.host")
}

func appendValue(key []byte, value string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(value))), value...)
}

// values is the reverse of appendKey.
func (d *dynamicApp) values(key string) (map[string]string, error) {
	values := make(map[string]string, len(d.names))
	rest := []byte(key)
	for _, name := range d.names {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return nil, fmt.Errorf("%w: its key %q is broken", errNoApp, key)
		}
		rest = rest[n:]
		values[name] = string(rest[:size])
		rest = rest[size:]
	}
	return values, nil
}

// add begins to load the app of a key, unless someone else has.
func (d *dynamicApp) add(key string) (*tenant, error) {
	values, err := d.values(key)
	if err != nil {
		return nil, err
	}
	config, err := d.template.resolve(values)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tenants[key]; t != nil {
		return t, nil
	}
	if d.ctx.Err() != nil {
		return nil, errAppStopped
	}
	if d.maxApps > 0 && len(d.tenants)-d.failures >= d.maxApps && !d.evictOne() {
		return nil, errAllBusy
	}
	t := &tenant{config: config, ready: make(chan struct{})}
	t.used.Store(time.Now().UnixNano())
	d.tenants[key] = t
	go d.load(t)
	return t, nil
}

// load loads an app, for whoever waits: neither a client that leaves stops it nor
// a new config, which may want the same app.
func (d *dynamicApp) load(t *tenant) {
	logger := d.logger.Load()
	file := readFileState(t.config)
	app, err := loadApp(context.Background(), t.config, d.timeout, logger)
	d.mu.Lock()
	t.app, t.err = app, err
	if err != nil {
		t.file, t.failed = file, time.Now()
		d.failures++
		d.limitFailures()
	}
	close(t.ready)
	stopped := d.ctx.Err() != nil
	d.mu.Unlock()
	switch {
	case err == nil && stopped:
		t.unload(logger)
	case err != nil && !stopped:
		logger.Error(err.Error(), zap.String("app", t.config.Module), zap.String("working_dir", t.config.WorkingDir))
	}
}

// forget removes a failed app if it is time to try again.
func (d *dynamicApp) forget(key string, t *tenant) bool {
	if time.Since(t.failed) < retryAfter && readFileState(t.config) == t.file {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tenants[key] == t {
		delete(d.tenants, key)
		d.failures--
	}
	return true
}

// limitFailures removes failed apps if there are too many: the old ones, or if
// there are none, any. The lock is held.
func (d *dynamicApp) limitFailures() {
	if d.failures <= maxFailures {
		return
	}
	for _, all := range []bool{false, true} {
		for key, t := range d.tenants {
			if t.err != nil && (all || time.Since(t.failed) > retryAfter) {
				delete(d.tenants, key)
				d.failures--
			}
		}
		if d.failures <= maxFailures {
			return
		}
	}
}

// Destruct unloads all apps.
func (d *dynamicApp) Destruct() error {
	running.CompareAndDelete(d.keyIn(d.template.base.Round), d)
	d.mu.Lock()
	d.stop()
	if d.idle != nil {
		d.idle.Stop()
	}
	var unloading sync.WaitGroup
	for _, t := range d.tenants { // nobody adds to them any more
		if t.loaded() != nil { // else load sees to it
			unloading.Go(func() { t.unload(d.logger.Load()) })
		}
	}
	d.mu.Unlock()
	unloading.Wait()
	return nil
}

func (t *tenant) unload(logger *zap.Logger) {
	if _, err := apps.Delete(t.config.key()); err != nil {
		logger.Error("unloading python app", zap.String("app", t.config.Module), zap.Error(err))
	}
}

// fileState tells whether the file or directory of an app's module has changed.
type fileState struct {
	path     string
	modified time.Time
	size     int64
}

func readFileState(config appConfig) fileState {
	state := fileState{path: moduleFile(config)}
	if info, err := os.Stat(state.path); err == nil {
		state.modified, state.size = info.ModTime(), info.Size()
	}
	return state
}
