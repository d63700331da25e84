package caddysnake

// App: a Python application. Handlers with the same configuration share it, and
// config reloads keep it.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// lateTimeout is the time for requests that are still on their way from a server
// that Caddy has replaced and whose modules it has cleaned up.
const lateTimeout = 500 * time.Millisecond

// appConfig identifies an App: handlers with equal configurations share it. Paths
// are absolute.
type appConfig struct {
	bridgeConfig
	Workers    int // 0: in Caddy's process
	Limits     workerLimits
	Preload    []string   // modules for the zygote; sorted
	Background [][]string // commands, each not empty
	Probe      string     // path of a request that new code must answer; "": none
	Metrics    bool       // what it counts itself is shown
	WebSocket  webSocketConfig
	Autoreload *autoreloadConfig // nil: no autoreload
	Debug      bool
	Round      uint64 // number of forced loads, see codeRound
}

// bridgeConfig is the part of appConfig that Go sends to the bridge: the fields of
// LoadRequest in caddysnake_py/load_request.py.
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
	RequestID      bool    `json:"request_id"`
}

// resolved returns the settings without symbolic links in the directories. A generation
// keeps its files when such a link is pointed elsewhere.
func (c bridgeConfig) resolved() bridgeConfig {
	c.WorkingDir, c.Venv = withoutLinks(c.WorkingDir), withoutLinks(c.Venv)
	c.PythonPath = slices.Clone(c.PythonPath)
	for i, directory := range c.PythonPath {
		c.PythonPath[i] = withoutLinks(directory)
	}
	return c
}

// withoutLinks returns the path unchanged if there is nothing: the bridge says so.
func withoutLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil && path != "" {
		return real
	}
	return path
}

// seconds is a duration that JSON shows as a number of seconds.
type seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// key returns a string that is equal for equal configurations.
func (c appConfig) key() string { return keyOf(c) }

// id returns a short name for the configuration. It outlives forced reloads.
func (c appConfig) id() string {
	c.Round = 0
	sum := sha256.Sum256([]byte(c.key()))
	return hex.EncodeToString(sum[:6])
}

// keyOf returns a string that is equal for equal settings.
func keyOf(settings any) string {
	b, err := json.Marshal(settings) // sorts the keys of maps
	if err != nil {
		panic(err) // strings and numbers cannot fail
	}
	return string(b)
}

// appName is what people and metrics call an app.
type appName struct {
	name  string // as configured, by the first handler of the app
	meter *meter
}

// App is one application. It implements caddy.Destructor.
type App struct {
	appName
	id           string // for the admin endpoint
	config       appConfig
	logger       atomic.Pointer[zap.Logger] // of the newest config that uses the app
	startTimeout atomic.Int64               // of that config, a time.Duration
	current      atomic.Pointer[generation]
	failure      atomic.Pointer[loadFailure] // why there is no current generation
	lastFailure  atomic.Pointer[loadFailure] // of a load after the current generation's
	reloader     *reloader                   // nil without autoreload
	cancel       context.CancelFunc          // ends the reloader
	evicted      atomic.Bool                 // late requests belong to another app
	required     atomic.Bool                 // a handler without placeholders has it

	reloading sync.Mutex // held during a reload: there is one at a time

	mu      sync.Mutex // guards stopped and the replacement of current
	stopped bool
}

var (
	apps    = caddy.NewUsagePool()
	running sync.Map // maps a key to each *App and *tenants that is not stopped
)

// loadApp returns the app for a configuration. It loads the app if no handler uses
// it yet.
func loadApp(ctx context.Context, config appConfig, name appName, timeout time.Duration, logger *zap.Logger) (*App, error) {
	value, loaded, err := apps.LoadOrNew(config.key(), func() (caddy.Destructor, error) {
		app := &App{config: config, appName: name, id: config.id()}
		app.adopt(logger, timeout)
		return app, app.start(ctx)
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

// adopt applies the settings of a new config that uses the app.
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
func (a *App) start(ctx context.Context) error {
	if a.config.Autoreload != nil {
		if err := a.startWatching(); err != nil {
			return err
		}
	}
	a.meter.loading.Add(1)
	defer a.meter.loading.Add(-1)
	gen, err := loadGeneration(ctx, a)
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

// acquire returns the current generation for one request. The caller must release
// it.
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

// Destruct unloads the app in the background, once its requests are done. When the
// process ends, leavePython waits for all unloads, which run in parallel.
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

// end retires the last generation of a stopped app.
func (a *App) end(limits drainLimits) {
	gen := a.current.Swap(nil)
	a.failure.Store(nil)
	if gen != nil {
		gen.leave()
		gen.retire(limits)
	}
}

// successor returns the app of a later config with the same settings as this
// stopped app, whatever its round; nil if none.
func (a *App) successor() *App {
	config := a.config
	config.Round = codeRound.Load()
	app, _ := running.Load(config.key())
	successor, _ := app.(*App)
	return successor
}
