package caddysnake

// What is measured of one request while metrics are on.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/sys/unix"
)

// measurement is what is known of a request.
type measurement struct {
	arrived  time.Duration // when it began to wait for its app, by clock
	queued   time.Duration // how long it has waited
	begun    bool          // its app was called
	waited   bool          // it has waited at all
	news     time.Duration // when the newest part of the response was there; 0: none was
	writing  time.Duration // how long Caddy has written to the client
	status   int           // of the response, or 0
	timedOut bool          // request_timeout is over
	worker   int           // that has got it; 0: none

	access *caddyhttp.ExtraLogFields // of the access log; nil: there is none
}

// newMeasurement returns nil if nobody wants to know.
func newMeasurement(r *http.Request) *measurement {
	access := accessLogOf(r)
	if access == nil && !isMetering() {
		return nil
	}
	return &measurement{access: access}
}

// arrive begins the time in the queue.
func (m *measurement) arrive() {
	if m != nil {
		m.arrived, m.waited = clock(), true
	}
}

// refused says that the request does not reach its app.
func (m *measurement) refused() {
	if m != nil {
		m.waited = false
	}
}

// answered notes the status of the response.
func (m *measurement) answered(status int) {
	if m != nil {
		m.status = status
	}
}

// left says that nobody waits for the app any longer.
func (m *measurement) left() {
	if m != nil {
		m.news = clock()
	}
}

// gaveUp notes why Caddy has answered in the app's place.
func (m *measurement) gaveUp(why error) {
	if m != nil {
		m.timedOut = errors.Is(why, errTimeout)
	}
}

// leaveSlot notes when the app was called. The slot is still the request's.
func (m *measurement) leaveSlot(s *slot) {
	if m == nil || !s.hasBegun() {
		return
	}
	m.begun, m.worker = true, s.pool.worker
	// The difference has a sign: the clocks are compared in whole microseconds.
	ticks := int32(atomic.LoadUint32((*uint32)(&s.wire.begun_at)) - ticksOf(m.arrived))
	m.queued = max(0, time.Duration(ticks)*time.Microsecond)
	m.queued = min(m.queued, clock()-m.arrived) // a worker may have written anything
}

// end adds the request to the meter and to the access log. err is what its handler
// returns.
func (m *measurement) end(gen *generation, err error) {
	if m.begun && m.news == 0 { // there was no response
		m.news = clock()
	}
	ran := max(0, m.news-m.arrived-m.queued)
	if m.access != nil {
		m.log(gen, ran)
	}
	if isMetering() {
		m.meter(gen, err, ran)
	}
}

func (m *measurement) meter(gen *generation, err error, ran time.Duration) {
	to := gen.meter
	to.count(m.status, err)
	if m.timedOut || errors.Is(err, errTimeout) {
		to.timeouts.Inc()
	}
	if m.status != 0 {
		to.write.Observe(m.writing.Seconds())
	}
	switch {
	case m.begun:
		to.queue.Observe(m.queued.Seconds())
		to.application.Observe(ran.Seconds())
		if gen.slow > 0 && ran >= gen.slow {
			to.slow.Inc()
		}
	case m.waited: // in vain
		to.queue.Observe((clock() - m.arrived).Seconds())
	}
}

// count counts a request by its status. If no head was sent, err has the status; without
// either, the client has left.
func (m *meter) count(status int, err error) {
	if status == 0 {
		var refusal caddyhttp.HandlerError
		switch {
		case errors.As(err, &refusal):
			status = refusal.StatusCode
		case err != nil:
			status = http.StatusInternalServerError
		default:
			status = statusClientClosedRequest
		}
	}
	m.requests[min(max(status/100, 1), len(m.requests))-1].Inc()
}

// refused counts a request that no generation gets, and returns err; nil: a page of the
// debug option is the answer.
func (m *meter) refused(err error) error {
	switch {
	case !isMetering():
	case err == nil:
		m.count(http.StatusInternalServerError, nil)
	default:
		m.count(0, err)
	}
	return err
}

// writeMeasured is write, with its time.
func (x *exchange) writeMeasured() (done bool, err error) {
	m := x.measured
	if m == nil {
		return x.write()
	}
	m.news = clock()
	defer func() { m.writing += clock() - m.news }() // write may panic
	return x.write()
}

// clockBase relates Go's clock to that of the core, CLOCK_MONOTONIC.
var clockBase = func() (base struct {
	time  time.Time
	ticks int64 // microseconds
}) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it can't fail for this clock
	base.time, base.ticks = time.Now(), now.Nano()/1000
	return base
}()

// clock returns the time since clockBase. It takes half of time.Now, which also reads the
// time of day.
func clock() time.Duration { return time.Since(clockBase.time) }

// ticksOf returns a time by clock in the form of snake_wire.begun_at.
func ticksOf(t time.Duration) uint32 { return uint32(clockBase.ticks + t.Microseconds()) }
