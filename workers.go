package caddysnake

// The worker processes of one generation of an app, and which of them gets a request.

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

	"go.uber.org/zap"
)

// workers are the processes that serve one generation.
type workers struct {
	gen    *generation
	config appConfig
	spec   workerSpec
	limit  int // of requests that one WSGI worker holds at once; 0: none

	mu      sync.Mutex
	ready   []*worker
	waiting []chan *worker // requests, first come, first served
	looking bool           // a goroutine looks for threads that wait for clients
	deaths  map[int]int    // of each number, since the last healthy worker
	paused  bool           // a worker that keeps dying is not started at once
	ended   bool           // no worker is started any more
	end     context.Context
	cancel  context.CancelFunc // ends the starts of successors, and their pauses
	starts  sync.WaitGroup     // of successors
}

// worker is one process, with the memory that Caddy shares with it.
type worker struct {
	of      *workers
	number  int
	home    *workerHome
	slots   slotPool
	process *workerProcess
	begun   time.Time

	inflight int        // guarded by the lock of workers
	aside    int        // likewise: requests that wait for their clients, as last seen
	gone     bool       // likewise: the process has ended
	news     sync.Mutex // held while news are read
	lost     bool       // guarded by news: nothing more is read
	closeUp  func()     // ends the reader of news
}

// startWorkers starts the workers of a generation. If one of them can't load the app,
// the others end.
func startWorkers(ctx context.Context, gen *generation, config appConfig, load loadRequest, timeout time.Duration) (*workers, error) {
	ws := &workers{gen: gen, config: config, deaths: map[int]int{}, spec: workerSpec{Load: load, Timeout: timeout, Log: gen.appLog}}
	ws.end, ws.cancel = context.WithCancel(context.Background())
	first, err := ws.start(ctx, 1) // the others may be forked from what it has shown
	if err != nil {
		ws.cancel()
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
	return ws, nil
}

// start starts one worker.
func (ws *workers) start(ctx context.Context, number int) (*worker, error) {
	home, err := newWorkerHome()
	if err != nil {
		return nil, err
	}
	w := &worker{of: ws, number: number, home: home, begun: time.Now()}
	w.slots = slotPool{segments: segments{home: home}, freed: w.freed}
	if err := w.slots.prepare(); err != nil {
		home.close()
		return nil, err
	}
	spec := ws.spec
	spec.Number, spec.Files, spec.File = number, home.descriptors(), w.slots.give
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
	ws.paused = false
	if w.home.isWSGI {
		ws.limit = ws.config.Threads
	}
	ws.ready = append(ws.ready, w)
	ws.serveWaiting()
	ws.mu.Unlock()
	go w.watch()
}

// take returns a slot of the worker with the fewest requests in flight. It waits until
// there is one that has a place.
func (ws *workers) take(ctx context.Context) (*slot, error) {
	ws.mu.Lock()
	w := ws.pick()
	if ws.ended || w == nil && len(ws.ready) == 0 && ws.paused {
		if w != nil {
			w.inflight--
		}
		ws.mu.Unlock()
		return nil, errNoWorker
	}
	if w == nil || len(ws.waiting) > 0 {
		if w != nil {
			w.inflight--
		}
		place := make(chan *worker, 1)
		ws.waiting = append(ws.waiting, place)
		if !ws.looking {
			ws.looking = true
			go ws.look()
		}
		ws.mu.Unlock()
		select {
		case w = <-place:
		case <-ctx.Done():
			ws.leave(place)
			if errors.Is(context.Cause(ctx), errTimeout) {
				return nil, errTimeout
			}
			return nil, errClientLeft
		}
		if w == nil {
			return nil, errNoWorker
		}
	} else {
		ws.mu.Unlock()
	}
	s, err := w.slots.get(ws.gen, 1)
	if err != nil {
		w.freed()
		return nil, err
	}
	return s, nil
}

// pick counts a request at the worker with the fewest; nil: none has a place. The
// caller holds the lock.
func (ws *workers) pick() *worker {
	var best *worker
	for _, w := range ws.ready {
		if (ws.limit == 0 || w.inflight-w.aside < ws.limit) && (best == nil || w.inflight < best.inflight) {
			best = w
		}
	}
	if best != nil {
		best.inflight++
	}
	return best
}

// serveWaiting gives free places to waiting requests. The caller holds the lock.
func (ws *workers) serveWaiting() {
	for len(ws.waiting) > 0 {
		w := ws.pick()
		if w == nil {
			return
		}
		ws.waiting[0] <- w
		ws.waiting = ws.waiting[1:]
	}
}

const (
	// lookInterval is how often workers are looked at while requests wait.
	lookInterval = 5 * time.Millisecond
	// maxAside is ASIDE_AT_MOST of core/wsgi_places.c.
	maxAside = 256
)

// look gives the places of threads that only wait for their clients to requests that
// wait (docs/decisions/0051), as long as there are some.
func (ws *workers) look() {
	for {
		time.Sleep(lookInterval)
		ws.mu.Lock()
		for _, w := range ws.ready {
			w.aside = 0
			if ws.limit > 1 { // an app with one thread may rely on strict order
				w.aside = min(w.slots.countWaiting(), maxAside)
			}
		}
		ws.serveWaiting()
		if len(ws.waiting) == 0 {
			ws.looking = false
			ws.mu.Unlock()
			return
		}
		ws.mu.Unlock()
	}
}

// countWaiting counts the requests whose app waits for the client.
func (p *slotPool) countWaiting() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.gen != nil && atomic.LoadUint32((*uint32)(&s.wire.waits)) != 0 {
			n++
		}
	}
	return n
}

// refuseWaiting ends the waiting of all requests. The caller holds the lock.
func (ws *workers) refuseWaiting() {
	for _, place := range ws.waiting {
		place <- nil
	}
	ws.waiting = nil
}

// leave ends the waiting of a request whose client has left.
func (ws *workers) leave(place chan *worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, waiting := range ws.waiting {
		if waiting == place {
			ws.waiting = append(ws.waiting[:i:i], ws.waiting[i+1:]...)
			return
		}
	}
	if w := <-place; w != nil { // it has just got a place
		ws.free(w)
	}
}

// freed is called when a slot is not used any more.
func (w *worker) freed() {
	w.of.mu.Lock()
	w.of.free(w)
	w.of.mu.Unlock()
}

// free gives a place back. The caller holds the lock.
func (ws *workers) free(w *worker) {
	w.inflight--
	if w.gone && w.inflight == 0 {
		w.home.close()
	}
	ws.serveWaiting()
}

// pools returns the slots of all workers.
func (ws *workers) pools() []*slotPool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	pools := make([]*slotPool, len(ws.ready))
	for i, w := range ws.ready {
		pools[i] = &w.slots
	}
	return pools
}

// cutWaiting refuses the requests that wait for a worker.
func (ws *workers) cutWaiting() {
	ws.mu.Lock()
	ws.refuseWaiting()
	ws.mu.Unlock()
}

// stop ends all workers after their requests. It returns whether all requests had
// ended.
func (ws *workers) stop(drain, tasks time.Duration) (idle bool) {
	ws.mu.Lock()
	ws.ended = true
	ws.cancel()
	ws.refuseWaiting()
	ws.mu.Unlock()
	ws.starts.Wait() // after it, no worker is added
	ws.mu.Lock()
	ready := append([]*worker{}, ws.ready...)
	ws.mu.Unlock()
	ended := make([]bool, len(ready))
	var group sync.WaitGroup
	for i, w := range ready {
		group.Go(func() { ended[i] = w.process.stop(drain, tasks) })
	}
	group.Wait()
	idle = true
	for _, end := range ended {
		idle = idle && end
	}
	return idle
}

// watch waits for the end of the process, and then of what it has begun.
func (w *worker) watch() {
	<-w.process.gone
	ws := w.of
	ws.mu.Lock()
	for i, ready := range ws.ready {
		if ready == w {
			ws.ready = append(ws.ready[:i:i], ws.ready[i+1:]...)
			break
		}
	}
	ended := ws.ended
	if !ended { // stop waits for it
		ws.starts.Go(func() { ws.replace(w.number, time.Since(w.begun)) })
	}
	ws.mu.Unlock()
	w.endRequests(ended)
	<-w.process.died // its last words come first
	w.closeUp()
	ws.mu.Lock()
	w.gone = true
	if w.inflight == 0 {
		w.home.close()
	}
	ws.mu.Unlock()
}

// endRequests ends the exchanges that the process has left. expected: Caddy has ended
// it.
func (w *worker) endRequests(expected bool) {
	w.news.Lock()
	w.slots.takeNews(func(error) {}) // what it has finished counts
	w.lost = true
	w.news.Unlock()
	level := zap.ErrorLevel
	if expected {
		level = zap.WarnLevel
	}
	if begun := w.slots.lose(); len(begun) > 0 {
		w.process.log.logger().Log(level, "requests of an ended python worker are lost", zap.Strings("requests", begun))
	}
}

const (
	// healthyAfter is how long a worker must live for its successor to start at once.
	healthyAfter = 10 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// replace starts the successor of a dead worker. If it dies or fails again and again,
// the pauses grow.
func (ws *workers) replace(number int, lived time.Duration) {
	ws.mu.Lock()
	if lived >= healthyAfter {
		ws.deaths[number] = 0
	}
	ws.deaths[number]++
	deaths := ws.deaths[number]
	ws.mu.Unlock()
	for {
		if deaths > 1 {
			ws.pause(number, min(firstPause<<min(deaths-2, 10), longestPause))
		}
		if ws.end.Err() != nil {
			return
		}
		w, err := ws.start(ws.end, number)
		if err == nil {
			ws.add(w) // if the workers are to end, stop ends it as well
			return
		}
		if ws.end.Err() != nil {
			return
		}
		ws.gen.appLog.logger.Load().Error("a python worker can't be started again",
			zap.String("app", ws.gen.appLog.app), zap.Int("worker", number), zap.Error(err))
		deaths++
		ws.mu.Lock()
		ws.deaths[number] = deaths
		ws.mu.Unlock()
	}
}

// pause waits before the next start, or until the workers are to end.
func (ws *workers) pause(number int, pause time.Duration) {
	ws.mu.Lock()
	if len(ws.ready) == 0 {
		ws.paused = true
		ws.refuseWaiting()
	}
	ws.mu.Unlock()
	ws.gen.appLog.logger.Load().Warn("a python worker keeps ending; it is started again after a pause",
		zap.String("app", ws.gen.appLog.app), zap.Int("worker", number), zap.Duration("pause", pause))
	select {
	case <-ws.end.Done():
	case <-time.After(pause):
	}
}

// describe tells the log which request ran, and for how long.
func (s *slot) describe() string {
	return fmt.Sprintf("%s %s after %.3f s", s.request.Method, s.request.URL.Path, time.Since(s.since).Seconds())
}

// maxLostNamed limits the requests that a record names.
const maxLostNamed = 10

// lose ends all requests of a home that is gone. It returns descriptions of those that
// the app had begun.
func (p *slotPool) lose() (begun []string) {
	p.mu.Lock()
	p.lost = true
	var used []*slot
	for _, s := range p.all {
		if s.gen != nil {
			used = append(used, s)
			if s.hasBegun() && s.request != nil && len(begun) < maxLostNamed {
				begun = append(begun, s.describe())
			}
		}
	}
	p.mu.Unlock()
	for _, s := range used {
		// The worker may have released a slot without ending its response.
		s.tell(newsLost)
		if s.refs.Load() >= appRef {
			s.drop(appRef)
		}
	}
	return begun
}
