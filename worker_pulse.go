package caddysnake

// Notices workers that give no sign of life. A worker that has requests is asked for
// one once a second.

import (
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// stacksSignal has a worker write the Python stacks of its threads to its log, see
// caddysnake_py/worker_stacks.py. Python and its packages do not use it.
const stacksSignal = unix.Signal(63)

// pulse is the newest ping of a worker, and its answers.
type pulse struct {
	number uint32 // 0: there was none
	sent   time.Time
	thread bool          // the listening thread has answered
	loop   bool          // the event loop has, too, if there is one
	lag    time.Duration // until the last answer of the event loop
}

// fullness tells whether a worker without a free place finishes requests.
type fullness struct {
	freed uint64    // requests that have ended
	seen  uint64    // freed, at the time below
	since time.Time // zero: there is a free place
}

// isAlive applies an answer to a ping.
func (w *worker) isAlive(ping uint32, loop bool) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	if ping == w.pulse.number {
		w.pulse.thread = true
		if loop && !w.pulse.loop {
			w.pulse.loop, w.pulse.lag = true, time.Since(w.pulse.sent)
		}
	}
}

// checkPulse asks for a sign of life, and returns what is to be done about a worker
// that gives none. The caller holds the lock of workers.
func (w *worker) checkPulse(now time.Time) (act func()) {
	p, config := &w.pulse, &w.of.config
	silent := time.Duration(0)
	if p.number > 0 && !p.loop {
		silent = now.Sub(p.sent)
	}
	still, limit := max(silent, w.fullFor(now)), config.Limits.Stuck
	isStuck, isSilent := limit > 0 && still >= limit, silent > 0 && !p.thread
	if still == 0 {
		w.isReported = false
	}
	switch {
	case w.isKilled:
	case isStuck && w.isReported:
		w.isKilled = true
		return func() {
			w.process.log.logger().Error("python worker is stuck: it is killed (kill_stuck)", zap.Int("pid", w.process.process.pid))
			w.process.kill()
		}
	case isStuck, isSilent && !w.isReported && isOver(silent, config.BlockedLoop, config.RequestTimeout):
		w.isReported = true // if it is stuck, the next check kills it: its stacks come first
		message := "python worker finishes no request"
		if isSilent {
			message = "python worker gives no sign of life"
		}
		return func() { w.report(message, still) }
	case silent == 0 && w.inflight > 0:
		*p = pulse{number: p.number + 1, sent: now, lag: p.lag}
		number := p.number
		return func() { _ = w.process.ping(number) } // without an answer, it has ended or is silent
	}
	return nil
}

// isOver tells whether a time has reached one of the limits; 0 is no limit.
func isOver(lasted time.Duration, limits ...seconds) bool {
	return slices.ContainsFunc(limits, func(limit seconds) bool { return limit > 0 && lasted >= time.Duration(limit) })
}

// fullFor returns how long all places of a WSGI worker have been taken by the same
// requests, other than those that wait for their clients.
func (w *worker) fullFor(now time.Time) time.Duration {
	limit := w.of.limit
	if limit == 0 || w.inflight < limit || w.inflight-w.slots.countWaiting() < limit {
		w.full.since = time.Time{}
		return 0
	}
	if w.full.since.IsZero() || w.full.seen != w.full.freed {
		w.full.since, w.full.seen = now, w.full.freed
	}
	return now.Sub(w.full.since)
}

// report logs what a worker that stands still does. The stacks follow on its standard
// error.
func (w *worker) report(message string, still time.Duration) {
	w.process.log.logger().Error(message,
		zap.Int("pid", w.process.process.pid), zap.Duration("for", still), zap.Strings("requests", w.slots.begun()))
	_ = signalPidfd(w.process.process.pidfd, stacksSignal) // it may have ended meanwhile
}
