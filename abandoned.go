package caddysnake

// Exchanges that still run although the client of their HTTP/2 or HTTP/3 connection
// has left them. Their streams no longer count against the connection's stream
// limit, so abandoned exchanges have a limit of their own (docs/decisions/0054).

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

// connection identifies a client of HTTP/2 or 3. A trusted proxy's connection
// carries several clients, which the proxy names.
type connection struct{ remote, client string }

// connectionOf returns false for clients that can't be distinguished: clients of a
// Unix socket, unless a trusted proxy names them.
func connectionOf(r *http.Request) (connection, bool) {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	client, _ := vars[caddyhttp.ClientIPVarKey].(string)
	known := strings.Contains(r.RemoteAddr, ":") || client != "" && client != r.RemoteAddr
	return connection{r.RemoteAddr, client}, known
}

// abandonment holds the counters of connections with abandoned exchanges. C counts
// down. A counter at 0 has no owner and is freed by a later sweep.
type abandonment struct {
	mu       sync.Mutex
	counters map[connection]*C.snake_abandoned
	sweepAt  int // number of counters that triggers a sweep
}

var abandoned = newCounters()

func newCounters() *abandonment {
	return &abandonment{counters: map[connection]*C.snake_abandoned{}}
}

// load returns the number of a connection's abandoned exchanges that still run.
func load(counter *C.snake_abandoned) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&counter.running)))
}

// count adds an exchange to the connection of r. It returns nil if the exchange is
// not counted.
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

// endAbandoned subtracts an exchange.
func endAbandoned(counter *C.snake_abandoned) { C.snake_abandoned_end(counter) }

// sweep frees the counters at 0, each time the number of counters has doubled. The
// caller holds the lock.
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

// isFull tells whether the connection of r may start no more requests.
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
