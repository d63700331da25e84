package caddysnake

// App: a Python application, shared by all handlers with the same
// configuration and kept across config reloads.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// lateTimeout is how long requests may take to get here from a server that
// Caddy has replaced, and whose modules it has cleaned up.
const lateTimeout = 500 * time.Millisecond

// appConfig identifies an App: two handlers with the same one share it. Paths
// are absolute.
type appConfig struct {
	bridgeConfig
	WebSocket  webSocketConfig
	Autoreload *autoreloadConfig // nil: no
	Debug      bool
	Round      uint64 // of forced loads, see codeRound
}

// bridgeConfig is the part of it that the bridge is told: the fields of LoadRequest
// in caddysnake_py/bridge.py.
type bridgeConfig struct {
	Module     string            `json:"app"`
	Interface  string            `json:"interface"` // "wsgi", "asgi" or "" to detect it
	WorkingDir string            `json:"working_dir"`
	PythonPath []string          `json:"python_path"`
	Venv       string            `json:"venv"`
	Env        map[string]string `json:"env"`
	EnvFiles   []string          `json:"env_files"`
	Isolate    []string          `json:"isolate"` // sorted
	Threads    int               `json:"threads"`
	Lifespan   string            `json:"lifespan"`
	Loop       string            `json:"loop"`
	// 0 means never.
	SlowRequest    seconds `json:"slow_request"`
	RequestTimeout seconds `json:"request_timeout"`
	BlockedLoop    seconds `json:"blocked_loop"`
}

// seconds is a duration that is a number of seconds in JSON.
type seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// key returns a string that is equal for equal configurations.
func (c appConfig) key() string { return keyOf(c) }

// keyOf returns a string that is equal for equal settings.
func keyOf(settings any) string {
	b, err := json.Marshal(settings) // sorts the keys of maps
	if err != nil {
		panic(err) // strings and numbers cannot fail
	}
	return string(b)
}

// App is one loaded application. It implements caddy.Destructor.
type App struct {
	config       appConfig
	logger       atomic.Pointer[zap.Logger] // of the newest config which uses the app
	startTimeout atomic.Int64               // of that config, a time.Duration
	current      atomic.Pointer[generation]
	failure      atomic.Pointer[loadFailure] // why there is no current one
	reloader     *reloader                   // nil without autoreload
	cancel       context.CancelFunc          // ends the reloader
	evicted      atomic.Bool                 // requests that come late are for another one

	mu      sync.Mutex // replacing current
	stopped bool
}

var (
	apps    = caddy.NewUsagePool()
	running sync.Map // from its key to each *App and *tenants that has not been stopped
)

// loadApp returns the app for a configuration, loading it if no handler uses
// it yet.
func loadApp(ctx context.Context, config appConfig, timeout time.Duration, logger *zap.Logger) (*App, error) {
	value, loaded, err := apps.LoadOrNew(config.key(), func() (caddy.Destructor, error) {
		app := &App{config: config}
		app.adopt(logger, timeout)
		return app, app.start(ctx, timeout)
	})
	if err != nil {
		return nil, err
	}
	app := value.(*App)
	if loaded {
		app.adopt(logger, timeout)
	}
	return app, nil
}

// adopt is told of a new config that uses the app.
func (a *App) adopt(logger *zap.Logger, startTimeout time.Duration) {
	a.logger.Store(logger)
	a.startTimeout.Store(int64(startTimeout))
	if gen := a.current.Load(); gen != nil {
		gen.appLog.logger.Store(logger)
	}
}

// isBusy tells whether requests run on the app's current generation.
func (a *App) isBusy() bool {
	gen := a.current.Load()
	return gen != nil && gen.refs.Load() > 1
}

// start loads the app for the first time.
func (a *App) start(ctx context.Context, timeout time.Duration) error {
	if a.config.Autoreload != nil {
		if err := a.startWatching(); err != nil {
			return err
		}
	}
	gen, err := loadGeneration(ctx, a.config, timeout, a.logger.Load())
	if err != nil {
		if a.reloader != nil {
			a.reloader.stop()
		}
		return err
	}
	a.current.Store(gen)
	running.Store(a.config.key(), a)
	if a.reloader != nil {
		running, cancel := context.WithCancel(context.Background())
		a.cancel = cancel
		go a.reloader.run(running)
	}
	return nil
}

// acquire returns the current generation for one request; the caller must
// release it.
func (a *App) acquire() (*generation, error) {
	for {
		gen := a.current.Load()
		if gen == nil {
			if failure := a.failure.Load(); failure != nil {
				return nil, failure
			}
			if a.current.Load() != nil {
				continue // just loaded
			}
			return nil, errAppStopped
		}
		if gen.acquire() {
			return gen, nil
		}
	}
}

// Destruct unloads the app in the background, once its requests are done. When
// the process ends, leavePython waits for that: apps end side by side.
func (a *App) Destruct() error {
	running.CompareAndDelete(a.config.key(), a)
	if a.reloader != nil {
		a.reloader.stop()
		a.cancel()
	}
	a.mu.Lock()
	a.stopped = true // nothing replaces the current generation from here on
	a.mu.Unlock()
	if caddy.Exiting() {
		leaving.Go(func() {
			a.end(drainLimits{Streams: exitTimeout, Requests: exitTimeout, Tasks: taskTimeout()})
		})
		return nil
	}
	retiring.Go(func() {
		if !a.evicted.Load() {
			time.Sleep(lateTimeout)
		}
		a.end(drainLimits{Streams: defaultGrace, Requests: drainTimeout})
	})
	return nil
}

// end retires what is left of an app that has been stopped.
func (a *App) end(limits drainLimits) {
	gen := a.current.Swap(nil)
	a.failure.Store(nil)
	if gen != nil {
		gen.release()
		gen.retire(limits)
	}
}

// successor returns an app with the settings of one that has been stopped, if
// a later config has one, whatever its round.
func (a *App) successor() *App {
	config := a.config
	config.Round = codeRound.Load()
	app, _ := running.Load(config.key())
	successor, _ := app.(*App)
	return successor
}
