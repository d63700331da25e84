package caddysnake

// What follows when a worker ends.

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

// watch waits for the end of the process, and then of what it has begun.
func (w *worker) watch() {
	<-w.process.gone
	ws := w.of
	ws.mu.Lock()
	isThis := func(other *worker) bool { return other == w }
	ws.ready = slices.DeleteFunc(ws.ready, isThis)
	ws.leaving = slices.DeleteFunc(ws.leaving, isThis)
	ended := ws.ended || w.isLeaving
	if !ended { // stop waits for it
		if !w.isKilled {
			ws.gen.meter.crashed()
		}
		ws.starts.Go(func() { ws.replace(w, time.Since(w.begun)) })
	}
	ws.mu.Unlock()
	w.endRequests(ended)
	<-w.process.died // its last words come first
	w.metrics.end()
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

// pauseAfter returns the pause before the next start; pauses is the number of those before.
func pauseAfter(pauses int) time.Duration { return min(firstPause<<min(pauses, 10), longestPause) }

// replace starts the successor of a dead worker. If it dies or fails again and again,
// the pauses grow.
func (ws *workers) replace(dead *worker, lived time.Duration) {
	number, reason := dead.number, "crash"
	ws.mu.Lock()
	if dead.isKilled {
		reason = "kill_stuck"
	}
	if lived >= healthyAfter {
		ws.deaths[number] = 0
	}
	ws.deaths[number]++
	deaths := ws.deaths[number]
	ws.mu.Unlock()
	for {
		if deaths > 1 {
			ws.pause(number, pauseAfter(deaths-2))
		}
		if ws.end.Err() != nil {
			return
		}
		w, err := ws.start(ws.end, number)
		if err == nil {
			ws.add(w) // if the workers are to end, stop ends it as well
			ws.gen.meter.restarted(reason)
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

// requestLine is what the log says about a request. The request itself would keep
// net/http's buffers of a connection that has become a websocket.
type requestLine struct {
	method, path string
	since        time.Time // when the request got its slot
}

// lineOf returns the line of a request that gets a slot now.
func lineOf(r *http.Request) requestLine { return requestLine{r.Method, r.URL.Path, time.Now()} }

func (l *requestLine) String() string {
	return fmt.Sprintf("%s %s after %.3f s", l.method, l.path, time.Since(l.since).Seconds())
}

// maxLostNamed limits the requests that a record names.
const maxLostNamed = 10

// begun describes requests that the app has begun.
func (p *slotPool) begun() (requests []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.gen != nil && s.hasBegun() && len(requests) < maxLostNamed {
			requests = append(requests, s.line.String())
		}
	}
	return requests
}

// lose ends all requests of a home that is gone. It returns descriptions of those that
// the app had begun.
func (p *slotPool) lose() []string {
	begun := p.begun()
	p.mu.Lock()
	p.lost = true
	var used []*slot
	for _, s := range p.all {
		if s.gen != nil {
			used = append(used, s)
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
