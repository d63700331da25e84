package caddysnake

// Exchanges that still run although the client of their HTTP/2 or HTTP/3 connection
// has left them. Their streams no longer count against the connection's stream
// limit, so abandoned exchanges have a limit of their own (docs/decisions/0054).

/*
#include "caddysnake.h"
*/
import "C"

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	// maxAbandoned is the number of abandoned exchanges at which a connection
	// starts no more. It equals the number of streams that a connection may have.
	maxAbandoned = 250
	// overdueAfter is how long an abandoned exchange runs undisturbed. Then, if its
	// connection is full, the app must end it.
	overdueAfter = 30 * time.Second
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

// abandonment counts the abandoned exchanges of each connection that has some.
type abandonment struct {
	total   atomic.Int64
	mu      sync.Mutex
	running map[connection]int
}

var abandoned = newAbandonment()

func newAbandonment() *abandonment { return &abandonment{running: map[connection]int{}} }

// leftExchange is a counted exchange. Its fields are guarded by the lock of in.
type leftExchange struct {
	in      *abandonment
	from    connection
	overdue func() // tells the app to end now
	timer   *time.Timer
	ended   bool
}

// count adds an exchange to the connection of r, and calls overdue when the app must
// end it. It returns nil if the exchange is not counted.
func (a *abandonment) count(r *http.Request, overdue func()) *leftExchange {
	if r.ProtoMajor < 2 { // one request per connection
		return nil
	}
	from, known := connectionOf(r)
	if !known {
		return nil
	}
	x := &leftExchange{in: a, from: from, overdue: overdue}
	a.total.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running[from]++
	x.timer = time.AfterFunc(overdueAfter, x.check)
	return x
}

// check is the timer's function. The lock keeps the exchange from ending meanwhile.
func (x *leftExchange) check() {
	x.in.mu.Lock()
	defer x.in.mu.Unlock()
	switch {
	case x.ended:
	case x.in.running[x.from] >= maxAbandoned:
		x.overdue()
	default:
		x.timer.Reset(overdueAfter)
	}
}

// end subtracts the exchange, and calls overdue no more.
func (x *leftExchange) end() {
	a := x.in
	a.total.Add(-1)
	a.mu.Lock()
	defer a.mu.Unlock()
	x.ended = true
	x.timer.Stop()
	if a.running[x.from]--; a.running[x.from] == 0 {
		delete(a.running, x.from)
	}
}

// isFull tells whether the connection of r may start no more requests.
func (a *abandonment) isFull(r *http.Request) bool {
	if r.ProtoMajor < 2 || a.total.Load() < maxAbandoned {
		return false
	}
	key, _ := connectionOf(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running[key] >= maxAbandoned
}

// countAbandoned counts the slot's exchange until the app's side has released it.
func (s *slot) countAbandoned(r *http.Request) {
	s.abandoned = abandoned.count(r, func() { s.gone(C.SNAKE_OVERDUE) })
}
