package caddysnake

// Tenants: the apps of a handler whose settings have placeholders. Each request
// selects its app; the first request loads it.

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
	// retryAfter is how long a failed load is remembered, unless a file changes.
	retryAfter = 5 * time.Second
	// maxFailures limits the number of remembered failures.
	maxFailures = 1000
	// maxTenantName is how much of a tenant's values each of its log records shows, in bytes.
	maxTenantName = 200
)

// tenants is a table of apps. Handlers with the same settings share it, and config
// reloads keep it. It implements caddy.Destructor.
type tenants struct {
	appName
	template    *appTemplate
	keyIn       func(round uint64) string
	names       []string // names of the placeholders
	timeout     time.Duration
	maxApps     int           // 0: no limit
	idleTimeout time.Duration // 0: never
	logger      atomic.Pointer[zap.Logger]

	ctx  context.Context
	stop context.CancelFunc
	idle *time.Timer

	mu       sync.RWMutex
	byKey    map[string]*tenant // key: the values of the placeholders
	failures int                // number of failed tenants in byKey
}

// tenant is one app in a table of tenants: loading, loaded, or failed.
type tenant struct {
	config appConfig
	id     string // for the admin endpoint
	name   string // the values of the placeholders, in the log
	meter  *meter
	ready  chan struct{} // closed when the app is loaded or has failed
	used   atomic.Int64  // time of the last request, in ns of Unix time

	// Set before ready is closed.
	app    *App
	err    error
	failed time.Time
	file   fileState
}

var tenantTables = caddy.NewUsagePool()

// tenantsKey identifies a table of tenants by the JSON of the handler's settings.
func tenantsKey(h *Handler, round uint64) string { return keyOf([]any{h, round}) }

// newTenants returns the table for a key. The caller must delete the key from
// tenantTables when it is done.
func newTenants(h *Handler, key string, parsed *appTemplate, timeout time.Duration, logger *zap.Logger) (*tenants, error) {
	value, _, err := tenantTables.LoadOrNew(key, func() (caddy.Destructor, error) {
		ts := &tenants{
			template:    parsed,
			appName:     h.name(),
			keyIn:       func(round uint64) string { return tenantsKey(h, round) },
			names:       parsed.placeholders(),
			timeout:     timeout,
			maxApps:     h.MaxApps,
			idleTimeout: time.Duration(h.IdleTimeout),
			byKey:       make(map[string]*tenant),
		}
		ts.ctx, ts.stop = context.WithCancel(context.Background())
		if ts.idleTimeout > 0 {
			ts.mu.Lock() // evictIdle must not run before idle is set
			ts.idle = time.AfterFunc(ts.idleTimeout, ts.evictIdle)
			ts.mu.Unlock()
		}
		running.Store(key, ts)
		return ts, nil
	})
	if err != nil {
		return nil, err
	}
	ts := value.(*tenants)
	ts.setLogger(logger)
	return ts, nil
}

func (ts *tenants) setLogger(logger *zap.Logger) {
	ts.logger.Store(logger)
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	for _, t := range ts.byKey {
		if app := t.loaded(); app != nil {
			app.adopt(t.named(logger), ts.timeout)
		}
	}
}

// named returns a logger whose records name the tenant.
func (t *tenant) named(logger *zap.Logger) *zap.Logger {
	return logger.With(zap.String("tenant", t.name))
}

// loaded returns the app, or nil if it is not loaded (yet).
func (t *tenant) loaded() *App {
	select {
	case <-t.ready:
		return t.app
	default:
		return nil
	}
}

// hasFailed tells whether the last load has failed.
func (t *tenant) hasFailed() bool {
	select {
	case <-t.ready:
		return t.err != nil
	default:
		return false
	}
}

// serve answers with the app that the request selects.
func (ts *tenants) serve(w http.ResponseWriter, r *http.Request) error {
	var room [256]byte
	key, err := ts.appendKey(room[:0], r)
	if err != nil {
		return ts.meter.refused(refuse(w, err))
	}
	for {
		ts.mu.RLock()
		t := ts.byKey[string(key)]
		ts.mu.RUnlock()
		if t == nil {
			t, err = ts.add(string(key))
			if errors.Is(err, errAppStopped) {
				return ts.serveLate(w, r)
			}
			if err != nil {
				return ts.meter.refused(refuse(w, err))
			}
		}
		select {
		case <-t.ready:
		case <-r.Context().Done():
			return t.meter.refused(refuse(w, fmt.Errorf("%w: %w", errClientLeft, r.Context().Err())))
		}
		if t.err != nil {
			if ts.forget(string(key), t) {
				continue
			}
			return t.meter.refused(refuse(w, fmt.Errorf("python app %s in %s %w", t.config.Module, t.config.WorkingDir, errLoadFailed)))
		}
		ts.touch(t)
		gen, err := t.app.acquire()
		if errors.Is(err, errAppStopped) {
			if ts.ctx.Err() == nil {
				continue // the app was evicted in the meantime
			}
			return ts.serveLate(w, r)
		}
		if err != nil {
			if ts.dropRemoved(string(key), t) {
				continue // add refuses it
			}
			return t.meter.refused(t.app.refuse(w, r, err))
		}
		defer ts.touch(t)
		return gen.serve(w, r, time.Duration(t.config.RequestTimeout))
	}
}

// serveLate is App.serveLate for an app that a request selects.
func (ts *tenants) serveLate(w http.ResponseWriter, r *http.Request) error {
	found, _ := running.Load(ts.keyIn(codeRound.Load()))
	if successor, ok := found.(*tenants); ok && successor != ts {
		return successor.serve(w, r)
	}
	return ts.meter.refused(refuse(w, errAppStopped))
}

// appendKey appends the values of the placeholders, each after its length.
func (ts *tenants) appendKey(key []byte, r *http.Request) ([]byte, error) {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	for _, name := range ts.names {
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

// namesHost tells whether the placeholder's value is the host or part of it. An
// empty label, such as behind a trailing dot, would shift the other labels: one
// app's host would select another app.
func namesHost(placeholder string) bool {
	return strings.HasPrefix(placeholder, "http.request.host") ||
		strings.EqualFold(placeholder, "http.request.header.host")
}

func appendValue(key []byte, value string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(value))), value...)
}

// values is the reverse of appendKey.
func (ts *tenants) values(key string) (map[string]string, error) {
	values := make(map[string]string, len(ts.names))
	rest := []byte(key)
	for _, name := range ts.names {
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

// describe returns the values of the placeholders as a name for people.
func (ts *tenants) describe(values map[string]string) string {
	named := make([]string, len(ts.names))
	for i, name := range ts.names {
		named[i] = values[name]
	}
	return strings.Join(named, ", ")
}

// add starts loading the app for a key, unless another request already has.
func (ts *tenants) add(key string) (*tenant, error) {
	values, err := ts.values(key)
	if err != nil {
		return nil, err
	}
	config, err := ts.template.resolve(values)
	if err != nil {
		return nil, err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byKey[key]; t != nil {
		return t, nil
	}
	if ts.ctx.Err() != nil {
		return nil, errAppStopped
	}
	if ts.maxApps > 0 && len(ts.byKey)-ts.failures >= ts.maxApps && !ts.evictOne() {
		return nil, errAllBusy
	}
	name := ts.describe(values)
	t := &tenant{config: config, id: config.id(), name: name[:min(len(name), maxTenantName)], meter: ts.meter.ofTenant(name), ready: make(chan struct{})}
	t.used.Store(time.Now().UnixNano())
	ts.byKey[key] = t
	go ts.load(t)
	return t, nil
}

// load loads an app for all waiting requests. Neither a client that leaves nor a
// new config, which may use the same app, cancels the load.
func (ts *tenants) load(t *tenant) {
	logger := t.named(ts.logger.Load())
	file := readFileState(t.config)
	app, err := loadApp(context.Background(), t.config, appName{ts.name, t.meter}, ts.timeout, logger)
	ts.mu.Lock()
	t.app, t.err = app, err
	if err != nil {
		t.file, t.failed = file, time.Now()
		ts.failures++
		ts.limitFailures()
	}
	close(t.ready)
	stopped := ts.ctx.Err() != nil
	ts.mu.Unlock()
	switch {
	case err == nil && stopped:
		t.unload(logger)
	case err != nil && !stopped:
		logger.Error(err.Error(), zap.String("app", t.config.Module), zap.String("working_dir", t.config.WorkingDir))
	}
}

// forget removes a failed app if it is time to retry.
func (ts *tenants) forget(key string, t *tenant) bool {
	if time.Since(t.failed) < retryAfter && readFileState(t.config) == t.file {
		return false
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byKey[key] == t {
		delete(ts.byKey, key)
		ts.failures--
	}
	return true
}

// limitFailures removes failed apps if there are too many: first the old ones, then
// any. The caller holds the lock.
func (ts *tenants) limitFailures() {
	if ts.failures <= maxFailures {
		return
	}
	for _, all := range []bool{false, true} {
		for key, t := range ts.byKey {
			if t.err != nil && (all || time.Since(t.failed) > retryAfter) {
				delete(ts.byKey, key)
				ts.failures--
			}
		}
		if ts.failures <= maxFailures {
			return
		}
	}
}

// Destruct unloads all apps.
func (ts *tenants) Destruct() error {
	running.CompareAndDelete(ts.keyIn(ts.template.base.Round), ts)
	ts.mu.Lock()
	ts.stop()
	if ts.idle != nil {
		ts.idle.Stop()
	}
	var unloading sync.WaitGroup
	for _, t := range ts.byKey { // the stopped table gets no new apps
		if t.loaded() != nil { // otherwise load unloads the app
			unloading.Go(func() { t.unload(t.named(ts.logger.Load())) })
		}
	}
	ts.mu.Unlock()
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
