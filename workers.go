package caddysnake

// The worker processes of one generation of an app.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// workers are the processes that serve one generation.
type workers struct {
	gen    *generation
	config appConfig
	spec   workerSpec
	limit  int // of requests that one WSGI worker holds at once; 0: none

	mu       sync.Mutex
	ready    []*worker
	waiting  []chan *worker // requests, first come, first served
	looking  bool           // a goroutine looks for threads that wait for clients
	deaths   map[int]int    // of each number, since the last healthy worker
	paused   bool           // a worker that keeps dying is not started at once
	overdue  []overdue      // workers to be replaced
	renewing bool           // a goroutine replaces them
	leaving  []*worker      // replaced workers that still have requests
	ended    bool           // no worker is started any more
	limits   stopLimits     // set before ended
	end      context.Context
	cancel   context.CancelFunc // ends the starts of successors, and their pauses
	starts   sync.WaitGroup     // of successors
	leaves   sync.WaitGroup     // of replaced workers
}

// stopLimits are the times that requests, and then background tasks, have to end.
type stopLimits struct{ drain, tasks time.Duration }

// worker is one process, with the memory that Caddy shares with it.
type worker struct {
	of      *workers
	number  int
	home    *workerHome
	slots   slotPool
	process *workerProcess
	begun   time.Time

	metrics  *metricsSource // with app_metrics; else nil
	quota    int            // of requests, until it is replaced; 0: none
	lifetime time.Duration  // likewise
	idle     chan struct{}  // closed when it is leaving and has no requests

	// The lock of workers guards these.
	inflight   int
	aside      int // requests that wait for their clients, as last seen
	requests   int // that it has got
	isOverdue  bool
	isLeaving  bool
	gone       bool // the process has ended
	pulse      pulse
	full       fullness
	isReported bool // since it has stood still
	isKilled   bool

	news    sync.Mutex // held while news are read
	lost    bool       // guarded by news: nothing more is read
	closeUp func()     // ends the reader of news
}

// startWorkers starts the workers of a generation. If one of them can't load the app,
// the others end.
func startWorkers(ctx context.Context, gen *generation, config appConfig, load loadRequest, timeout time.Duration) (*workers, error) {
	ws := &workers{gen: gen, config: config, deaths: map[int]int{}, spec: workerSpec{Load: load, Timeout: timeout, Log: gen.appLog}}
	ws.end, ws.cancel = context.WithCancel(context.Background())
	gen.meter.hasWorkers()
	zygotes.hold(ws.environment())
	zygotes.preload(ctx, ws.environment(), config.Preload)
	first, err := ws.start(ctx, 1) // the others may be forked from what it has shown
	if err != nil {
		ws.stop(0, 0)
		return nil, err
	}
	ws.add(first)
	var group sync.WaitGroup
	failures := make([]error, config.Workers+1)
	for number := 2; number <= config.Workers; number++ {
		group.Go(func() {
			w, err := ws.start(ctx, number)
			if err != nil {
				failures[number] = err
				return
			}
			ws.add(w)
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		ws.stop(0, 0)
		return nil, err
	}
	go ws.check()
	return ws, nil
}

func (ws *workers) environment() pythonEnvironment { return environmentOf(ws.spec.Load.bridgeConfig) }

// start starts one worker.
func (ws *workers) start(ctx context.Context, number int) (*worker, error) {
	home, err := newWorkerHome()
	if err != nil {
		return nil, err
	}
	limits := ws.config.Limits
	w := &worker{
		of: ws, number: number, home: home, begun: time.Now(),
		quota: spread(limits.Requests), lifetime: spread(limits.Age), idle: make(chan struct{}),
	}
	w.slots = slotPool{segments: segments{home: home}, freed: w.freed, worker: number}
	if err := w.slots.prepare(); err != nil {
		home.close()
		return nil, err
	}
	spec := ws.spec
	spec.Number, spec.Files, spec.File, spec.Alive = number, home.descriptors(), w.slots.give, w.isAlive
	w.process, err = zygotes.start(ctx, spec)
	home.started()
	if err != nil {
		home.close()
		return nil, err
	}
	home.isWSGI = w.process.kind == "wsgi"
	if err := w.listen(); err != nil {
		w.process.kill()
		<-w.process.died
		home.close()
		return nil, err
	}
	return w, nil
}

// listen reads the news of the worker's slots, until closeUp is called.
func (w *worker) listen() error {
	up := w.home.up
	w.home.up = -1 // the reader's from now on
	file, err := readList(up, (*uint32)(&w.home.first().rung), func() bool {
		w.news.Lock()
		defer w.news.Unlock()
		return !w.lost && w.slots.takeNews(w.insane)
	})
	if err == nil {
		w.closeUp = func() { file.Close() }
	}
	return err
}

// insane kills a worker that has written what it cannot have meant.
func (w *worker) insane(err error) { w.process.fail(err) }

// add lets a ready worker have requests.
func (ws *workers) add(w *worker) {
	ws.mu.Lock()
	ws.admit(w)
	ws.mu.Unlock()
}

// admit is add for a caller that holds the lock.
func (ws *workers) admit(w *worker) {
	ws.paused = false
	if w.home.isWSGI {
		ws.limit = ws.config.Threads
	}
	if ws.config.Metrics {
		w.metrics = ws.gen.meter.addSource(ws.gen, w.number, w.process.askMetrics)
	}
	ws.ready = append(ws.ready, w)
	ws.serveWaiting()
	go w.watch()
}

// pools returns the slots of all workers.
func (ws *workers) pools() []*slotPool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var pools []*slotPool
	for _, w := range slices.Concat(ws.ready, ws.leaving) {
		pools = append(pools, &w.slots)
	}
	return pools
}

// cutWaiting refuses the requests that wait for a worker.
func (ws *workers) cutWaiting() {
	ws.mu.Lock()
	ws.refuseWaiting()
	ws.mu.Unlock()
}

// stop ends all workers after their requests, those that are being replaced, too. It
// returns whether all requests had ended.
func (ws *workers) stop(drain, tasks time.Duration) (idle bool) {
	ws.mu.Lock()
	ws.ended, ws.limits = true, stopLimits{drain, tasks}
	ws.cancel()
	ws.refuseWaiting()
	ws.mu.Unlock()
	ws.starts.Wait() // after it, no worker is added, and none leaves
	ws.mu.Lock()
	ready := slices.Clone(ws.ready)
	ws.mu.Unlock()
	ended := make([]bool, len(ready))
	for i, w := range ready {
		ws.leaves.Go(func() {
			w.metrics.finish()
			ended[i] = w.process.stop(drain, tasks)
		})
	}
	ws.leaves.Wait()
	zygotes.release(ws.environment())
	return !slices.Contains(ended, false)
}
