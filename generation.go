package caddysnake

// A generation's life: loaded, acquired by requests and released, retired, drained, unloaded.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

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
	// forever is how long an app that was left behind may take to end.
	forever = 10 * 365 * 24 * time.Hour
)

// drainLimits is how long what runs on a generation that is to end may go on.
type drainLimits struct {
	WebSockets time.Duration // open websockets; then they are closed with code 1012
	Streams    time.Duration // responses that have begun and stand still
	Requests   time.Duration // everything else
	Tasks      time.Duration // beyond that: what an ASGI app does after its responses
}

// generation is an App's code as it was loaded at one time. It counts the
// requests that run on it, and the App itself.
type generation struct {
	id      uint32
	handle  *C.snake_generation
	isWSGI  bool
	refs    atomic.Int64
	drained chan struct{}
	appLog  *appLog

	webSockets webSockets
}

var (
	lastID   atomic.Uint32
	retiring retirement // generations that a config or a reload has left behind
	leaving  retirement // those of the last config, when the process ends
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

// loadGeneration has the bridge load the app's code, and returns when it can answer requests.
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
	gen.appLog = addAppLog(id, config.Module, logger)
	gen.refs.Store(1)
	gen.webSockets.config = config.WebSocket
	loaded, err := ask(ctx, command{Op: "load", Load: &loadRequest{id, config.bridgeConfig}}, func(late answer, err error) {
		if err != nil {
			removeAppLog(id)
			return
		}
		gen.isWSGI = late.Interface == "wsgi"
		gen.release()
		gen.retire(drainLimits{})
	})
	if err != nil {
		if ctx.Err() == nil {
			removeAppLog(id)
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

// acquire counts a request, which must release the generation. False: it has ended.
func (g *generation) acquire() bool {
	for refs := g.refs.Load(); refs > 0; refs = g.refs.Load() {
		if g.refs.CompareAndSwap(refs, refs+1) {
			return true
		}
	}
	return false
}

// release ends what acquire, or the load, has begun.
func (g *generation) release() {
	if g.refs.Add(-1) == 0 {
		close(g.drained)
	}
}

// retire waits for the generation's requests and unloads it.
func (g *generation) retire(limits drainLimits) {
	deadline := time.Now().Add(limits.Requests)
	g.drain(limits)
	g.unload(max(0, time.Until(deadline)), limits.Tasks)
}

// drain waits until nothing runs on the generation, within limits, and sends
// away what would never end.
func (g *generation) drain(limits drainLimits) {
	if limits.WebSockets == 0 {
		g.webSockets.closeAll()
	}
	select {
	case <-g.drained:
		return
	default:
	}
	deadline := time.After(limits.Requests)
	slots.nudge(g) // those who don't move from here on stand still
	webSockets, streams := time.NewTimer(limits.WebSockets), time.NewTicker(max(limits.Streams, time.Second))
	defer webSockets.Stop()
	defer streams.Stop()
	for {
		select {
		case <-g.drained:
			return
		case <-deadline:
			g.webSockets.closeAll()
			if cut := slots.cut(g); cut > 0 {
				g.appLog.logger.Load().Warn("requests are cancelled: the code that they run on is to end",
					zap.String("app", g.appLog.app), zap.Int("requests", cut))
			}
			return
		case <-webSockets.C:
			g.webSockets.closeAll()
		case <-streams.C:
			slots.nudge(g)
		}
	}
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
		g.appLog.logger.Load().Error("unloading python app", zap.String("app", g.appLog.app), zap.Error(err))
		return
	}
	g.unloaded(left, err)
}

// unloaded is told what came of it.
func (g *generation) unloaded(left answer, err error) {
	logs.take() // what the app has said comes before that it has gone
	logger := g.appLog.logger.Load()
	switch {
	case err != nil:
		logger.Error("unloading python app", zap.String("app", g.appLog.app), zap.Error(err))
	case !left.Idle:
		logger.Warn("requests of an unloaded python app still run; it is left behind",
			zap.String("app", g.appLog.app))
		if g.isWSGI { // a thread may come back from C yet; a loop is closed
			go g.unload(forever, 0)
		}
	default:
		logger.Info("python app unloaded", zap.String("app", g.appLog.app))
		removeAppLog(g.id)
	}
}
