package caddysnake

// What metrics and the admin endpoint show of workers.

import (
	"slices"
	"time"
)

// workersSurvey is what the workers of a generation do.
type workersSurvey struct {
	waiting int // requests that wait for a worker
	all     []workerSurvey
}

// workerSurvey is what a worker does.
type workerSurvey struct {
	number, pid        int
	begun              time.Time
	inflight, requests int
	isReady            bool          // it takes requests
	lag                time.Duration // until its event loop gave its newest sign of life; below 0: unknown
	silent             time.Duration // without the one that it was asked for
	slots              *slotPool
	process            *workerProcess
}

func (ws *workers) survey() (seen workersSurvey) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	seen.waiting = len(ws.waiting)
	for _, w := range slices.Concat(ws.ready, ws.leaving) {
		lag, silent := w.pulse.read(time.Now())
		seen.all = append(seen.all, workerSurvey{
			number: w.number, pid: w.process.process.pid, begun: w.begun,
			inflight: w.inflight, requests: w.requests,
			isReady: !w.isLeaving, lag: lag, silent: silent, slots: &w.slots, process: w.process,
		})
	}
	return seen
}

// read returns how long the newest sign of life has taken (below 0: there was none), and
// how long the worker is without the one that it was asked for.
func (p *pulse) read(now time.Time) (lag, silent time.Duration) {
	switch {
	case p.number == 0:
		return -1, 0
	case p.loop:
		return p.lag, 0
	default:
		return p.lag, max(0, now.Sub(p.sent))
	}
}
