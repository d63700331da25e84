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
	lag                time.Duration // of its event loop; below 0: unknown
	slots              *slotPool
}

func (ws *workers) survey() (seen workersSurvey) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	seen.waiting = len(ws.waiting)
	for _, w := range slices.Concat(ws.ready, ws.leaving) {
		seen.all = append(seen.all, workerSurvey{
			number: w.number, pid: w.process.process.pid, begun: w.begun,
			inflight: w.inflight, requests: w.requests,
			isReady: !w.isLeaving, lag: w.pulse.lagAt(time.Now()), slots: &w.slots,
		})
	}
	return seen
}

// lagAt returns how long the event loop has taken to give its newest sign of life, or
// takes now; below 0: it was not asked yet.
func (p *pulse) lagAt(now time.Time) time.Duration {
	switch {
	case p.number == 0:
		return -1
	case p.loop:
		return p.lag
	default:
		return max(p.lag, now.Sub(p.sent))
	}
}
