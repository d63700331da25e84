package caddysnake

// Replaces workers that are over a limit, one at a time: the successor is ready before
// the old worker gets no more requests.

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
)

// retryPause is the time until Caddy tries again to replace a worker.
const retryPause = 10 * time.Second

// overdue is a worker that is to be replaced, and why.
type overdue struct {
	worker *worker
	option string // the limit's
	reason zap.Field
}

// spread adds a random part of up to a tenth, so that workers do not end together.
func spread[T int | time.Duration](limit T) T {
	return limit + T(rand.Float64()*float64(limit)/10)
}

// count counts a request. The caller holds the lock of workers.
func (w *worker) count() {
	w.requests++
	if w.quota > 0 && w.requests >= w.quota {
		w.of.renew(w, "max_requests", zap.Int("requests", w.requests))
	}
}

// renew has a worker replaced. The caller holds the lock.
func (ws *workers) renew(w *worker, option string, reason zap.Field) {
	if w.isOverdue || ws.ended {
		return
	}
	w.isOverdue = true
	ws.overdue = append(ws.overdue, overdue{w, option, reason})
	if !ws.renewing {
		ws.renewing = true
		ws.starts.Go(ws.renewAll)
	}
}

// renewAll replaces the workers that are overdue.
func (ws *workers) renewAll() {
	for {
		ws.mu.Lock()
		if ws.ended || len(ws.overdue) == 0 {
			ws.renewing = false
			ws.mu.Unlock()
			return
		}
		next := ws.overdue[0]
		ws.overdue = ws.overdue[1:]
		ws.mu.Unlock()
		ws.renewOne(next)
	}
}

func (ws *workers) renewOne(o overdue) {
	w := o.worker
	select {
	case <-w.process.gone: // it has a successor
		return
	default:
	}
	logger := w.process.log.logger()
	successor, err := ws.start(ws.end, w.number)
	if err != nil {
		if ws.end.Err() != nil {
			return
		}
		logger.Error("a python worker can't be replaced; it goes on", o.reason, zap.Error(err))
		select {
		case <-ws.end.Done():
		case <-time.After(retryPause):
		}
		ws.mu.Lock()
		w.isOverdue = false
		ws.mu.Unlock()
		return
	}
	if !ws.swap(w, successor) { // it has died and has a successor, or all are to end
		successor.discard()
		return
	}
	ws.gen.meter.restarted(o.option)
	logger.Info("python worker is replaced", o.reason)
}

// swap gives a worker's place to its successor. It returns false if the worker has none
// any more, or if no worker is to be added.
func (ws *workers) swap(w, successor *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	at := slices.Index(ws.ready, w)
	if at < 0 || ws.ended {
		return false
	}
	ws.ready = slices.Delete(ws.ready, at, at+1)
	ws.leaving = append(ws.leaving, w)
	w.isLeaving = true
	if w.inflight == 0 {
		close(w.idle)
	}
	ws.leaves.Go(w.leave)
	ws.admit(successor)
	return true
}

// discard ends a worker that has not got any requests.
func (w *worker) discard() {
	w.process.stop(0, 0)
	w.closeUp()
	w.home.close()
}

// leave ends a replaced worker after its requests, as a reload would; within the limits
// of stop if all workers are to end.
func (w *worker) leave() {
	w.metrics.leave()
	limit, again := time.NewTimer(drainTimeout), time.NewTicker(defaultGrace)
	defer limit.Stop()
	defer again.Stop()
	gen := w.of.gen
	left := stopLimits{drain: drainTimeout}
	for waiting := true; waiting; {
		gen.webSockets.closeOf(&w.slots)
		w.slots.nudge(gen)
		select {
		case <-w.idle:
			waiting = false
		case <-w.process.gone:
			waiting = false
		case <-w.of.end.Done():
			left, waiting = w.of.limits, false
		case <-limit.C:
			w.slots.cut(gen)
			left, waiting = stopLimits{}, false
		case <-again.C:
		}
	}
	w.metrics.finish()
	// Tasks after responses may still run when all workers are to end. The worker does not
	// know of that limit.
	patience, cancel := context.WithTimeout(context.Background(), left.drain+left.tasks+shutdownTimeout)
	defer cancel()
	defer context.AfterFunc(w.of.end, func() {
		limits := w.of.limits
		time.AfterFunc(limits.drain+limits.tasks, cancel)
	})()
	w.process.stopWithin(patience, left.drain, left.tasks)
}
