package caddysnake

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddysnake/caddysnake/internal/ring"
)

// nextRecord waits for the next record of a request.
func nextRecord(t *testing.T, s *slot, in *ring.Reader) ring.Record {
	t.Helper()
	for {
		record, ok, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return record
		}
		if in.Publish(); atomic.SwapUint32((*uint32)(&s.wire.room_wanted), 0) != 0 {
			s.tell(goWantBody)
		}
		runtime.Gosched()
	}
}

func streamOf(t *testing.T, body io.Reader, length int64) (*bodyStream, *ring.Reader) {
	t.Helper()
	s, _, _, in := slotNowhere(t)
	s.refs.Add(1)
	t.Cleanup(s.release)
	return &bodyStream{slot: s, body: body, left: length, stop: make(chan struct{})}, in
}

func TestABodyIsReadAheadOnceItIsWanted(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcde"), 50000)
	reader := bytes.NewReader(want)
	b, in := streamOf(t, reader, -1)
	go b.run()
	runtime.Gosched()
	if reader.Len() < len(want) {
		t.Error("nobody has asked for it")
	}
	b.slot.tell(goWantBody)
	var got []byte
	for {
		record := nextRecord(t, b.slot, in)
		in.Done()
		if record.Kind == recordEnd {
			break
		}
		if record.Kind != recordData {
			t.Fatalf("a record of kind %d", record.Kind)
		}
		got = record.AppendTo(got)
	}
	if !bytes.Equal(got, want) || !b.finished.Load() {
		t.Errorf("%d bytes have arrived, finished: %t", len(got), b.finished.Load())
	}
}

func TestTheEndOfABodyIsARecord(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		length int64
		kind   uint32
	}{
		"complete":  {io.EOF, -1, recordEnd},
		"too short": {io.EOF, 10, 4},
		"broken":    {errors.New("reset"), -1, 4},
		"too large": {&http.MaxBytesError{Limit: 1}, -1, 5},
	} {
		b, in := streamOf(t, io.MultiReader(strings.NewReader("abc"), failing{c.err}), c.length)
		go b.run()
		b.slot.tell(goWantBody)
		record := nextRecord(t, b.slot, in)
		in.Done()
		if record.Kind != recordData || string(record.Payload()) != "abc" {
			t.Errorf("%s: a record of kind %d", name, record.Kind)
		}
		if record := nextRecord(t, b.slot, in); record.Kind != c.kind || record.Len() > 0 {
			t.Errorf("%s: a record of kind %d", name, record.Kind)
		}
	}
}

func TestAPanicOfTheBodysReaderLosesTheBody(t *testing.T) {
	b, in := streamOf(t, panicking{}, -1)
	go b.run()
	b.slot.tell(goWantBody)
	if record := nextRecord(t, b.slot, in); record.Kind != 4 {
		t.Errorf("a record of kind %d", record.Kind)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestASmallBodyFollowsItsHead(t *testing.T) {
	s, _, _, in := slotNowhere(t)
	defer s.release()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("hello"))
	x := &exchange{w: httptest.NewRecorder(), r: r, slot: s}
	if err := x.prepare(false); err != nil {
		t.Fatal(err)
	}
	s.in.Publish()
	head := nextRecord(t, s, in)
	c := cursor[[]byte]{left: head.Payload()}
	headers, features := c.uint32(), c.uint32()
	unpackRequest(t, c.left, uint32(headers), false, false)
	if in.Done(); head.Kind != recordHead || features&96 != 32 {
		t.Errorf("a record of kind %d, features %d", head.Kind, features)
	}
	body := nextRecord(t, s, in)
	if in.Done(); body.Kind != recordData || string(body.Payload()) != "hello" {
		t.Errorf("a record of kind %d", body.Kind)
	}
	if end := nextRecord(t, s, in); end.Kind != recordEnd {
		t.Errorf("a record of kind %d", end.Kind)
	}
}

func TestABodyThatDoesNotFitBehindItsHeadIsStreamed(t *testing.T) {
	s, _, _, _ := slotNowhere(t)
	defer s.release()
	x := &exchange{
		w: httptest.NewRecorder(), slot: s,
		r: httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, 65200))),
	}
	if err := x.prepare(true); err != nil || x.body == nil || s.features&96 != 64 {
		t.Errorf("%v, features %d", err, s.features)
	}
}

func TestAHeadLongerThanItsRingIsRefused(t *testing.T) {
	for length, fits := range map[int]bool{60000: true, 65200: false, 200000: false} {
		s, _, _, _ := slotNowhere(t)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Long", strings.Repeat("x", length))
		x := &exchange{w: httptest.NewRecorder(), r: r, slot: s}
		if err := x.prepare(false); (err == nil) != fits || err != nil && !errors.Is(err, errLongHead) {
			t.Errorf("%d bytes: %v", length, err)
		}
		s.release()
	}
}
