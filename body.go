package caddysnake

// The request body: a small body travels with the head; a larger one is read into
// the ring from when the app first asks.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/caddysnake/caddysnake/internal/ring"
)

// minRead is the least room in the ring for which the client is read.
const minRead = 4 << 10

// bodyStream reads a request body on a goroutine of its own, because the app
// may answer while the client still sends.
type bodyStream struct {
	slot     *slot
	body     io.Reader
	left     int64 // rest of the announced length, if any
	stop     chan struct{}
	begun    atomic.Bool // the app has asked for the body
	finished atomic.Bool // the whole body has been read
	tooLarge atomic.Bool
	broken   atomic.Bool // the client sent a malformed or incomplete body
}

// isInline tells whether the body is certain to arrive, and fits into room. With "Expect:
// 100-continue" the app decides whether to read it, and on HTTP/2 net/http hides
// that header.
func isInline(r *http.Request, room int) bool {
	return r.ContentLength > 0 && r.ContentLength <= int64(room) &&
		r.ProtoMajor == 1 && len(r.Header["Expect"]) == 0
}

// hasOtherLength tells whether an HTTP/2 request announces a length other than the
// one that net/http uses. net/http reads only the first header, ignores it if the
// request ends with its head, and treats an invalid number as 0.
func hasOtherLength(r *http.Request) bool {
	if r.ProtoMajor != 2 {
		return false
	}
	values := r.Header["Content-Length"]
	for _, value := range values {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || value != values[0] || n > 0 && r.ContentLength == 0 {
			return true
		}
	}
	return false
}

// readInline reads the whole body into the ring, where it has room.
func readInline(in *ring.Writer, r *http.Request) error {
	n := int(r.ContentLength)
	if err := readWhole(r, in.Reserve(n)[:n]); err != nil {
		return err
	}
	in.Commit(C.SNAKE_DATA, n)
	in.Write(C.SNAKE_END, nil, nil)
	return nil
}

// readWhole fills b with the body, which has that length.
func readWhole(r *http.Request, b []byte) error {
	_, err := io.ReadFull(r.Body, b)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: %w", errTooLarge, err)
	default:
		return fmt.Errorf("%w: %w", errBroken, err)
	}
}

// smallBody is the largest body that is read before a worker has a place for the
// request.
const smallBody = 48 << 10

// readSmallBody reads a body that is small, and keeps it for every try.
func (x *exchange) readSmallBody() error {
	if !isInline(x.r, smallBody) {
		return nil
	}
	x.small = make([]byte, x.r.ContentLength)
	return readWhole(x.r, x.small)
}

// run reads ahead from when the app first wants the body, until the body's end or
// until stop is closed.
func (b *bodyStream) run() {
	defer b.slot.release()
	if !b.wait() {
		return
	}
	b.begun.Store(true)
	for room := b.room(); room != nil; room = b.room() {
		if b.fill(room) {
			return
		}
	}
}

// wait waits for the app. It returns false when stop is closed.
func (b *bodyStream) wait() bool {
	select {
	case <-b.stop:
		return false
	case <-b.slot.want:
		return true
	}
}

// room waits for room in the ring. It returns nil when stop is closed.
func (b *bodyStream) room() []byte {
	s := b.slot
	for {
		select {
		case <-b.stop:
			return nil
		default:
		}
		if room := s.in.Reserve(minRead); room != nil {
			return room
		}
		s.wantRoom()
		if room := s.in.Reserve(minRead); room != nil { // since the first look
			return room
		}
		if !b.wait() {
			return nil
		}
	}
}

// fill passes on one read of the body. It returns true at the body's end.
func (b *bodyStream) fill(room []byte) bool {
	in := &b.slot.in
	n, end := b.read(room)
	if n > 0 {
		in.Commit(C.SNAKE_DATA, n)
	}
	if end != 0 {
		in.Write(end, nil, nil)
	}
	in.Publish()
	b.slot.notify(C.SNAKE_WAIT_IN)
	return end != 0
}

// read reads into room. end is the kind of the record that ends the body, or 0.
func (b *bodyStream) read(room []byte) (n int, end uint32) {
	defer func() {
		if recover() != nil { // another handler's reader may panic
			n, end = 0, C.SNAKE_LOST
		}
	}()
	n, err := b.body.Read(room)
	b.left -= int64(n)
	var tooLarge *http.MaxBytesError
	switch {
	case n < 0 || n > len(room): // another handler's reader returned a wrong count
		return 0, C.SNAKE_LOST
	case err == nil:
		return n, 0
	case errors.Is(err, io.EOF) && b.left > 0: // HTTP/3: no other layer checks the length
		return 0, C.SNAKE_LOST
	case errors.Is(err, io.EOF):
		b.finished.Store(true)
		return n, C.SNAKE_END
	case errors.As(err, &tooLarge):
		b.tooLarge.Store(true)
		return 0, C.SNAKE_TOO_LARGE
	default:
		b.broken.Store(true)
		return 0, C.SNAKE_LOST
	}
}
