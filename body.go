package caddysnake

// The request body: small ones travel with the head, others are read when the
// app asks.

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
	// maxInline is the size up to which a body is read before the app is called.
	maxInline = 64 << 10
	chunkSize = 64 << 10
)

// bodyStream reads a request body on a goroutine of its own, because the app
// may answer while the client still sends.
type bodyStream struct {
	slot     *slot
	body     io.Reader
	left     int64 // of the announced length, if there is one
	stop     chan struct{}
	finished atomic.Bool // everything has been read
	tooLarge atomic.Bool
	broken   atomic.Bool // by the client: it is malformed, or ends early
}

// isInline tells whether the body is small and certain to come: with
// "Expect: 100-continue", reading it is the app's decision, and on HTTP/2
// net/http does not tell whether the client expects that.
func isInline(r *http.Request) bool {
	return r.ContentLength > 0 && r.ContentLength <= maxInline &&
		r.ProtoMajor == 1 && len(r.Header["Expect"]) == 0
}

// hasOtherLength tells whether a request of HTTP/2 announces a length that net/http
// has not gone by: it looks at the first header only, not at all if the request ends
// with its head, and takes what is no number for 0.
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

// appendInline reads the body behind the head.
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

// run serves the app's wishes for more until stop is closed.
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
		if recover() != nil { // likewise
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
	case n < 0 || n > chunkSize: // of a body that another handler has wrapped
		return 0, C.SNAKE_LOST
	case err == nil:
		return n, C.SNAKE_MORE
	case errors.Is(err, io.EOF) && b.left > 0: // of HTTP/3, where nobody else counts
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
