package caddysnake

// News of slots: the goroutine that takes the list of slots that the app's side has
// news about, and notifies the waiting goroutines.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// Further bits of slot.news, distinct from SNAKE_GO_*.
const (
	newsNudge = 1 << 31 // the generation is being retired
	newsCut   = 1 << 30 // the generation's time is over
	newsLost  = 1 << 29 // the worker has ended
)

// receiver gets a slot's news after its handler has returned or handed over.
type receiver interface {
	// receive takes the slot's news. It must not block.
	receive()
}

var (
	errBrokenList   = errors.New("the list of requests with news is broken; it is dropped")
	errReleaseTwice = errors.New("a request was released that no app has")
)

// readList calls take whenever C has listed something, until the file is closed. take
// returns false if the list is empty. The goroutine parks in the netpoller: the
// eventfd is edge-triggered and never read.
func readList(fd int, rung *uint32, take func() bool) (*os.File, error) {
	file := os.NewFile(uintptr(fd), "caddysnake-list")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("watching a list of the C core: %w", err)
	}
	go func() {
		_ = conn.Read(func(uintptr) bool {
			for {
				// Clear before taking, so that C announces later additions again.
				atomic.StoreUint32(rung, 0)
				if !take() {
					return false
				}
			}
		})
	}()
	return file, nil
}

// prepare makes the first segment, which has the lists.
func (p *slotPool) prepare() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open()
}

// readNews dispatches the news of all slots, which an eventfd announces.
func (p *slotPool) readNews(fd C.int) error {
	if err := p.prepare(); err != nil {
		return err
	}
	_, err := readList(int(fd), (*uint32)(&p.segments.first().rung), func() bool { return p.takeNews(logBroken) })
	return err
}

func logBroken(err error) { caddy.Log().Named(loggerName).Error(err.Error()) }

// takeNews dispatches the news that are there. It returns false if there are none.
// Only one goroutine calls it at a time.
func (p *slotPool) takeNews(broken func(error)) bool {
	newest := atomic.SwapUint32((*uint32)(&p.segments.first().up), 0)
	if newest != 0 {
		if err := p.dispatch(newest); err != nil {
			broken(err)
		}
	}
	return newest != 0
}

// dispatch passes on the news of a list of slots. newest is the index + 1 of the
// first slot on the list. It returns an error if the list or a release is broken.
func (p *slotPool) dispatch(newest uint32) (err error) {
	known := *p.view.Load()
	listed := p.listed[:0]
	for link := newest; link != 0; {
		if int(link) > len(known) || len(listed) == len(known) {
			return errBrokenList
		}
		s := known[link-1]
		listed = append(listed, s)
		link = uint32(s.wire.next_up) // Go's until it takes to_go
	}
	p.listed = listed
	for i := len(listed) - 1; i >= 0; i-- {
		err = errors.Join(err, listed[i].dispatch(atomic.SwapUint32((*uint32)(&listed[i].wire.to_go), 0)))
	}
	return err
}

// dispatch passes news to the slot's receiver or handler.
func (s *slot) dispatch(events uint32) error {
	if news := events & (C.SNAKE_GO_OUT | C.SNAKE_GO_WANT_BODY); news != 0 {
		s.tell(news)
	}
	if events&C.SNAKE_GO_RELEASED == 0 {
		return nil
	}
	if s.refs.Load() < appRef {
		return errReleaseTwice
	}
	s.drop(appRef)
	return nil
}

func (s *slot) tell(news uint32) {
	// Store before loading the receiver: a new receiver takes the news that is
	// already there.
	s.news.Or(news)
	if receiver := s.receiver.Load(); receiver != nil {
		(*receiver).receive()
		return
	}
	if news&(C.SNAKE_GO_OUT|newsLost) != 0 {
		notify(s.piece)
	}
	if news&C.SNAKE_GO_WANT_BODY != 0 {
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
