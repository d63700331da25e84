package caddysnake

// Slots: Go's side of the requests in shared memory, and their pool.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddysnake/caddysnake/internal/ring"
)

// slot is one request on its way through Python. The handler, Python and the
// goroutine that reads a streamed body hold references. The slot returns to the
// pool when all three are released.
type slot struct {
	id   uint32    // index within its home's segments; constant
	pool *slotPool // constant, like home
	home home
	wire *C.snake_wire
	in   ring.Writer // for one goroutine at a time
	out  ring.Reader // likewise

	features uint32        // SNAKE_EARLY_HINTS …
	news     atomic.Uint32 // SNAKE_GO_* and news* bits that nobody has taken yet
	piece    chan struct{} // capacity 1: there may be records in out
	want     chan struct{} // capacity 1: the app waits for more of the body, or in has room
	refs     atomic.Int32  // 1 for each reference of Go's, and appRef
	next     *slot         // in the pool

	file     chan *os.File // capacity 1: of the response, from a worker
	toldGone atomic.Uint32 // the last value of gone that a worker's loop was told

	receiver  atomic.Pointer[receiver] // notified instead of the channels; or nil
	abandoned *leftExchange            // or nil: the handler has not left, or it is not counted

	// Guarded by the pool's lock.
	serial uint32                   // of the request
	gen    *generation              // the request's generation
	client *http.ResponseController // for a response in pieces, while its handler runs
	line   requestLine              // of the request
}

// appRef is the reference of the app's side. Go's own never add up to it, so a slot
// that no app has can't be released in an app's name.
const appRef = 1 << 16

// slotPool owns all slots of a home. Slots are never freed: both sides refer to them
// by index as long as the process lives.
type slotPool struct {
	mu       sync.Mutex
	free     *slot
	all      []*slot
	segments segments
	view     atomic.Pointer[[]*slot] // the news reader's copy of all
	listed   []*slot                 // room for the news reader's list
	freed    func()                  // called when a slot is free again; or nil
	lost     bool                    // the home is gone: lose has been called
	worker   int                     // the number of the worker; 0: Caddy's process
}

var slots = slotPool{segments: segments{home: inProcess{}}}

// get returns a slot with references of Go's, and an empty wire part and rings, for a
// request that runs on gen.
func (p *slotPool) get(gen *generation, refs int32, line requestLine) (*slot, error) {
	p.mu.Lock()
	s := p.free
	if s != nil {
		p.free = s.next
	} else if s = p.grow(); s == nil {
		p.mu.Unlock()
		return nil, errTooManySlots
	}
	s.gen = gen
	s.line = line
	s.serial++
	serial := s.serial
	s.refs.Store(refs)
	p.mu.Unlock()
	*s.wire = C.snake_wire{file: -1, serial: C.uint32_t(serial)}
	if s.toldGone.Load() != 0 {
		s.toldGone.Store(0)
	}
	s.in.Reset()
	s.out.Reset()
	s.features = 0
	return s, nil
}

// open makes the home's first segment, which has its lists. The caller holds the
// lock.
func (p *slotPool) open() error {
	if len(p.all) > 0 {
		return nil
	}
	s := p.grow()
	if s == nil {
		return errTooManySlots
	}
	p.free = s
	return nil
}

// grow adds a slot; the caller holds the lock.
func (p *slotPool) grow() *slot {
	s := &slot{
		id: uint32(len(p.all)), pool: p, home: p.segments.home,
		piece: make(chan struct{}, 1), want: make(chan struct{}, 1),
	}
	if !s.home.isTrusted() {
		s.file = make(chan *os.File, 1)
	}
	if !p.segments.place(s) {
		return nil
	}
	p.all = append(p.all, s)
	view := p.all
	p.view.Store(&view)
	return s
}

// each calls look for each slot that is in use, with the lock held, which it gives up in
// between: others wait for it.
func (p *slotPool) each(look func(*slot)) {
	known := p.view.Load()
	if known == nil {
		return
	}
	for some := range slices.Chunk(*known, C.SNAKE_SEGMENT_SLOTS) {
		p.mu.Lock()
		for _, s := range some {
			if s.gen != nil {
				look(s)
			}
		}
		p.mu.Unlock()
	}
}

// countQueued counts the requests of each generation that its app has not begun.
func (p *slotPool) countQueued() map[*generation]int {
	queued := map[*generation]int{}
	p.each(func(s *slot) {
		if s.isPushed() && !s.hasBegun() {
			queued[s.gen]++
		}
	})
	return queued
}

// isPushed tells whether the app's side has the slot.
func (s *slot) isPushed() bool { return s.refs.Load() >= appRef }

// stateName says what becomes of the request.
func (s *slot) stateName() string {
	gone := atomic.LoadUint32((*uint32)(&s.wire.gone))
	switch {
	case gone == C.SNAKE_GONE || gone == C.SNAKE_TIMED_OUT || gone == C.SNAKE_OVERDUE:
		return "left"
	case s.hasBegun():
		return "running"
	default:
		return "queued"
	}
}

// nudge tells a generation's exchanges that it is being retired, except exchanges
// with a receiver.
func (p *slotPool) nudge(gen *generation) { p.tell(gen, newsNudge, nil) }

// cut aborts the generation's remaining exchanges, including those blocked on a
// client that does not read. It returns their number.
func (p *slotPool) cut(gen *generation) int {
	over := time.Unix(1, 0)
	return p.tell(gen, newsCut, func(s *slot) {
		if s.client != nil {
			_ = s.client.SetWriteDeadline(over)
		}
	})
}

func (p *slotPool) tell(gen *generation, news uint32, also func(*slot)) (told int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.all {
		if s.gen != gen || s.receiver.Load() != nil {
			continue
		}
		s.news.Or(news)
		notify(s.piece)
		if also != nil {
			also(s)
		}
		told++
	}
	return told
}

// setClient sets the slot's response controller, or clears it with nil.
func (s *slot) setClient(client *http.ResponseController) {
	s.pool.mu.Lock()
	s.client = client
	s.pool.mu.Unlock()
}

// release drops one of Go's references.
func (s *slot) release() { s.drop(1) }

func (s *slot) drop(refs int32) {
	if s.refs.Add(-refs) > 0 {
		return
	}
	if file := s.home.takeFile(s, false); file != nil { // no handler took it
		file.Close()
	}
	if max(s.in.Made(), atomic.LoadUint32((*uint32)(&s.wire.out_made))) > keepRing {
		s.forget(s.in.Memory())
		s.forget(s.out.Memory())
	}
	if s.receiver.Load() != nil {
		s.receiver.Store(nil)
	}
	if s.abandoned != nil { // the app has ended as well
		s.abandoned.end()
		s.abandoned = nil
	}
	gen := s.gen
	p := s.pool
	p.mu.Lock()
	s.gen = nil
	s.line = requestLine{}
	// A handler that returned early may have left a message. From here on nudge
	// sends none, because gen is nil.
	select {
	case <-s.piece:
	default:
	}
	select {
	case <-s.want:
	default:
	}
	if s.news.Load() != 0 { // for most requests the load is enough
		s.news.Store(0)
	}
	s.next = p.free
	p.free = s
	p.mu.Unlock()
	if p.freed != nil {
		p.freed()
	}
	if gen != nil {
		gen.release()
	}
}

// abandon tells Python why the client is gone, and releases the slot.
func (s *slot) abandon(why uint32) {
	s.gone(why)
	s.release()
}
