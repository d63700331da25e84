package caddysnake

// Eviction of tenants: max_apps, idle_timeout, and those that were removed.

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// touch records that an app is in use.
func (ts *tenants) touch(t *tenant) {
	if ts.maxApps > 0 || ts.idleTimeout > 0 {
		t.used.Store(time.Now().UnixNano())
	}
}

// isBusy tells whether requests run on the app, or wait for its load.
func (t *tenant) isBusy() bool {
	app := t.loaded()
	return app == nil || app.isBusy()
}

// evictOne unloads the app that has been idle longest. The caller holds the lock.
func (ts *tenants) evictOne() bool {
	var oldest *tenant
	var oldestKey string
	for key, t := range ts.byKey {
		if (oldest == nil || t.used.Load() < oldest.used.Load()) && t.app != nil && !t.isBusy() {
			oldest, oldestKey = t, key
		}
	}
	if oldest == nil {
		return false
	}
	ts.evict(oldestKey, oldest, "max_apps")
	return true
}

// evictIdle unloads the apps without a request for the idle timeout, and sets the
// timer for the next check.
func (ts *tenants) evictIdle() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.ctx.Err() != nil {
		return
	}
	next := ts.idleTimeout
	for key, t := range ts.byKey {
		if t.loaded() == nil {
			continue
		}
		left := ts.idleTimeout - time.Since(time.Unix(0, t.used.Load()))
		switch {
		case t.isBusy():
			t.used.Store(time.Now().UnixNano())
		case left <= 0:
			ts.evict(key, t, "idle_timeout")
		default:
			next = min(next, left)
		}
	}
	ts.idle.Reset(max(next, time.Millisecond))
}

// dropRemoved unloads an app that could not be loaded again since it is no longer there.
// It returns false if it is.
func (ts *tenants) dropRemoved(key string, t *tenant) bool {
	values, err := ts.values(key)
	if err == nil {
		_, err = ts.template.resolve(values)
	}
	if !errors.Is(err, errNoApp) {
		return false
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byKey[key] == t {
		ts.evict(key, t, "removed")
	}
	return true
}

// evict removes an app from the table and unloads it. Requests that have already
// acquired it finish on it. The caller holds the lock.
func (ts *tenants) evict(key string, t *tenant, reason string) {
	delete(ts.byKey, key)
	logger := t.named(ts.logger.Load())
	logger.Info("evicting python app",
		zap.String("app", t.config.Module),
		zap.String("working_dir", t.config.WorkingDir),
		zap.String("reason", reason))
	t.app.evicted.Store(true)
	t.meter.evicted(reason)
	go t.unload(logger)
}
