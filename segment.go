package caddysnake

// Segments: memory that Go shares with the side that runs Python. Each has the wire
// parts and the rings of some slots (caddysnake.h).

/*
#include "caddysnake.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caddysnake/caddysnake/internal/ring"
)

// keepRing is how much of its rings' memory a slot keeps in the pool.
const keepRing = 16 << 10

// segments are all segments of a home. Slots are numbered through them.
type segments struct {
	home home
	all  []unsafe.Pointer
}

// place gives the slot with the next index its memory. It returns false when memory
// is out.
func (g *segments) place(s *slot) bool {
	n, i := int(s.id/C.SNAKE_SEGMENT_SLOTS), C.uint32_t(s.id%C.SNAKE_SEGMENT_SLOTS)
	if n == len(g.all) {
		added := g.home.addSegment()
		if added == nil {
			return false
		}
		g.all = append(g.all, added)
	}
	at := func(offset C.size_t) unsafe.Pointer { return unsafe.Add(g.all[n], uintptr(offset)) }
	s.wire = (*C.snake_wire)(at(C.snake_slot_offset(i)))
	in := unsafe.Slice((*byte)(at(C.snake_ring_offset(i, 0))), C.SNAKE_RING)
	out := unsafe.Slice((*byte)(at(C.snake_ring_offset(i, 1))), C.SNAKE_RING)
	s.in = ring.NewWriter(in, (*uint32)(&s.wire.in_made), (*uint32)(&s.wire.in_used))
	s.out = ring.NewReader(out, (*uint32)(&s.wire.out_made), (*uint32)(&s.wire.out_used))
	return true
}

// first returns the segment with the home's lists.
func (g *segments) first() *C.snake_segment { return (*C.snake_segment)(g.all[0]) }

// forget returns a ring's memory to the system; it then reads as 0. Where the system
// refuses, the memory is only kept.
func (s *slot) forget(memory []byte) {
	advice := unix.MADV_DONTNEED
	if !s.home.isTrusted() { // shared memory is also another process's
		advice = unix.MADV_REMOVE
	}
	_ = unix.Madvise(memory, advice)
}

// The constants of internal/ring are those of caddysnake.h.
var (
	_ [C.SNAKE_RESERVED]struct{}    = [ring.Reserved]struct{}{}
	_ [C.SNAKE_RECORD_HEAD]struct{} = [ring.HeadSize]struct{}{}
	_ [C.SNAKE_PAGE]struct{}        = [ring.Page]struct{}{}
	_ [C.SNAKE_SKIP]struct{}        = [ring.Skip]struct{}{}
)
