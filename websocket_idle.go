package caddysnake

// Returns the rings' memory of websockets on which nothing happens.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"time"
)

// idleAfter is how long nothing happens on a websocket before it gives its memory
// back, at least; at most twice as long.
const idleAfter = time.Second

// idleWatch looks after a generation's websockets that hold memory. A timer runs
// while there are some.
type idleWatch struct {
	mu   sync.Mutex
	busy []*webSocket
}

// idleMark is a websocket's part in the watch.
type idleMark struct {
	traffic atomic.Bool // since the last look
	watched atomic.Bool // it is in the list
}

// noteTraffic tells that something happens on the websocket.
func (w *webSocket) noteTraffic() {
	if !w.idle.traffic.Load() {
		w.idle.traffic.Store(true)
	}
	w.slot.gen.webSockets.idle.add(w)
}

// add puts the websocket on the list, once. look first clears watched, then reads
// traffic: one of both sees what happens meanwhile.
func (i *idleWatch) add(w *webSocket) {
	if w.idle.watched.Load() || w.idle.watched.Swap(true) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.busy) == 0 {
		time.AfterFunc(idleAfter, i.look)
	}
	i.busy = append(i.busy, w)
}

// look is the timer's function.
func (i *idleWatch) look() {
	i.mu.Lock()
	busy := i.busy
	i.busy = nil
	i.mu.Unlock()
	for _, w := range busy {
		w.idle.watched.Store(false)
		if w.idle.traffic.Swap(false) || !w.forgetRings() {
			i.add(w)
		}
	}
}

// forgetRings returns the memory of both rings. It returns false if one of them is
// not empty.
func (w *webSocket) forgetRings() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		return true
	}
	if !w.slot.in.IsEmpty() || !w.slot.out.IsEmpty() {
		return false
	}
	w.slot.forget(w.slot.in.Memory())
	w.slot.home.wake(w.slot, C.SNAKE_IDLE)
	return true
}
