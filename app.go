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
	// drainTimeout is how long an app that is no longer configured may finish
	// its requests.
	drainTimeout = 5 * time.Minute
	// exitTimeout is the same when the process ends: Caddy's grace period is
	// over by then.
	exitTimeout = 5 * time.Second
	// shutdownTimeout is what the app's own shutdown may take beyond that.
	shutdownTimeout = 15 * time.Second
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
}

// key returns a string that is equal for equal configurations.
func (c appConfig) key() string {
	b, err := json.Marshal(c) // sorts the keys of maps
	if err != nil {
		panic(err) // strings and ints cannot fail
	}
	return string(b)
}

// App is one loaded application. It implements caddy.Destructor.
type App struct {
	config  appConfig
	current atomic.Pointer[generation]
}

// generation is an App's code as it was loaded at one time. It counts the
// requests that run on it, and the App itself.
type generation struct {
	id      uint32
	handle  *C.snake_app
	isWSGI  bool
	refs    atomic.Int64
	drained chan struct{}
	voice   *voice

	webSockets webSockets
}

var (
	apps          = caddy.NewUsagePool()
	lastID        atomic.Uint32
	retiring      sync.WaitGroup
	errAppStopped = errors.New("the python app has been stopped")
)

// loadApp returns the app for a configuration, loading it if no handler uses
// it yet.
func loadApp(ctx context.Context, config appConfig, timeout time.Duration, logger *zap.Logger) (*App, error) {
	value, loaded, err := apps.LoadOrNew(config.key(), func() (caddy.Destructor, error) {
		app := &App{config: config}
		gen, err := loadGeneration(ctx, config, timeout, logger)
		if err != nil {
			return nil, err
		}
		app.current.Store(gen)
		return app, nil
	})
	if err != nil {
		return nil, err
	}
	app := value.(*App)
	if loaded {
		app.setLogger(logger)
	}
	return app, nil
}

// setLogger has the app log as a part of another config.
func (a *App) setLogger(logger *zap.Logger) {
	if gen := a.current.Load(); gen != nil {
		gen.voice.logger.Store(logger)
	}
}

// isBusy tells whether requests run on the app's current generation.
func (a *App) isBusy() bool {
	gen := a.current.Load()
	return gen != nil && gen.refs.Load() > 1
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
	}}, func(answer) { gen.retire(0) })
	if err != nil {
		if ctx.Err() == nil {
			removeVoice(id)
		}
		return nil, fmt.Errorf("loading python app %s: %w", config.Module, err)
	}
	//nolint:govet // an address in C memory, given back to C as it is
	gen.handle = (*C.snake_app)(*(*unsafe.Pointer)(unsafe.Pointer(&loaded.Handle)))
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

// Destruct unloads the app once its requests are done: in the background, or
// before it returns when the process ends.
func (a *App) Destruct() error {
	gen := a.current.Swap(nil)
	if gen == nil {
		return nil
	}
	gen.release()
	if caddy.Exiting() {
		gen.retire(exitTimeout)
		return nil
	}
	retiring.Go(func() { gen.retire(drainTimeout) })
	return nil
}

// retire waits for the generation's requests and unloads it.
func (g *generation) retire(drain time.Duration) {
	logger := g.voice.logger.Load()
	deadline := time.Now().Add(drain)
	g.webSockets.closeAll()
	select {
	case <-g.drained:
	case <-time.After(drain):
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Until(deadline)+shutdownTimeout)
	defer cancel()
	left, err := ask(ctx, command{Op: "unload", ID: g.id, Drain: max(0, time.Until(deadline).Seconds())})
	switch {
	case err != nil:
		logger.Error("unloading python app", zap.String("app", g.voice.app), zap.Error(err))
	case !left.Idle:
		logger.Warn("requests of an unloaded python app still run; it is left behind",
			zap.String("app", g.voice.app))
	default:
		logger.Info("python app unloaded", zap.String("app", g.voice.app))
		removeVoice(g.id)
	}
}
