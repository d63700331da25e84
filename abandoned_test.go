package caddysnake

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const maxAbandoned = 250 // SNAKE_MAX_ABANDONED

func requestFrom(version int, remote, client string) *http.Request {
	vars := map[string]any{caddyhttp.ClientIPVarKey: client}
	r := &http.Request{ProtoMajor: version, RemoteAddr: remote}
	return r.WithContext(context.WithValue(context.Background(), caddyhttp.VarsCtxKey, vars))
}

// newAbandonment returns an empty abandonment. Every counted exchange must end
// within the test.
func newAbandonment(t *testing.T) *abandonment {
	t.Helper()
	a := newCounters()
	t.Cleanup(func() {
		a.sweepAt = 0
		a.sweep()
		if len(a.counters) > 0 {
			t.Errorf("%d connections are left", len(a.counters))
		}
	})
	return a
}

func TestAConnectionIsFullUntilSomethingEnds(t *testing.T) {
	a := newAbandonment(t)
	r, other := requestFrom(2, "192.0.2.1:1000", "192.0.2.1"), requestFrom(2, "192.0.2.1:1001", "192.0.2.1")
	for range maxAbandoned {
		if a.isFull(r) {
			t.Fatal("full below the limit")
		}
		counter := a.count(r)
		defer endAbandoned(counter)
	}
	if !a.isFull(r) {
		t.Error("not full at the limit")
	}
	if a.isFull(other) {
		t.Error("another connection is full, too")
	}
	endAbandoned(a.counters[connection{r.RemoteAddr, "192.0.2.1"}])
	if a.isFull(r) {
		t.Error("still full after one has ended")
	}
	a.count(r)
}

func TestATrustedProxysClientsAreCountedApart(t *testing.T) {
	a := newAbandonment(t)
	for _, remote := range []string{"192.0.2.1:1000", "@"} {
		one, two := requestFrom(3, remote, "198.51.100.1"), requestFrom(3, remote, "198.51.100.2")
		for range maxAbandoned {
			counter := a.count(one)
			defer endAbandoned(counter)
		}
		if !a.isFull(one) || a.isFull(two) {
			t.Errorf("over %s: full %t, %t", remote, a.isFull(one), a.isFull(two))
		}
	}
}

func TestClientsThatNobodyTellsApartAreNotCounted(t *testing.T) {
	a := newAbandonment(t)
	for _, r := range []*http.Request{
		requestFrom(1, "192.0.2.1:1000", "192.0.2.1"),
		requestFrom(2, "@", ""),
		requestFrom(2, "@", "@"),
		{ProtoMajor: 2, RemoteAddr: "@"},
	} {
		if counter := a.count(r); counter != nil {
			t.Errorf("%d, %s: counted", r.ProtoMajor, r.RemoteAddr)
			endAbandoned(counter)
		}
	}
}

func TestCountersOfOldConnectionsAreFreed(t *testing.T) {
	a := newAbandonment(t)
	kept := a.count(requestFrom(2, "192.0.2.1:1", ""))
	for port := range 1000 {
		endAbandoned(a.count(requestFrom(2, "192.0.2.2:"+strconv.Itoa(port), "")))
	}
	if len(a.counters) > 70 || load(kept) != 1 {
		t.Errorf("%d connections, %d kept", len(a.counters), load(kept))
	}
	endAbandoned(kept)
}

func TestCountingFromEverywhere(t *testing.T) {
	a := newAbandonment(t)
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for port := range 2000 {
				r := requestFrom(2, "192.0.2.1:"+strconv.Itoa((port*n)%300), "")
				counter := a.count(r)
				a.isFull(r)
				endAbandoned(counter)
			}
		})
	}
	group.Wait()
}
