package caddysnake

// Slots: the Go side of the request structs in C memory, and the goroutine that
// reads C's completion list and notifies the waiting goroutines.

/*
#include "caddysnake.h"
#cgo noescape snake_gone
#cgo nocallback snake_gone
#cgo noescape snake_ack
#cgo nocallback snake_ack
*/
import "C"

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// slot is one request on its way through Python. The handler, Python and the
// goroutine that reads a streamed body hold references. The slot returns to the
// pool when all three are released.
type slot struct {
	c     *C.snake_slot
	news  atomic.Uint32 // SNAKE_GO_* and news* bits that nobody has taken yet
	piece chan struct{} // capacity 1: out holds a piece of the response, or hints are there
	want  chan struct{} // capacity 1: the app waits for a chunk of the body
	refs  atomic.Int32
	next  *slot // in the pool

	receiver atomic.Pointer[receiver] // notified instead of the channels; or nil

	// Guarded by the pool's lock.
	gen    *generation              // the request's generation; nil for a command
	client *http.ResponseController // for a response in pieces, while its handler runs
}

// receiver gets a slot's news after its handler has returned or handed over.
type receiver interface {
	// receive takes the slot's news. It must not block.
	receive()
}

// keepBuffer is the largest buffer that a pooled slot keeps.
const keepBuffer = 256 << 10

// slotPool owns all slots. Slots are never freed: C and Go refer to them by index
// and address as long as the process lives.
type slotPool struct {
	mu   sync.Mutex
	free *slot
	all  []*slot
	view atomic.Pointer[[]*slot] // the completion reader's copy of all
}

var slots slotPool

func (p *slotPool) get(gen *generation, refs int32) (*slot, error) {
	p.mu.Lock()
	s := p.free
	if s != nil {
		p.free = s.next
	} else if s = p.grow(); s == nil {
		p.mu.Unlock()
		return nil, errTooManySlots
	}
	s.gen = gen
	s.refs.Store(refs)
	p.mu.Unlock()
	return s, nil
}

// grow adds a slot; the caller holds the lock.
func (p *slotPool) grow() *slot {
	c := C.snake_slot_new(C.uint32_t(len(p.all)))
	if c == nil {
		return nil
	}
	s := &slot{c: c, piece: make(chan struct{}, 1), want: make(chan struct{}, 1)}
	p.all = append(p.all, s)
	view := p.all
	p.view.Store(&view)
	return s
}

// Further bits of slot.news, distinct from SNAKE_GO_*.
const (
	newsNudge = 1 << 31 // the generation is being retired
	newsCut   = 1 << 30 // the generation's time is over
)

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
func (p *slotPool) setClient(s *slot, client *http.ResponseController) {
	p.mu.Lock()
	s.client = client
	p.mu.Unlock()
}

// release drops one reference.
func (s *slot) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	if file := s.takeFile(); file != nil { // no handler took it
		file.Close()
	}
	if s.c.in_cap > keepBuffer || s.c.out_cap > keepBuffer || s.c.chunk != nil {
		C.snake_slot_trim(s.c)
	}
	if s.c.hints != nil {
		C.snake_hints_free(s.takeHints())
	}
	if s.receiver.Load() != nil {
		s.receiver.Store(nil)
	}
	if s.c.abandoned != nil { // the app has ended as well
		endAbandoned(s.c.abandoned)
		s.c.abandoned = nil
	}
	gen := s.gen
	slots.mu.Lock()
	s.gen = nil
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
	s.next = slots.free
	slots.free = s
	slots.mu.Unlock()
	if gen != nil {
		gen.release()
	}
}

// abandon tells Python why the client is gone, and releases the slot.
func (s *slot) abandon(why C.uint32_t) {
	C.snake_gone(s.c, why)
	s.release()
}

// takeHints returns the hints that the app has sent, newest first.
func (s *slot) takeHints() *C.snake_hint {
	return (*C.snake_hint)(atomic.SwapPointer((*unsafe.Pointer)(unsafe.Pointer(&s.c.hints)), nil))
}

// takeFile returns the file that came with the response, if there is one.
func (s *slot) takeFile() *os.File {
	if s.c.file_fd < 0 {
		return nil
	}
	file := os.NewFile(uintptr(s.c.file_fd), "response")
	s.c.file_fd = -1
	return file
}

func (s *slot) in() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(s.c.in)), int(s.c.in_cap))
}

// piece is a piece of the response, split into its parts.
type piece struct{ head, body, trailers []byte }

// out returns the piece that C has written. ok is false when its lengths contradict
// each other.
func (s *slot) out() (p piece, ok bool) {
	c := s.c
	if c.out_len > c.out_cap || c.out_head_len > c.out_len {
		return piece{}, false
	}
	if c.out_flags&C.SNAKE_OUT_FILE != 0 && (c.file_offset < 0 || c.file_len < 0) {
		return piece{}, false
	}
	out := unsafe.Slice((*byte)(unsafe.Pointer(c.out)), int(c.out_len))
	p = piece{head: out[:c.out_head_len], body: out[c.out_head_len:]}
	if c.out_flags&C.SNAKE_OUT_TRAILERS != 0 {
		if c.out_body_end < c.out_head_len || c.out_body_end > c.out_len {
			return piece{}, false
		}
		p.body, p.trailers = out[c.out_head_len:c.out_body_end], out[c.out_body_end:]
	}
	return p, true
}

// setIn stores b, which may have outgrown the C buffer that it began in.
func (s *slot) setIn(b []byte) error {
	if len(b) > int(s.c.in_cap) {
		if C.snake_slot_reserve_in(s.c, C.size_t(len(b))) != 0 {
			return errTooManySlots
		}
		copy(s.in(), b)
	}
	s.c.in_len = C.size_t(len(b))
	return nil
}

// readList calls take whenever C has listed something, until the process ends. take
// returns false if the list is empty. The goroutine parks in the netpoller: the
// eventfd is edge-triggered and never read.
func readList(list C.snake_list, take func() bool) error {
	file := os.NewFile(uintptr(list.fd), "caddysnake-list")
	conn, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watching a list of the C core: %w", err)
	}
	go func() {
		_ = conn.Read(func(uintptr) bool {
			for {
				// Clear before taking, so that C announces later additions again.
				atomic.StoreUint32((*uint32)(unsafe.Pointer(list.rung)), 0)
				if !take() {
					return false
				}
			}
		})
	}()
	return nil
}

// dispatch notifies the waiters of a list of slots with news. The list is newest
// first.
func dispatch(list unsafe.Pointer) {
	var oldest *C.snake_slot
	for c := (*C.snake_slot)(list); c != nil; {
		// Go owns the links until it takes to_go.
		next := c.done_next
		c.done_next = oldest
		oldest, c = c, next
	}
	view := *slots.view.Load()
	for c := oldest; c != nil; {
		next := c.done_next
		events := atomic.SwapUint32((*uint32)(unsafe.Pointer(&c.to_go)), 0)
		if int(c.id) >= len(view) || view[c.id].c != c {
			caddy.Log().Named(loggerName).Error("completion of an unknown request", zap.Uint32("id", uint32(c.id)))
			c = next
			continue
		}
		s := view[c.id]
		s.dispatch(events)
		if events&C.SNAKE_GO_RELEASED != 0 {
			s.release()
		}
		c = next
	}
}

// dispatch passes news to the slot's receiver or handler.
func (s *slot) dispatch(events uint32) {
	events &^= C.SNAKE_GO_RELEASED
	if events == 0 {
		return
	}
	// Store before loading the receiver: a new receiver takes the news that is
	// already there.
	s.news.Or(events)
	if receiver := s.receiver.Load(); receiver != nil {
		(*receiver).receive()
		return
	}
	if events&(C.SNAKE_GO_RESPONSE|C.SNAKE_GO_HINT) != 0 {
		notify(s.piece)
	}
	if events&C.SNAKE_GO_WANT_BODY != 0 {
		notify(s.want)
	}
}

// take returns the news in mask and clears it; other bits stay.
func (s *slot) take(mask uint32) uint32 { return s.news.And(^mask) & mask }

// setReceiver sends all later news to r, and the news that nobody has taken yet.
func (s *slot) setReceiver(r receiver) {
	s.receiver.Store(&r)
	r.receive()
}

// notify leaves a message. A message that nobody has taken yet covers this one too.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
