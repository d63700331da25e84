package caddysnake

// Serves one request: from Caddy to Python.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"time"
)

// headFacts is the size of what precedes a packed head: its number of headers and
// the request's features.
const headFacts = 8

// serve passes r to the app and writes the app's response to w.
func (a *App) serve(w http.ResponseWriter, r *http.Request) error {
	gen, err := a.acquire()
	if errors.Is(err, errAppStopped) {
		return a.serveLate(w, r)
	}
	if err != nil {
		return a.meter.refused(a.refuse(w, r, err))
	}
	return gen.serve(w, r, time.Duration(a.config.RequestTimeout))
}

// serveLate answers a request of a server that Caddy has since replaced. Other
// handlers have delayed the request.
func (a *App) serveLate(w http.ResponseWriter, r *http.Request) error {
	successor := a.successor()
	if successor == nil {
		return a.meter.refused(refuse(w, errAppStopped))
	}
	gen, err := successor.acquire()
	if err != nil {
		return a.meter.refused(successor.refuse(w, r, err))
	}
	return gen.serve(w, r, time.Duration(a.config.RequestTimeout))
}

// serve passes r to a generation that the caller has acquired.
func (gen *generation) serve(w http.ResponseWriter, r *http.Request, timeout time.Duration) (err error) {
	x := exchange{w: w, r: r, measured: newMeasurement(r)}
	if x.measured != nil {
		defer func() { x.measured.end(gen, err) }()
	}
	return gen.answer(x, timeout)
}

// answer is serve for a request that is not counted unless x.measured is set.
func (gen *generation) answer(x exchange, timeout time.Duration) (err error) {
	w, r := x.w, x.r
	if isExtendedConnect(r) {
		gen.release()
		return refuse(w, errExtendedConnect)
	}
	if gen.requestID {
		identify(r)
	}
	if timeout > 0 {
		x.deadline = time.Now().Add(timeout)
	}
	if gen.workers != nil { // a slow client must not occupy a worker's place
		if err := x.readSmallBody(); err != nil {
			gen.release()
			return refuse(w, err)
		}
		x.measured.arrive()
	}
	for x.tries = 0; ; x.tries++ {
		again, err := gen.tryOn(x)
		if !again {
			return err
		}
	}
}

// maxTries limits on how many workers, after the first, a request is tried.
const maxTries = 5

// tryOn passes the request to one worker, or to the app in Caddy's process. again is
// true, with the generation acquired, if the worker has died before the app was called.
func (gen *generation) tryOn(x exchange) (again bool, err error) {
	x.slot, err = gen.takeSlot(x.r, x.deadline)
	if err != nil {
		gen.release()
		x.closeIfUnread()
		return false, refuse(x.w, err)
	}
	s := x.slot
	// Release the slot on every path: other handlers' code, behind w and r.Body,
	// may panic.
	defer x.letGo()
	if err := x.prepare(gen.isWSGI); err != nil {
		x.measured.refused()
		return false, err
	}
	if gen.workers == nil { // its queue begins here
		x.measured.arrive()
	}
	if x.body != nil {
		s.refs.Add(1)
	}
	x.pushed = true
	s.push()
	if x.body != nil {
		go x.body.run()
	}
	err = x.run()
	return x.again, err
}

// prepare packs the request into the slot.
func (x *exchange) prepare(forWSGI bool) error {
	r, s := x.r, x.slot
	if !forWSGI {
		s.features = requestFeatures(r)
	}
	if x.measured != nil {
		s.features |= C.SNAKE_TIMED
	}
	if s.features&C.SNAKE_WEBSOCKET != 0 {
		if err := checkHandshake(x.w, r); err != nil {
			return err
		}
	}
	room := s.in.Reserve(headFacts)
	b, headers := pack(room[:headFacts], r, forWSGI)
	if s.features&C.SNAKE_WEBSOCKET != 0 {
		b = appendString(b, offeredSubprotocols(r))
	}
	if s.features&C.SNAKE_TLS != 0 {
		b = appendTLS(b, r)
	}
	if !s.in.Commit(C.SNAKE_HEAD, len(b)) { // b has outgrown the ring
		return refuse(x.w, errLongHead)
	}
	if hasOtherLength(r) {
		return refuse(x.w, errOtherLength)
	}
	if err := x.prepareBody(); err != nil {
		return refuse(x.w, err)
	}
	binary.NativeEndian.PutUint32(room, headers)
	binary.NativeEndian.PutUint32(room[4:], s.features)
	return nil
}

// prepareBody puts a small body behind the head; a larger one will be streamed.
func (x *exchange) prepareBody() error {
	r, s := x.r, x.slot
	x.body = nil
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return nil
	case x.small != nil && len(x.small) <= s.in.Room():
		s.features |= C.SNAKE_BODY_WHOLE
		s.in.Write(C.SNAKE_DATA, x.small, nil)
		s.in.Write(C.SNAKE_END, nil, nil)
		return nil
	case x.small == nil && isInline(r, s.in.Room()):
		s.features |= C.SNAKE_BODY_WHOLE
		return readInline(&s.in, r)
	}
	s.features |= C.SNAKE_BODY_STREAM
	if r.ContentLength < 0 {
		s.features |= C.SNAKE_UNSIZED
	}
	x.body = &bodyStream{slot: s, body: r.Body, left: r.ContentLength, stop: make(chan struct{})}
	if x.small != nil { // it does not fit behind a long head
		x.body.body = bytes.NewReader(x.small)
		return nil
	}
	if r.ProtoMajor == 1 {
		// Otherwise net/http would consume the body when the head is written.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	return nil
}
