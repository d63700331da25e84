package caddysnake

// The open websockets of one generation of an app.

import (
	"maps"
	"slices"
	"sync"
)

type webSockets struct {
	config webSocketConfig // constant

	mu     sync.Mutex
	open   map[*webSocket]struct{}
	closed bool
}

// add registers w; false when they are being sent away.
func (s *webSockets) add(w *webSocket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*webSocket]struct{}{}
	}
	s.open[w] = struct{}{}
	return !s.closed
}

func (s *webSockets) remove(w *webSocket) {
	s.mu.Lock()
	delete(s.open, w)
	s.mu.Unlock()
}

// closeAll sends them away with code 1012, those that come later included.
func (s *webSockets) closeAll() {
	s.mu.Lock()
	s.closed = true
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	var sent sync.WaitGroup
	for _, w := range open {
		sent.Go(w.goAway)
	}
	sent.Wait()
}
