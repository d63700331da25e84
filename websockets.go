package caddysnake

// The open websockets of one generation of an app.

import (
	"maps"
	"slices"
	"sync"
)

type webSockets struct {
	config webSocketConfig // constant
	idle   idleWatch

	mu     sync.Mutex
	open   map[*webSocket]struct{}
	closed bool
}

// add registers w. It returns false when the websockets are being closed.
func (s *webSockets) add(w *webSocket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*webSocket]struct{}{}
	}
	s.open[w] = struct{}{}
	return !s.closed
}

func (s *webSockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *webSockets) remove(w *webSocket) {
	s.mu.Lock()
	delete(s.open, w)
	s.mu.Unlock()
}

// closeAll closes all websockets with code 1012, including those that are added
// later.
func (s *webSockets) closeAll() {
	s.mu.Lock()
	s.closed = true
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	sendAway(open)
}

// closeOf closes the websockets whose slots are in a pool with code 1012.
func (s *webSockets) closeOf(pool *slotPool) {
	s.mu.Lock()
	var open []*webSocket
	for w := range s.open {
		if w.slot.pool == pool {
			open = append(open, w)
		}
	}
	s.mu.Unlock()
	sendAway(open)
}

func sendAway(open []*webSocket) {
	var sent sync.WaitGroup
	for _, w := range open {
		sent.Go(w.goAway)
	}
	sent.Wait()
}
