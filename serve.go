package caddysnake

// Serves one request: from Caddy to Python.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"errors"
	"math"
	"net/http"
	"time"
)

// serve passes r to the app and writes the app's response to w.
func (a *App) serve(w http.ResponseWriter, r *http.Request) error {
	gen, err := a.acquire()
	if errors.Is(err, errAppStopped) {
		return a.serveLate(w, r)
	}
	if err != nil {
		return a.refuse(w, r, err)
	}
	return gen.serve(w, r, time.Duration(a.config.RequestTimeout))
}

// serveLate answers a request of a server that Caddy has since replaced. Other
// handlers have delayed the request.
func (a *App) serveLate(w http.ResponseWriter, r *http.Request) error {
	successor := a.successor()
	if successor == nil {
		return refuse(w, errAppStopped)
	}
	gen, err := successor.acquire()
	if err != nil {
		return successor.refuse(w, r, err)
	}
	return gen.serve(w, r, time.Duration(a.config.RequestTimeout))
}

// serve passes r to a generation that the caller has acquired.
func (gen *generation) serve(w http.ResponseWriter, r *http.Request, timeout time.Duration) error {
	if isExtendedConnect(r) {
		gen.release()
		return refuse(w, errExtendedConnect)
	}
	s, err := slots.get(gen, 1)
	if err != nil {
		gen.release()
		return refuse(w, err)
	}
	x := exchange{w: w, r: r, slot: s}
	// Release the slot on every path: other handlers' code, behind w and r.Body,
	// may panic.
	defer x.letGo()
	if err := x.prepare(gen.isWSGI); err != nil {
		return err
	}
	s.refs.Add(1) // Python's
	if x.body != nil {
		s.refs.Add(1)
		go x.body.run()
	}
	x.pushed = true
	C.snake_push(gen.handle, s.c)
	return x.run(timeout)
}

// prepare packs the request into the slot.
func (x *exchange) prepare(forWSGI bool) error {
	r, c := x.r, x.slot.c
	c.features = 0
	if !forWSGI {
		c.features = C.uint32_t(requestFeatures(r))
	}
	if c.features&C.SNAKE_WEBSOCKET != 0 {
		if err := checkHandshake(x.w, r); err != nil {
			return err
		}
	}
	b, headers := pack(x.slot.in()[:0], r, forWSGI)
	c.header_count = C.uint32_t(headers)
	if c.features&C.SNAKE_WEBSOCKET != 0 {
		b = appendString(b, offeredSubprotocols(r))
	}
	if c.features&C.SNAKE_TLS != 0 {
		b = appendTLS(b, r)
	}
	if len(b) > math.MaxUint32 { // a field may be too long for its u32 length
		return refuse(x.w, errLongHead)
	}
	if hasOtherLength(r) {
		return refuse(x.w, errOtherLength)
	}
	c.body_kind, c.body_len = C.SNAKE_BODY_NONE, 0
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
	case isInline(r):
		c.body_kind = C.SNAKE_BODY_INLINE
		c.body_offset, c.body_len = C.size_t(len(b)), C.size_t(r.ContentLength)
		var err error
		if b, err = appendInline(b, r); err != nil {
			return refuse(x.w, err)
		}
	default:
		c.body_kind = C.SNAKE_BODY_STREAM
		if r.ContentLength < 0 {
			c.features |= C.SNAKE_UNSIZED
		}
		x.body = &bodyStream{slot: x.slot, body: r.Body, left: r.ContentLength, stop: make(chan struct{})}
		if r.ProtoMajor == 1 {
			// Otherwise net/http would consume the body when the head is written.
			_ = http.NewResponseController(x.w).EnableFullDuplex()
		}
	}
	if err := x.slot.setIn(b); err != nil {
		return refuse(x.w, err)
	}
	return nil
}
