package caddysnake

// Which worker gets a request.

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// take returns a slot of the worker with the fewest requests in flight. It waits until
// there is one that has a place.
func (ws *workers) take(ctx context.Context, r *http.Request) (*slot, error) {
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
	s, err := w.slots.get(ws.gen, 1, lineOf(r))
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
		best.count()
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
	w.full.freed++
	switch {
	case w.inflight > 0:
	case w.gone:
		w.home.close()
	case w.isLeaving:
		close(w.idle)
	}
	ws.serveWaiting()
}
