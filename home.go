package caddysnake

// Where apps run, as far as a request's slot is concerned.

/*
#include "caddysnake.h"
#cgo noescape snake_push
#cgo nocallback snake_push
#cgo noescape snake_notify
#cgo nocallback snake_notify
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// home is a place where apps run. Its methods do not block.
type home interface {
	// addSegment returns the next segment, or nil when memory is out. Segments are
	// never freed.
	addSegment() unsafe.Pointer
	// push hands a request to an app: the slot with this index.
	push(gen *generation, slot uint32)
	// wake tells the app's side that it need not wait any longer for what is in
	// waits (SNAKE_WAIT_* and SNAKE_IDLE), or that the client is gone.
	wake(slot, waits uint32)
}

// inProcess is Caddy's own process.
type inProcess struct{}

func (inProcess) addSegment() unsafe.Pointer { return unsafe.Pointer(C.snake_segment_add()) }

func (inProcess) push(gen *generation, slot uint32) { C.snake_push(gen.handle, C.uint32_t(slot)) }

func (inProcess) wake(slot, waits uint32) { C.snake_notify(C.uint32_t(slot), C.uint32_t(waits)) }

// push hands the request to its generation. The slot is then shared until the app's
// side has released it.
func (s *slot) push() {
	s.refs.Add(appRef)
	s.in.Publish()
	s.home.push(s.gen, s.id)
}

// notify wakes the app if it waits for what Go has just done: waits is a
// SNAKE_WAIT_* bit.
func (s *slot) notify(waits uint32) {
	wanted := (*uint32)(&s.wire.waits)
	if atomic.LoadUint32(wanted)&waits == 0 {
		return
	}
	if taken := atomic.AndUint32(wanted, ^waits) & waits; taken != 0 {
		s.home.wake(s.id, taken)
	}
}

// gone tells the app why its client is gone: SNAKE_GONE …
func (s *slot) gone(why uint32) {
	atomic.StoreUint32((*uint32)(&s.wire.gone), why)
	s.home.wake(s.id, atomic.SwapUint32((*uint32)(&s.wire.waits), 0))
}

// wantRoom asks the app's side to tell when it has taken something out of in. The
// caller looks again before it waits.
func (s *slot) wantRoom() { atomic.StoreUint32((*uint32)(&s.wire.room_wanted), 1) }

// giveBack gives the memory of the records that were read back to the app.
func (s *slot) giveBack() {
	s.out.Publish()
	if s.out.IsHalfFree() {
		s.notify(C.SNAKE_WAIT_ROOM)
	}
}

// Interface guard
var _ home = inProcess{}
