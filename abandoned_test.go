package caddysnake

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func requestFrom(version int, remote, client string) *http.Request {
	vars := map[string]any{caddyhttp.ClientIPVarKey: client}
	r := &http.Request{ProtoMajor: version, RemoteAddr: remote}
	return r.WithContext(context.WithValue(context.Background(), caddyhttp.VarsCtxKey, vars))
}

// emptyAbandonment returns an abandonment without exchanges. Every counted exchange
// must end within the test.
func emptyAbandonment(t *testing.T) *abandonment {
	t.Helper()
	a := newAbandonment()
	t.Cleanup(func() {
		if len(a.running) > 0 || a.total.Load() != 0 {
			t.Errorf("%d connections are left, with %d exchanges", len(a.running), a.total.Load())
		}
	})
	return a
}

// never is for exchanges that must not become overdue.
func never(t *testing.T) func() { return func() { t.Error("overdue") } }

func TestAConnectionIsFullUntilSomethingEnds(t *testing.T) {
	a := emptyAbandonment(t)
	r, other := requestFrom(2, "192.0.2.1:1000", "192.0.2.1"), requestFrom(2, "192.0.2.1:1001", "192.0.2.1")
	for range maxAbandoned - 1 {
		defer a.count(r, never(t)).end()
	}
	if a.isFull(r) {
		t.Error("full below the limit")
	}
	last := a.count(r, never(t))
	if !a.isFull(r) {
		t.Error("not full at the limit")
	}
	if a.isFull(other) {
		t.Error("another connection is full, too")
	}
	last.end()
	if a.isFull(r) {
		t.Error("still full after one has ended")
	}
}

func TestATrustedProxysClientsAreCountedApart(t *testing.T) {
	a := emptyAbandonment(t)
	for _, remote := range []string{"192.0.2.1:1000", "@"} {
		one, two := requestFrom(3, remote, "198.51.100.1"), requestFrom(3, remote, "198.51.100.2")
		for range maxAbandoned {
			defer a.count(one, never(t)).end()
		}
		if !a.isFull(one) || a.isFull(two) {
			t.Errorf("over %s: full %t, %t", remote, a.isFull(one), a.isFull(two))
		}
	}
}

func TestClientsThatNobodyTellsApartAreNotCounted(t *testing.T) {
	a := emptyAbandonment(t)
	for _, r := range []*http.Request{
		requestFrom(1, "192.0.2.1:1000", "192.0.2.1"),
		requestFrom(2, "@", ""),
		requestFrom(2, "@", "@"),
		{ProtoMajor: 2, RemoteAddr: "@"},
	} {
		if x := a.count(r, never(t)); x != nil {
			t.Errorf("%d, %s: counted", r.ProtoMajor, r.RemoteAddr)
			x.end()
		}
	}
}

func TestCountingFromEverywhere(t *testing.T) {
	a := emptyAbandonment(t)
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for port := range 2000 {
				r := requestFrom(2, "192.0.2.1:"+strconv.Itoa((port*n)%300), "")
				x := a.count(r, never(t))
				a.isFull(r)
				x.end()
			}
		})
	}
	group.Wait()
}

func TestAnExchangeIsOverdueOnlyOnAFullConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := emptyAbandonment(t)
		r := requestFrom(2, "192.0.2.1:1000", "192.0.2.1")
		var overdue atomic.Int32
		for range maxAbandoned - 1 {
			x := a.count(r, func() { overdue.Add(1) })
			defer x.end()
		}
		if time.Sleep(10 * overdueAfter); overdue.Load() > 0 {
			t.Errorf("%d are overdue though there is room for more", overdue.Load())
		}
		last := a.count(r, func() { overdue.Add(1) })
		if time.Sleep(overdueAfter + time.Second); overdue.Load() != maxAbandoned {
			t.Errorf("%d are overdue", overdue.Load())
		}
		last.end()
		if time.Sleep(10 * overdueAfter); overdue.Load() != maxAbandoned {
			t.Error("told twice")
		}
	})
}
