package caddysnake

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Values of caddysnake.h; a test can't include it.
const (
	outHead, outEnd, outFile, outTrailers = 1, 2, 16, 32
	featureWebSocket                      = 8
)

func packHeaders(pairs ...string) (packed []byte) {
	for i := 0; i < len(pairs); i += 2 {
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(pairs[i])))
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(pairs[i+1])))
		packed = append(append(packed, pairs[i]...), pairs[i+1]...)
	}
	return packed
}

func TestHeadersAreUnpackedWholeOrNotAtAll(t *testing.T) {
	packed := packHeaders("content-type", "text/plain", "X-A", "")
	headers, ok := unpackHeaders(packed, 2)
	if !ok || !slices.Equal(headers.names, []string{"Content-Type", "X-A"}) || !slices.Equal(headers.values, []string{"text/plain", ""}) {
		t.Errorf("%v, %v", headers, ok)
	}
	if headers, ok := unpackHeaders(nil, 0); !ok || len(headers.names) > 0 {
		t.Errorf("none: %v, %v", headers, ok)
	}
	for name, c := range map[string]struct {
		packed []byte
		n      int
	}{
		"one header too few":  {packed, 3},
		"one header too many": {packed, 1},
		"truncated":           {packed[:len(packed)-1], 2},
		"a negative count":    {packed, -1},
		"a huge count":        {packed, 1 << 31},
		"a long name":         {append([]byte{255, 255, 255, 255}, make([]byte, 8)...), 1},
		"a long value":        {append([]byte{1, 0, 0, 0, 255, 255, 255, 255}, make([]byte, 8)...), 1},
	} {
		if headers, ok := unpackHeaders(c.packed, c.n); ok {
			t.Errorf("%s: %v", name, headers)
		}
	}
}

func TestLinksOfAHintAreUnpackedWholeOrNotAtAll(t *testing.T) {
	if links, ok := unpackLinks([]byte("\x01\x00\x00\x00a\x02\x00\x00\x00bc")); !ok || !slices.Equal(links, []string{"a", "bc"}) {
		t.Errorf("%q, %v", links, ok)
	}
	for _, packed := range []string{"\x01", "\x02\x00\x00\x00a", "\xff\xff\xff\xffa"} {
		if links, ok := unpackLinks([]byte(packed)); ok {
			t.Errorf("%q: %q", packed, links)
		}
	}
}

func TestARecordWhoseSourceDoesNotFitIsAllMessage(t *testing.T) {
	for n, want := range map[int][2]string{2: {"ab", "cd"}, 4: {"abcd", ""}, 5: {"", "abcd"}, -1: {"", "abcd"}} {
		if source, message := splitRecord([]byte("abcd"), n); source != want[0] || message != want[1] {
			t.Errorf("%d: %q, %q", n, source, message)
		}
	}
}

// set assigns an int to a field of a C type.
func set[T ~uint32 | ~uint64, N int | uint32](field *T, n N) { *field = T(n) }

func exchangeWithPiece(t *testing.T, out []byte, flags int) (*exchange, *httptest.ResponseRecorder) {
	t.Helper()
	s, err := slots.get(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := s.c
	if len(out) > int(c.out_cap) {
		t.Fatal("too much")
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(c.out)), c.out_cap), out)
	c.features, c.out_status, c.out_header_count, c.out_trailer_count = 0, 200, 0, 0
	c.out_head_len, c.out_body_end, c.file_len, c.file_offset = 0, 0, 0, 0
	set(&c.out_len, len(out))
	set(&c.out_flags, flags)
	t.Cleanup(func() { c.out_flags, c.features, c.file_fd = 0, 0, -1 })
	recorder := httptest.NewRecorder()
	return &exchange{w: recorder, r: httptest.NewRequest(http.MethodGet, "/", nil), slot: s}, recorder
}

func isPooled(s *slot) bool {
	slots.mu.Lock()
	defer slots.mu.Unlock()
	for free := slots.free; free != nil; free = free.next {
		if free == s {
			return true
		}
	}
	return false
}

func TestAPieceThatCannotBeIsAnsweredWith500AndGivesItsSlotBack(t *testing.T) {
	packed := packHeaders("Content-Length", "2", "X-A", "b")
	for name, c := range map[string]struct {
		flags int
		spoil func(s *slot)
	}{
		"longer than its buffer":          {outHead | outEnd, func(s *slot) { s.c.out_len = s.c.out_cap + 1 }},
		"a head longer than its piece":    {outHead | outEnd, func(s *slot) { s.c.out_head_len = s.c.out_len + 1 }},
		"trailers behind the end":         {outHead | outEnd | outTrailers, func(s *slot) { s.c.out_body_end = s.c.out_len + 1 }},
		"trailers in the head":            {outHead | outEnd | outTrailers, func(s *slot) { s.c.out_body_end = s.c.out_head_len - 1 }},
		"too many headers":                {outHead | outEnd, func(s *slot) { s.c.out_header_count = 3 }},
		"billions of headers":             {outHead, func(s *slot) { s.c.out_header_count = 1<<32 - 1 }},
		"too few headers":                 {outHead, func(s *slot) { s.c.out_header_count = 1 }},
		"no status":                       {outHead | outEnd, func(s *slot) { s.c.out_status = 0 }},
		"an informational status":         {outHead, func(s *slot) { s.c.out_status = 103 }},
		"a status of four digits":         {outHead, func(s *slot) { s.c.out_status = 1000 }},
		"a websocket without a handshake": {outHead, func(s *slot) { s.c.out_status = 101 }},
		"a websocket's broken head":       {outHead, func(s *slot) { s.c.out_status, s.c.features, s.c.out_header_count = 101, featureWebSocket, 9 }},
		"a file with a negative size":     {outHead | outEnd | outFile, func(s *slot) { s.c.file_len = -1 }},
		"a file before its beginning":     {outHead | outEnd | outFile, func(s *slot) { s.c.file_offset = -1 }},
	} {
		x, recorder := exchangeWithPiece(t, append(slices.Clone(packed), "ok"...), c.flags)
		set(&x.slot.c.out_head_len, len(packed))
		x.slot.c.out_header_count = 2
		c.spoil(x.slot)
		done, err := x.write()
		var answer caddyhttp.HandlerError
		if !done || !errors.As(err, &answer) || answer.StatusCode != http.StatusInternalServerError || !errors.Is(err, errMisfit) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
		if recorder.Body.Len() > 0 || len(recorder.Header()) > 0 {
			t.Errorf("%s: the client has got %q with %v", name, recorder.Body, recorder.Header())
		}
		if !isPooled(x.slot) {
			t.Errorf("%s: the slot is lost", name)
		}
	}
}

func TestAPieceThatCannotBeBreaksAResponseThatHasBegun(t *testing.T) {
	x, _ := exchangeWithPiece(t, []byte("more"), outEnd|outTrailers)
	x.sent = true
	x.slot.c.out_trailer_count = 7
	x.slot.c.out_body_end = 4
	defer func() {
		if recover() != http.ErrAbortHandler || !isPooled(x.slot) {
			t.Error("the connection goes on, or the slot is lost")
		}
	}()
	_, err := x.write()
	t.Errorf("returned %v", err)
}

func TestNewsOfASlotThatIsNoneAreDropped(t *testing.T) {
	s, err := slots.get(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	id := s.c.id
	s.c.id = 1<<32 - 1
	s.c.to_go = 1
	dispatch(unsafe.Pointer(s.c))
	s.c.id = id
	select {
	case <-s.piece:
		t.Error("it was told")
	default:
	}
	s.release()
}

func TestRecordsOfAnAppThatDoNotFitAreAnError(t *testing.T) {
	for _, packed := range []string{
		"\x01", "\x01\x05\x00\x00\x00abc", "\x02\xff\xff\xff\xff", "\x08\x01\x00\x00\x00a", "\x08\x00\x00\x00\x00", "\x09\x00\x00\x00\x00",
	} {
		w, _ := webSocketFor(t, false)
		if err := w.writeRecords([]byte(packed)); !errors.Is(err, errBadRecord) {
			t.Errorf("%q: %v", packed, err)
		}
	}
}
