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
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	// lateTimeout is how long requests may take to get here from a server that
	// Caddy has replaced, and whose modules it has cleaned up.
	lateTimeout = 500 * time.Millisecond
	// drainTimeout is how long an app that is no longer configured may finish
	// its requests.
	drainTimeout = 5 * time.Minute
	// exitTimeout is the same when the process ends: Caddy's grace period is
	// over by then.
	exitTimeout = 5 * time.Second
	// shutdownTimeout is what the app's own shutdown may take beyond that.
	shutdownTimeout = 15 * time.Second
	// forever is how long an app that was left behind may take to end.
	forever = 10 * 365 * 24 * time.Hour
)

// appConfig identifies an App: two handlers with the same one share it. Paths
// are absolute.
type appConfig struct {
	Module     string
	Interface  string // "wsgi", "asgi" or "" to detect it
	WorkingDir string
	PythonPath []string
	Venv       string
	Env        map[string]string
	EnvFiles   []string
	Isolate    []string // sorted
	Threads    int
	Lifespan   string
	Loop       string
	// 0 means never.
	SlowRequest    time.Duration
	RequestTimeout time.Duration
	BlockedLoop    time.Duration
	WebSocket      webSocketConfig
	Autoreload     *autoreloadConfig // nil: no
	Debug          bool
	Round          uint64 // of forced loads, see codeRound
}

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

// generation is an App's code as it was loaded at one time. It counts the
// requests that run on it, and the App itself.
type generation struct {
	id      uint32
	handle  *C.snake_generation
	isWSGI  bool
	refs    atomic.Int64
	drained chan struct{}
	voice   *voice

	webSockets webSockets
}

var (
	apps          = caddy.NewUsagePool()
	running       sync.Map // from its key to each *App and *dynamicApp that has not been stopped
	lastID        atomic.Uint32
	retiring      retirement // apps that a config has left behind
	leaving       retirement // those of the last config, when the process ends
	errAppStopped = errors.New("the python app has been stopped")
)

// retirement counts the generations that are to be unloaded before the process
// ends. At the end it counts no more: a WaitGroup must not grow while it is waited for.
type retirement struct {
	mu    sync.Mutex
	group sync.WaitGroup
	over  bool
}

func (r *retirement) Go(retire func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		go retire()
	} else {
		r.group.Go(retire)
	}
}

func (r *retirement) Wait() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.group.Wait()
}

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
		gen.voice.logger.Store(logger)
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

func loadGeneration(ctx context.Context, config appConfig, timeout time.Duration, logger *zap.Logger) (*generation, error) {
	start := time.Now()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout,
			fmt.Errorf("it has not started within %s (start_timeout)", timeout))
		defer cancel()
	}

	id := lastID.Add(1)
	gen := &generation{id: id, drained: make(chan struct{})}
	gen.voice = addVoice(id, config.Module, logger)
	gen.refs.Store(1)
	gen.webSockets.config = config.WebSocket
	loaded, err := ask(ctx, command{Op: "load", Load: &loadRequest{
		ID:         id,
		App:        config.Module,
		Interface:  config.Interface,
		WorkingDir: config.WorkingDir,
		PythonPath: config.PythonPath,
		Venv:       config.Venv,
		Env:        config.Env,
		EnvFiles:   config.EnvFiles,
		Isolate:    config.Isolate,
		Threads:    config.Threads,
		Lifespan:   config.Lifespan,
		Loop:       config.Loop,

		SlowRequest:    config.SlowRequest.Seconds(),
		RequestTimeout: config.RequestTimeout.Seconds(),
		BlockedLoop:    config.BlockedLoop.Seconds(),
	}}, func(late answer, err error) {
		if err != nil {
			removeVoice(id)
			return
		}
		gen.isWSGI = late.Interface == "wsgi"
		gen.release()
		gen.retire(patience{})
	})
	if err != nil {
		if ctx.Err() == nil {
			removeVoice(id)
		}
		return nil, fmt.Errorf("loading python app %s: %w", config.Module, err)
	}
	//nolint:govet // an address in C memory, given back to C as it is
	gen.handle = (*C.snake_generation)(*(*unsafe.Pointer)(unsafe.Pointer(&loaded.Handle)))
	gen.isWSGI = loaded.Interface == "wsgi"
	logger.Info("python app loaded",
		zap.String("app", config.Module),
		zap.String("interface", loaded.Interface),
		zap.String("python", pythonVersion()),
		zap.Duration("duration", time.Since(start)))
	return gen, nil
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
		for refs := gen.refs.Load(); refs > 0; refs = gen.refs.Load() {
			if gen.refs.CompareAndSwap(refs, refs+1) {
				return gen, nil
			}
		}
	}
}

func (g *generation) release() {
	if g.refs.Add(-1) == 0 {
		close(g.drained)
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
			a.end(patience{Streams: exitTimeout, Requests: exitTimeout, Tasks: taskTimeout()})
		})
		return nil
	}
	retiring.Go(func() {
		if !a.evicted.Load() {
			time.Sleep(lateTimeout)
		}
		a.end(patience{Streams: defaultGrace, Requests: drainTimeout})
	})
	return nil
}

// end retires what is left of an app that has been stopped.
func (a *App) end(p patience) {
	gen := a.current.Swap(nil)
	a.failure.Store(nil)
	if gen != nil {
		gen.release()
		gen.retire(p)
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

// retire waits for the generation's requests and unloads it.
func (g *generation) retire(p patience) {
	deadline := time.Now().Add(p.Requests)
	g.drain(p)
	g.unload(max(0, time.Until(deadline)), p.Tasks)
}

// taskTimeout is how long beyond exitTimeout what runs after its response may go
// on when the process ends: with it as long as Caddy lets requests.
func taskTimeout() time.Duration {
	grace := time.Duration(gracePeriod.Load())
	if grace <= 0 {
		return forever
	}
	return max(0, grace-exitTimeout)
}

// unload shuts the generation down. What still runs on it after drain is ended,
// tasks that run after their responses only when their time is over, too.
func (g *generation) unload(drain, tasks time.Duration) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), drain+tasks+shutdownTimeout,
		errors.New("it does not shut down; it is left behind"))
	defer cancel()
	left, err := ask(ctx, command{Op: "unload", ID: g.id, Drain: drain.Seconds(), Tasks: tasks.Seconds()}, g.unloaded)
	if err != nil && errors.Is(err, context.Cause(ctx)) { // unloaded is told later
		g.voice.logger.Load().Error("unloading python app", zap.String("app", g.voice.app), zap.Error(err))
		return
	}
	g.unloaded(left, err)
}

// unloaded is told what came of it.
func (g *generation) unloaded(left answer, err error) {
	logs.take() // what the app has said comes before that it has gone
	logger := g.voice.logger.Load()
	switch {
	case err != nil:
		logger.Error("unloading python app", zap.String("app", g.voice.app), zap.Error(err))
	case !left.Idle:
		logger.Warn("requests of an unloaded python app still run; it is left behind",
			zap.String("app", g.voice.app))
		if g.isWSGI { // a thread may come back from C yet; a loop is closed
			go g.unload(forever, 0)
		}
	default:
		logger.Info("python app unloaded", zap.String("app", g.voice.app))
		removeVoice(g.id)
	}
}
