package caddysnake

// The request body: a small body travels with the head; a larger one is read when
// the app asks.

/*
#include "caddysnake.h"
#cgo noescape snake_body_ready
#cgo nocallback snake_body_ready
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"unsafe"
)

const (
	// maxInline is the largest body that is read before the app is called.
	maxInline = 64 << 10
	chunkSize = 64 << 10
)

// bodyStream reads a request body on a goroutine of its own, because the app
// may answer while the client still sends.
type bodyStream struct {
	slot     *slot
	body     io.Reader
	left     int64 // rest of the announced length, if any
	stop     chan struct{}
	finished atomic.Bool // the whole body has been read
	tooLarge atomic.Bool
	broken   atomic.Bool // the client sent a malformed or incomplete body
}

// isInline tells whether the body is small and certain to arrive. With "Expect:
// 100-continue" the app decides whether to read it, and on HTTP/2 net/http hides
// that header.
func isInline(r *http.Request) bool {
	return r.ContentLength > 0 && r.ContentLength <= maxInline &&
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

// appendInline reads the body and appends it to the head.
func appendInline(b []byte, r *http.Request) ([]byte, error) {
	head := len(b)
	n := head + int(r.ContentLength)
	if cap(b) < n {
		b = append(make([]byte, 0, n), b...)
	}
	b = b[:n]
	if _, err := io.ReadFull(r.Body, b[head:]); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, fmt.Errorf("%w: %w", errTooLarge, err)
		}
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return b, nil
}

// run reads a chunk whenever the app wants one, until stop is closed.
func (b *bodyStream) run() {
	defer b.slot.release()
	for {
		select {
		case <-b.stop:
			return
		case <-b.slot.want:
		}
		n, end := b.read()
		c := b.slot.c
		c.chunk_len, c.chunk_end = C.size_t(n), end
		C.snake_body_ready(c)
	}
}

func (b *bodyStream) read() (n int, end C.uint32_t) {
	defer func() {
		if recover() != nil { // another handler's reader may panic
			n, end = 0, C.SNAKE_LOST
		}
	}()
	c := b.slot.c
	if C.snake_slot_reserve_chunk(c, chunkSize) != 0 {
		return 0, C.SNAKE_LOST
	}
	n, err := b.body.Read(unsafe.Slice((*byte)(unsafe.Pointer(c.chunk)), chunkSize))
	b.left -= int64(n)
	var tooLarge *http.MaxBytesError
	switch {
	case n < 0 || n > chunkSize: // another handler's reader returned a wrong count
		return 0, C.SNAKE_LOST
	case err == nil:
		return n, C.SNAKE_MORE
	case errors.Is(err, io.EOF) && b.left > 0: // HTTP/3: no other layer checks the length
		return 0, C.SNAKE_LOST
	case errors.Is(err, io.EOF):
		b.finished.Store(true)
		return n, C.SNAKE_EOF
	case errors.As(err, &tooLarge):
		b.tooLarge.Store(true)
		return 0, C.SNAKE_TOO_LARGE
	default:
		b.broken.Store(true)
		return 0, C.SNAKE_LOST
	}
}
