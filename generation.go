package caddysnake

// The life of a generation: load, acquire and release per request, retire, drain,
// unload.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"go.uber.org/zap"
)

const (
	// drainTimeout limits how long an app that is no longer configured may finish
	// its requests.
	drainTimeout = 5 * time.Minute
	// exitTimeout is the same limit when the process ends: Caddy's grace period is
	// over by then.
	exitTimeout = 5 * time.Second
	// shutdownTimeout is the additional time for the app's own shutdown.
	shutdownTimeout = 15 * time.Second
	// forever is the time for an app that was left behind to end.
	forever = 10 * 365 * 24 * time.Hour
)

// drainLimits limits the work that still runs on a retired generation.
type drainLimits struct {
	WebSockets time.Duration // open websockets; they are then closed with code 1012
	Streams    time.Duration // responses that have begun and make no progress
	Requests   time.Duration // everything else
	Tasks      time.Duration // additional time for ASGI code that runs after its response
}

// generation is an App's code, as loaded at one time. refs counts the requests that
// run on it, plus one for the App.
type generation struct {
	id      uint32
	handle  *C.snake_generation
	isWSGI  bool
	refs    atomic.Int64
	drained chan struct{}
	appLog  *appLog
	workers *workers     // nil: the app runs in Caddy's process
	beside  *backgrounds // nil: no commands run in the background
	app     *App
	meter   *meter
	slow    time.Duration // slow_request of a WSGI app; 0: never
	loaded  time.Time
	retired atomic.Bool // the App has released its reference

	handleMu  sync.Mutex // guards unloading
	unloading bool       // the bridge may free what handle points to

	webSockets webSockets
	requestID  bool // each request gets an id

	metrics *metricsSource // in Caddy's process, with app_metrics; else nil
}

var (
	lastID   atomic.Uint32
	retiring retirement // generations that a new config or a reload replaced
	leaving  retirement // generations of the last config, when the process ends
)

// retirement counts the generations that must be unloaded before the process ends.
// During Wait it adds no more: a WaitGroup must not grow while it is waited for.
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

// loadGeneration loads the app's code, tries it, and starts its background commands. It
// returns when the generation can answer requests.
func loadGeneration(ctx context.Context, app *App) (_ *generation, err error) {
	start, config := time.Now(), app.config
	timeout, logger := time.Duration(app.startTimeout.Load()), app.logger.Load()
	defer func() { app.meter.loaded(start, err) }()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout,
			fmt.Errorf("it has not started within %s (start_timeout)", timeout))
		defer cancel()
	}
	config.bridgeConfig = config.resolved()
	gen, err := loadCode(ctx, app, config, timeout, logger)
	if err != nil {
		return nil, err
	}
	if config.Probe != "" {
		err = gen.probe(ctx, config.Probe)
	}
	if err == nil && len(config.Background) > 0 {
		gen.beside, err = startBackgrounds(ctx, config.Background, loadRequest{gen.id, config.bridgeConfig}, gen.appLog)
	}
	if err != nil {
		gen.leave()
		gen.retire(drainLimits{})
		return nil, fmt.Errorf("loading python app %s: %w", config.Module, err)
	}
	return gen, nil
}

// loadCode has a worker or the bridge load the app's code.
func loadCode(ctx context.Context, app *App, config appConfig, timeout time.Duration, logger *zap.Logger) (_ *generation, err error) {
	start := time.Now()
	id := lastID.Add(1)
	gen := &generation{id: id, drained: make(chan struct{}), app: app, meter: app.meter}
	gen.appLog = addAppLog(id, config.Module, logger)
	gen.refs.Store(1)
	gen.webSockets.config, gen.requestID = config.WebSocket, config.RequestID
	if config.Workers > 0 {
		gen.workers, err = startWorkers(ctx, gen, config, loadRequest{id, config.bridgeConfig}, timeout)
		if err != nil {
			removeAppLog(id)
			return nil, fmt.Errorf("loading python app %s: %w", config.Module, err)
		}
		gen.begin(gen.workers.limit > 0)
		gen.logLoaded(logger, start)
		return gen, nil
	}
	loaded, err := ask(ctx, command{Op: "load", Load: &loadRequest{id, config.bridgeConfig}}, func(late answer, err error) {
		if err != nil {
			removeAppLog(id)
			return
		}
		gen.isWSGI = late.Interface == "wsgi"
		gen.leave()
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
	gen.begin(loaded.Interface == "wsgi")
	gen.logLoaded(logger, start)
	return gen, nil
}

// begin is called when the app's interface is known.
func (g *generation) begin(isWSGI bool) {
	g.isWSGI, g.loaded = isWSGI, time.Now()
	if isWSGI {
		g.slow = time.Duration(g.app.config.SlowRequest)
	}
	if g.app.config.Metrics && g.workers == nil {
		g.metrics = g.meter.addSource(g, 0, g.askMetrics)
	}
	liveGenerations.add(g)
}

// load returns how busy the generation is in Caddy's process. It takes no reference, which
// would make an idle app look busy.
func (g *generation) load() (load C.snake_load) {
	g.handleMu.Lock()
	defer g.handleMu.Unlock()
	if !g.unloading {
		load = C.snake_load_of(g.handle)
	}
	return load
}

// requests returns the number of references beside the App's.
func (g *generation) requests() int {
	refs := int(g.refs.Load())
	if !g.retired.Load() {
		refs--
	}
	return refs
}

// leave drops the App's reference.
func (g *generation) leave() {
	g.retired.Store(true)
	g.release()
}

func (g *generation) logLoaded(logger *zap.Logger, start time.Time) {
	fields := []zap.Field{
		zap.String("app", g.appLog.app),
		zap.String("interface", g.interfaceName()),
		zap.String("python", pythonVersion()),
		zap.Duration("duration", time.Since(start)),
	}
	if g.workers != nil {
		fields = append(fields, zap.Int("workers", g.workers.config.Workers))
	}
	logger.Info("python app loaded", fields...)
}

func (g *generation) interfaceName() string {
	if g.isWSGI {
		return "wsgi"
	}
	return "asgi"
}

// nudge tells the generation's exchanges that it is being retired.
func (g *generation) nudge() {
	for _, pool := range g.pools() {
		pool.nudge(g)
	}
}

// pools are the pools of the slots that the generation's requests use.
func (g *generation) pools() []*slotPool {
	if g.workers != nil {
		return g.workers.pools()
	}
	return []*slotPool{&slots}
}

// takeSlot returns a slot for a request. It may wait for a worker.
func (g *generation) takeSlot(r *http.Request, deadline time.Time) (*slot, error) {
	if g.workers == nil {
		return slots.get(g, 1, lineOf(r))
	}
	ctx := r.Context()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, deadline, errTimeout)
		defer cancel()
	}
	return g.workers.take(ctx, r)
}

// acquire counts a request; the caller must release the generation. It returns
// false when the generation has ended.
func (g *generation) acquire() bool {
	for refs := g.refs.Load(); refs > 0; refs = g.refs.Load() {
		if g.refs.CompareAndSwap(refs, refs+1) {
			return true
		}
	}
	return false
}

// release drops the reference of acquire or of the load.
func (g *generation) release() {
	if g.refs.Add(-1) == 0 {
		close(g.drained)
	}
}

// retire ends the generation's background commands, waits for its requests, and unloads
// it.
func (g *generation) retire(limits drainLimits) {
	deadline := time.Now().Add(limits.Requests)
	if g.beside != nil {
		var ending sync.WaitGroup
		ending.Go(func() { g.beside.stop(min(limits.Requests+limits.Tasks, drainTimeout)) })
		defer ending.Wait()
	}
	g.drain(limits)
	g.unload(max(0, time.Until(deadline)), limits.Tasks)
}

// drain waits, within limits, until nothing runs on the generation, and ends
// exchanges that would never end by themselves.
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
	g.nudge() // marks the streams; idle ones are found at the next nudge
	webSockets, streams := time.NewTimer(limits.WebSockets), time.NewTicker(max(limits.Streams, time.Second))
	defer webSockets.Stop()
	defer streams.Stop()
	for {
		select {
		case <-g.drained:
			return
		case <-deadline:
			g.webSockets.closeAll()
			cut := 0
			for _, pool := range g.pools() {
				cut += pool.cut(g)
			}
			if g.workers != nil {
				g.workers.cutWaiting()
			}
			if cut > 0 {
				g.appLog.logger.Load().Warn("requests are cancelled: their code is being unloaded",
					zap.String("app", g.appLog.app), zap.Int("requests", cut))
			}
			return
		case <-webSockets.C:
			g.webSockets.closeAll()
		case <-streams.C:
			g.nudge()
		}
	}
}

// taskTimeout is how long, beyond exitTimeout, code may run after its response when
// the process ends. Together they equal Caddy's grace period for requests.
func taskTimeout() time.Duration {
	grace := time.Duration(gracePeriod.Load())
	if grace <= 0 {
		return forever
	}
	return max(0, grace-exitTimeout)
}

// unload shuts the generation down and ends the requests that still run after
// drain. Tasks that run after their response are ended only when their own time is
// over.
func (g *generation) unload(drain, tasks time.Duration) {
	if g.workers != nil {
		g.unloaded(answer{Idle: g.workers.stop(drain, tasks)}, nil)
		return
	}
	g.metrics.finish()
	g.metrics.end()
	g.handleMu.Lock()
	g.unloading = true
	g.handleMu.Unlock()
	ctx, cancel := context.WithTimeoutCause(context.Background(), drain+tasks+shutdownTimeout,
		errors.New("it does not shut down; it is left behind"))
	defer cancel()
	left, err := ask(ctx, command{Op: "unload", ID: g.id, Drain: drain.Seconds(), Tasks: tasks.Seconds()}, g.unloaded)
	if err != nil && errors.Is(err, context.Cause(ctx)) { // the late answer calls unloaded
		g.appLog.logger.Load().Error("unloading python app", zap.String("app", g.appLog.app), zap.Error(err))
		return
	}
	g.unloaded(left, err)
}

// unloaded logs the result of unload.
func (g *generation) unloaded(left answer, err error) {
	logs.take() // the app's last records come before the record of its end
	logger := g.appLog.logger.Load()
	switch {
	case err != nil:
		logger.Error("unloading python app", zap.String("app", g.appLog.app), zap.Error(err))
	case !left.Idle && g.workers != nil:
		logger.Warn("requests of an unloaded python app have ended with its workers", zap.String("app", g.appLog.app))
		g.forget()
	case !left.Idle:
		logger.Warn("requests of an unloaded python app still run; it is left behind",
			zap.String("app", g.appLog.app))
		if g.isWSGI { // a thread may still return from C; a loop is closed
			go g.unload(forever, 0)
		}
	default:
		logger.Info("python app unloaded", zap.String("app", g.appLog.app))
		g.forget()
	}
}

// forget ends what is kept for a generation outside of it.
func (g *generation) forget() {
	removeAppLog(g.id)
	liveGenerations.remove(g)
}

// liveGenerations are those that are loaded, or still run.
var liveGenerations generationSet

type generationSet struct {
	mu  sync.Mutex
	all map[*generation]struct{}
}

func (s *generationSet) add(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*generation]struct{}{}
	}
	s.all[g] = struct{}{}
}

func (s *generationSet) remove(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, g)
}

// list returns the generations, oldest first.
func (s *generationSet) list() []*generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.all), func(a, b *generation) int { return cmp.Compare(a.id, b.id) })
}
