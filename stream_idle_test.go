package caddysnake

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStillResponseGivesItsMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, home, out, in := slotNowhere(t)
		s.gen = &generation{}
		s.piece = make(chan struct{}, 1) // of this test's time, so no other test may get the slot
		s.refs.Add(1)
		x := exchange{w: httptest.NewRecorder(), r: httptest.NewRequest(http.MethodGet, "/", nil), slot: s}
		s.in.Write(recordHead, []byte("a request"), nil)
		s.in.Publish()
		if _, ok, err := in.Next(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		in.Done()
		in.Publish()
		ended := make(chan error)
		go func() { ended <- x.run() }()
		say := func(records ...testRecord) {
			for _, record := range records {
				out.Write(record.kind, record.payload, nil)
			}
			out.Publish()
			s.tell(goOut)
		}

		say(headRecord(200, 0, nil), testRecord{recordData, []byte("one")})
		if time.Sleep(idleAfter / 2); home.waits.Load() == idle || s.in.Memory()[0] == 0 {
			t.Error("the memory was given back at once")
		}
		if time.Sleep(3 * idleAfter); home.waits.Load() != idle {
			t.Errorf("the app was told %d", home.waits.Load())
		}
		if s.in.Memory()[0] != 0 {
			t.Error("the ring was kept")
		}
		wakes := home.wakes.Load()
		if time.Sleep(10 * idleAfter); home.wakes.Load() != wakes {
			t.Error("it is still looked after")
		}
		say(testRecord{recordData, []byte("two")})
		if time.Sleep(3 * idleAfter); home.wakes.Load() != wakes+1 {
			t.Error("it is not looked after again")
		}
		say(testRecord{recordEnd, nil})
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
