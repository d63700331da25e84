package caddysnake

// The memory that Caddy and one worker process share. Caddy believes nothing that it
// reads there: the worker's application can write anything, at any time.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// workerSegments is the number of segments of a worker: memory that costs nothing
	// until a slot is used. It limits a worker's requests and websockets.
	workerSegments = 64
	// fileTimeout is the time for a response's file, which travels on the control
	// socket, to arrive after the response.
	fileTimeout = 5 * time.Second
)

// workerHome is the home of a worker's slots.
type workerHome struct {
	memory   []byte
	file     *os.File // the memory
	down, up int      // eventfds: what wakes an event loop, and what wakes Caddy
	isWSGI   bool     // set before the first request
	segments int      // number of segments that are in use
}

// newWorkerHome makes the memory and the eventfds.
func newWorkerHome() (h *workerHome, err error) {
	h = &workerHome{down: -1, up: -1}
	defer func() {
		if err != nil {
			h.close()
			err = fmt.Errorf("making shared memory: %w", err)
		}
	}()
	size := workerSegments * int(C.snake_segment_size())
	fd, err := unix.MemfdCreate("caddysnake", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return h, err
	}
	h.file = os.NewFile(uintptr(fd), "segment")
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return h, err
	}
	// Else the worker could shrink it, and Caddy would die of SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return h, err
	}
	if h.memory, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return h, err
	}
	if h.down, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return h, err
	}
	h.up, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return h, err
}

// descriptors are what the worker's core needs, in the order of _caddysnake.attach.
func (h *workerHome) descriptors() []int { return []int{int(h.file.Fd()), h.down, h.up} }

// started closes the descriptors that only the worker needs from now on.
func (h *workerHome) started() {
	h.file.Close()
	h.file = nil
}

// close gives the memory back. No slot may be in use.
func (h *workerHome) close() {
	if h.file != nil {
		h.file.Close()
	}
	if h.memory != nil {
		_ = unix.Munmap(h.memory)
	}
	for _, fd := range []int{h.down, h.up} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (h *workerHome) first() *C.snake_segment {
	return (*C.snake_segment)(unsafe.Pointer(&h.memory[0]))
}

func (h *workerHome) addSegment() unsafe.Pointer {
	if h.segments == workerSegments {
		return nil
	}
	h.segments++
	return unsafe.Pointer(&h.memory[(h.segments-1)*int(C.snake_segment_size())])
}

func (h *workerHome) push(s *slot) {
	atomic.StoreUint32((*uint32)(&s.wire.to_py), C.SNAKE_TO_PY_NEW)
	h.list(s)
}

// list puts a slot on the app's queue, and wakes the app if it sleeps.
func (h *workerHome) list(s *slot) {
	first := h.first()
	for down := (*uint32)(&first.down); ; {
		newest := atomic.LoadUint32(down)
		s.wire.next_down = C.uint32_t(newest)
		if atomic.CompareAndSwapUint32(down, newest, s.id+1) {
			break
		}
	}
	armed := (*uint32)(&first.armed)
	switch {
	case atomic.LoadUint32(armed) == 0 || atomic.SwapUint32(armed, 0) == 0:
	case h.isWSGI:
		wakeFutex(armed, 1)
	default:
		writeEventfd(h.down)
	}
}

func (h *workerHome) wake(s *slot, waits uint32) {
	gone := atomic.LoadUint32((*uint32)(&s.wire.gone))
	if h.isWSGI {
		wakeFutex((*uint32)(&s.wire.waits), math.MaxInt32)
		return
	}
	var events uint32
	for _, e := range workerEvents {
		if waits&e.wait != 0 {
			events |= e.event
		}
	}
	if s.toldGone.Swap(gone) != gone {
		events |= C.SNAKE_TO_PY_GONE
	}
	if events != 0 && atomic.OrUint32((*uint32)(&s.wire.to_py), events) == 0 {
		h.list(s)
	}
}

// workerEvents are the events for what a loop need not wait for any longer.
var workerEvents = [...]struct{ wait, event uint32 }{
	{C.SNAKE_WAIT_IN, C.SNAKE_TO_PY_IN}, {C.SNAKE_WAIT_ROOM, C.SNAKE_TO_PY_ROOM}, {C.SNAKE_IDLE, C.SNAKE_TO_PY_IDLE},
}

func (h *workerHome) isTrusted() bool { return false }

// takeFile waits for the file if the app says that it has sent one.
func (h *workerHome) takeFile(s *slot, wait bool) *os.File {
	select {
	case file := <-s.file:
		return file
	default:
	}
	if !wait {
		return nil
	}
	select {
	case file := <-s.file:
		return file
	case <-time.After(fileTimeout):
		return nil
	}
}

// give hands a file to the request that it was sent for. A file for another request
// is closed.
func (p *slotPool) give(id, serial uint32, file *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int64(id) < int64(len(p.all)) {
		if s := p.all[id]; s.gen != nil && s.serial == serial {
			select {
			case s.file <- file:
				return
			default:
			}
		}
	}
	file.Close()
}

// wakeFutex wakes threads of another process too. It does not block.
func wakeFutex(word *uint32, count int) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, uintptr(count), 0, 0, 0)
}

// writeEventfd adds one. It does not block.
func writeEventfd(fd int) {
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// Interface guard
var _ home = (*workerHome)(nil)
