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
	"os"
	"sync/atomic"
	"unsafe"
)

// home is a place where apps run. Its methods do not block.
type home interface {
	// addSegment returns the next segment, or nil when memory is out. Segments are
	// never freed.
	addSegment() unsafe.Pointer
	// push hands a request to its app.
	push(s *slot)
	// wake tells the app's side that it need not wait any longer for what is in
	// waits (SNAKE_WAIT_* and SNAKE_IDLE), or that the client is gone.
	wake(s *slot, waits uint32)
	// takeFile returns the file of the response, or nil. wait: the app has sent it.
	takeFile(s *slot, wait bool) *os.File
	// isTrusted tells whether nobody changes what is read from a ring meanwhile.
	isTrusted() bool
}

// inProcess is Caddy's own process.
type inProcess struct{}

func (inProcess) addSegment() unsafe.Pointer { return unsafe.Pointer(C.snake_segment_add()) }

func (inProcess) push(s *slot) { C.snake_push(s.gen.handle, C.uint32_t(s.id)) }

func (inProcess) wake(s *slot, waits uint32) { C.snake_notify(C.uint32_t(s.id), C.uint32_t(waits)) }

func (inProcess) takeFile(s *slot, _ bool) *os.File {
	if s.wire.file < 0 {
		return nil
	}
	file := os.NewFile(uintptr(s.wire.file), "response")
	s.wire.file = -1
	return file
}

func (inProcess) isTrusted() bool { return true }

// push hands the request to its generation. The slot is then shared until the app's
// side has released it.
func (s *slot) push() {
	if !s.home.isTrusted() { // it may be gone since the slot was taken
		s.pool.mu.Lock()
		lost := s.pool.lost
		if !lost {
			s.refs.Add(appRef)
		}
		s.pool.mu.Unlock()
		if lost {
			s.tell(newsLost)
			return
		}
	} else {
		s.refs.Add(appRef)
	}
	s.in.Publish()
	s.home.push(s)
}

// hasBegun tells whether the app has been called.
func (s *slot) hasBegun() bool { return atomic.LoadUint32((*uint32)(&s.wire.begun)) != 0 }

// notify wakes the app if it waits for what Go has just done: waits is a
// SNAKE_WAIT_* bit.
func (s *slot) notify(waits uint32) {
	wanted := (*uint32)(&s.wire.waits)
	if atomic.LoadUint32(wanted)&waits == 0 {
		return
	}
	if taken := atomic.AndUint32(wanted, ^waits) & waits; taken != 0 {
		s.home.wake(s, taken)
	}
}

// gone tells the app why its client is gone: SNAKE_GONE …
func (s *slot) gone(why uint32) {
	atomic.StoreUint32((*uint32)(&s.wire.gone), why)
	s.home.wake(s, atomic.SwapUint32((*uint32)(&s.wire.waits), 0))
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
