package caddysnake

// Exchanges that the client of an HTTP/2 or 3 connection has left while the
// application still runs on them. Their streams no longer count against the
// connection's limit of streams, so they have a limit of their own
// (docs/decisions/0054).

/*
#include "caddysnake.h"
#cgo noescape snake_abandoned_end
#cgo nocallback snake_abandoned_end
*/
import "C"

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// connection tells the clients of HTTP/2 and 3 apart. A trusted proxy's
// connection carries several, which it names.
type connection struct{ remote, client string }

// connectionOf returns false for clients that can't be told apart: those of a
// Unix socket, unless a trusted proxy names them.
func connectionOf(r *http.Request) (connection, bool) {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	client, _ := vars[caddyhttp.ClientIPVarKey].(string)
	known := strings.Contains(r.RemoteAddr, ":") || client != "" && client != r.RemoteAddr
	return connection{r.RemoteAddr, client}, known
}

// abandonment holds the counters of the connections that have some. C counts
// down; a counter at 0 is nobody's, and freed when another one is needed.
type abandonment struct {
	mu       sync.Mutex
	counters map[connection]*C.snake_abandoned
	sweepAt  int // so many counters
}

var abandoned = newCounters()

func newCounters() *abandonment {
	return &abandonment{counters: map[connection]*C.snake_abandoned{}}
}

// load returns the number of a connection's exchanges that still run.
func load(counter *C.snake_abandoned) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&counter.running)))
}

// count adds one to the connection of r. The counter is nil if it is not counted.
func (a *abandonment) count(r *http.Request) *C.snake_abandoned {
	if r.ProtoMajor < 2 { // one request per connection
		return nil
	}
	key, known := connectionOf(r)
	if !known {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	counter := a.counters[key]
	if counter == nil {
		a.sweep()
		if counter = C.snake_abandoned_new(); counter == nil {
			return nil
		}
		a.counters[key] = counter
	}
	C.snake_abandoned_begin(counter)
	return counter
}

// endAbandoned takes one back.
func endAbandoned(counter *C.snake_abandoned) { C.snake_abandoned_end(counter) }

// sweep frees the counters at 0, whenever they may be half of all. The lock is held.
func (a *abandonment) sweep() {
	if len(a.counters) < a.sweepAt {
		return
	}
	for key, counter := range a.counters {
		if load(counter) == 0 {
			delete(a.counters, key)
			C.snake_abandoned_free(counter)
		}
	}
	a.sweepAt = max(64, 2*len(a.counters))
}

// isFull tells whether the connection of r may begin no more requests.
func (a *abandonment) isFull(r *http.Request) bool {
	if r.ProtoMajor < 2 || atomic.LoadUint32((*uint32)(unsafe.Pointer(&C.snake_abandoned_total))) < C.SNAKE_MAX_ABANDONED {
		return false
	}
	key, _ := connectionOf(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	counter := a.counters[key]
	return counter != nil && load(counter) >= C.SNAKE_MAX_ABANDONED
}
