package caddysnake

// One exchange: its life, and the ways it can end.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// exchange is one request being answered.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	slot *slot
	body *bodyStream // nil unless the body is streamed
	sent bool        // the head is written
	slow bool        // setClient was called

	deadline time.Time // the end of request_timeout; 0: none
	small    []byte    // the whole body, if it was read before there was a slot; else nil
	tries    int       // number of workers that have died before they began
	again    bool      // the request is to be tried on another worker

	pushed bool // Python has got the slot
	over   bool // the slot was released

	measured *measurement // nil: metrics are off

	pieces, nudgedAt int  // calls of write with records, and their number at the last nudge
	idle             int  // nudges since then
	nudged           bool // nudged at least once
}

// run writes the app's response. It returns when the response is complete or the
// client is gone; in the latter case the app may still be running.
func (x *exchange) run() error {
	gone := x.r.Context().Done()
	var timedOut <-chan time.Time
	if !x.deadline.IsZero() {
		timer := time.NewTimer(time.Until(x.deadline))
		defer timer.Stop()
		timedOut = timer.C
	}
	var watch streamWatch
	defer watch.stop()
	for {
		select {
		case <-x.slot.piece:
			news := x.slot.take(C.SNAKE_GO_OUT | newsNudge | newsCut | newsLost)
			if news&C.SNAKE_GO_OUT != 0 {
				if done, err := x.writeMeasured(); done {
					return err
				}
				watch.note(x)
			} else if news&newsNudge != 0 && x.standsStill() {
				x.leave(C.SNAKE_GONE)
				return x.breakOff()
			}
			if news&newsCut != 0 {
				return x.giveUp(errReplaced)
			}
			if news&newsLost != 0 {
				return x.loseWorker()
			}
		case <-gone:
			if x.r.ProtoMajor > 1 || x.slot.features&C.SNAKE_WEBSOCKET != 0 {
				x.leave(C.SNAKE_GONE)
				return nil
			}
			// HTTP/1: the client may have closed only its sending side. If it has
			// left, a write will fail soon enough.
			x.slot.gone(C.SNAKE_STOPPED_SENDING)
			gone = nil
		case <-watch.fired:
			watch.look(x)
		case <-timedOut:
			return x.giveUp(errTimeout)
		}
	}
}

// giveUp ends the exchange and answers in the app's place.
func (x *exchange) giveUp(err error) error {
	x.closeIfUnread()
	x.leave(C.SNAKE_TIMED_OUT)
	x.measured.gaveUp(err)
	if x.sent {
		return x.breakOff()
	}
	return refuse(x.w, err)
}

// loseWorker ends the exchange after the end of its worker. The request is tried again
// if the app was not called, and its body is not gone.
func (x *exchange) loseWorker() error {
	gen := x.slot.gen
	repeat := x.tries < maxTries && !x.sent && !x.slot.hasBegun() && x.r.Context().Err() == nil &&
		(x.body == nil || x.small != nil || !x.body.begun.Load())
	x.again = repeat && gen.acquire()
	x.finish()
	switch {
	case x.again:
		return nil
	case x.sent:
		return x.breakOff()
	}
	x.closeIfUnread()
	return refuse(x.w, errWorkerDied)
}

// standsStill is called at intervals while the app's code is being replaced. A
// started response that wrote nothing between two nudges is treated as an idle
// stream: its app sees a disconnect and has one more interval to end.
func (x *exchange) standsStill() bool {
	if !x.sent || !x.nudged || x.pieces != x.nudgedAt {
		x.nudged, x.nudgedAt, x.idle = true, x.pieces, 0
		return false
	}
	x.idle++
	if x.idle == 1 {
		x.slot.gone(C.SNAKE_STOPPED_SENDING)
	}
	return x.idle > 1
}

// leave ends the exchange while the app may still run.
func (x *exchange) leave(why uint32) {
	x.stop()
	x.measured.left()
	x.slot.countAbandoned(x.r)
	x.slot.abandon(why)
}

// finish ends the exchange after the app's last record. The slot may be reused
// afterwards.
func (x *exchange) finish() {
	x.stop()
	x.slot.release()
}

// letGo ends the exchange if it has not ended yet.
func (x *exchange) letGo() {
	switch {
	case x.over:
	case x.pushed:
		x.leave(C.SNAKE_GONE)
	default:
		x.slot.release()
	}
}

// stop ends all use of the body and of the ResponseWriter.
func (x *exchange) stop() {
	x.over = true
	x.measured.leaveSlot(x.slot)
	if x.body != nil {
		close(x.body.stop)
	}
	if x.slow {
		x.slot.setClient(nil)
	}
}

// misfit ends the exchange after records that can't be: a length, a count or a
// status contradicts the rest, or the order does.
func (x *exchange) misfit() error {
	if x.sent { // otherwise Caddy logs the returned error
		x.slot.complain(errMisfit)
	}
	x.leave(C.SNAKE_GONE)
	if x.sent {
		return x.breakOff()
	}
	x.closeIfUnread()
	return refuse(x.w, errMisfit)
}

// breakOff ends a started response in a way that the client can detect. It does not
// return, except for HTTP/1.0.
func (x *exchange) breakOff() error {
	if x.r.ProtoAtLeast(1, 1) {
		panic(http.ErrAbortHandler) // net/http breaks the connection, or resets the stream
	}
	// For HTTP/1.0 a closed connection is a normal end; only a reset signals an
	// error.
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return conn.Close()
}

// fail passes the request to Caddy's error routes; the app's log has the reason.
func (x *exchange) fail() error {
	x.finish()
	x.closeIfUnread()
	if x.body != nil && x.body.tooLarge.Load() {
		return refuse(x.w, errTooLarge)
	}
	return refuse(x.w, errAppFailed)
}

// endUnanswered ends an exchange whose app ended without a response after it was
// told that its client had left or that the body can't be read.
func (x *exchange) endUnanswered() error {
	broken := x.body != nil && x.body.broken.Load()
	if !broken && x.r.Context().Err() == nil {
		return x.fail()
	}
	x.finish()
	if broken { // the client may still read
		if x.r.ProtoMajor == 1 { // on HTTP/2 this would end other streams too
			x.w.Header().Set("Connection", "close")
		}
		return refuse(x.w, errBroken)
	}
	panic(http.ErrAbortHandler)
}

// closeIfUnread announces the end of an HTTP/1 connection whose request body was
// not read completely: the rest must not be parsed as the next request.
func (x *exchange) closeIfUnread() {
	if x.body != nil && !x.body.finished.Load() && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}
