package caddysnake

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// panicking is a faulty body wrapper of another handler.
type panicking struct{ io.Reader }

func (panicking) Read([]byte) (int, error) { panic("planted") }
func (panicking) Close() error             { return nil }

// TestAPanicGivesTheSlotBack makes a handler panic before Python has the request.
func TestAPanicGivesTheSlotBack(t *testing.T) {
	gen := &generation{drained: make(chan struct{})}
	gen.refs.Store(2)   // the app's, and the one from acquire
	used := usedSlots() // by other tests
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
	r.Body = panicking{}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed, which is for net/http to see")
			}
		}()
		_ = gen.serve(httptest.NewRecorder(), r, 0)
	}()
	if refs := gen.refs.Load(); refs != 1 {
		t.Errorf("the generation counts %d references, want 1", refs)
	}
	if now := usedSlots(); now != used {
		t.Errorf("%d slots are in use, %d were", now, used)
	}
}

func usedSlots() (used int) {
	slots.mu.Lock()
	defer slots.mu.Unlock()
	for _, s := range slots.all {
		if s.gen != nil {
			used++
		}
	}
	return used
}
