package caddysnake

// Returns the rings' memory of ASGI responses to which nothing is added, such as event
// streams on which nothing happens.

/*
#include "caddysnake.h"
*/
import "C"

import "time"

// streamWatch looks after the response of one exchange. The zero value is ready. Only the
// exchange's goroutine uses it.
type streamWatch struct {
	timer  *time.Timer // nil: the response has not begun
	fired  <-chan time.Time
	pieces int  // of the response, at the last look
	still  bool // the memory was given back, and the timer rests
}

// note is called after a part of the response, if it is not the last one.
func (s *streamWatch) note(x *exchange) {
	switch {
	case x.slot.gen.isWSGI: // a thread costs far more than its rings
	case s.timer == nil:
		s.timer = time.NewTimer(idleAfter)
		s.fired = s.timer.C
	case s.still:
		s.still = false
		s.timer.Reset(idleAfter)
	}
}

// look is called when the timer has fired.
func (s *streamWatch) look(x *exchange) {
	if s.pieces != x.pieces {
		s.pieces = x.pieces
		s.timer.Reset(idleAfter)
		return
	}
	s.still = true
	if x.body == nil && x.slot.in.IsEmpty() {
		x.slot.forget(x.slot.in.Memory())
	}
	x.slot.home.wake(x.slot, C.SNAKE_IDLE)
}

func (s *streamWatch) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
