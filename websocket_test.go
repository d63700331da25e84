package caddysnake

import (
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestAClientIsNotSilentWhileNobodyReadsWhatItSends(t *testing.T) {
	w := &webSocket{inbox: make([]byte, inboxLimit)}
	w.room.L = &w.mu
	long := time.Now().Add(-time.Hour).UnixNano()
	w.received.Store(long)
	done := make(chan struct{})
	go func() {
		w.push(ws.OpText, []byte("one more"))
		close(done)
	}()
	blocked := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.blocked
	}
	for !blocked() {
		time.Sleep(time.Millisecond)
	}
	if w.received.Load() != long {
		t.Error("it has read nothing yet")
	}
	w.mu.Lock() // the app takes what there is
	w.inbox = nil
	w.room.Broadcast()
	w.mu.Unlock()
	<-done
	if blocked() || w.received.Load() == long {
		t.Error("the pings will take it for silent")
	}
}
