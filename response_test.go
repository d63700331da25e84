package caddysnake

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddysnake/caddysnake/internal/ring"
)

// Values of caddysnake.h; a test can't include it.
const (
	recordHead, recordData, recordEnd        = 1, 2, 3
	recordFail, recordAbort                  = 6, 7
	recordHint, recordTrailers, recordOfFile = 8, 9, 10
	recordText, recordBinary, recordClose    = 11, 12, 13
	recordPart                               = 1 << 16
	featureWebSocket                         = 8
	waitIn, waitRoom, idle                   = 1, 2, 4
	goOut, goWantBody, goReleased            = 1, 2, 4
)

// nowhere is a home without apps. It counts what it is told.
type nowhere struct {
	inProcess
	pushes, wakes atomic.Int32
	waits         atomic.Uint32 // of the last wake
}

func (n *nowhere) push(*slot) { n.pushes.Add(1) }

func (n *nowhere) wake(_ *slot, waits uint32) {
	n.waits.Store(waits)
	n.wakes.Add(1)
}

// slotNowhere returns a slot, the writer of what its app sends, and the reader of
// what the app gets.
func slotNowhere(t *testing.T) (*slot, *nowhere, *ring.Writer, *ring.Reader) {
	t.Helper()
	s, err := slots.get(nil, 1, requestLine{})
	if err != nil {
		t.Fatal(err)
	}
	home := new(nowhere)
	s.home = home
	t.Cleanup(func() { s.home = inProcess{} })
	out := ring.NewWriter(s.out.Memory(), (*uint32)(&s.wire.out_made), (*uint32)(&s.wire.out_used))
	in := ring.NewReader(s.in.Memory(), (*uint32)(&s.wire.in_made), (*uint32)(&s.wire.in_used))
	return s, home, &out, &in
}

type testRecord struct {
	kind    uint32
	payload []byte
}

// headRecord returns a head with this status, number of headers, and headers.
func headRecord(status, count int, packed []byte) testRecord {
	facts := binary.NativeEndian.AppendUint32(nil, uint32(status))
	facts = binary.NativeEndian.AppendUint32(facts, uint32(count))
	return testRecord{recordHead, append(facts, packed...)}
}

func trailersRecord(count int, packed []byte) testRecord {
	return testRecord{recordTrailers, append(binary.NativeEndian.AppendUint32(nil, uint32(count)), packed...)}
}

func fileRecord(offset, length int64) testRecord {
	part := binary.NativeEndian.AppendUint64(nil, uint64(offset))
	part = binary.NativeEndian.AppendUint64(part, uint64(length))
	return testRecord{recordOfFile, append(part, make([]byte, 8)...)}
}

func exchangeWith(t *testing.T, records ...testRecord) (*exchange, *httptest.ResponseRecorder) {
	t.Helper()
	s, _, out, _ := slotNowhere(t)
	for _, record := range records {
		if !out.Write(record.kind, record.payload, nil) {
			t.Fatal("too much")
		}
	}
	out.Publish()
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

func TestRecordsBecomeAResponse(t *testing.T) {
	head := headRecord(201, 1, packHeaders("X-A", "b"))
	for name, records := range map[string][]testRecord{
		"whole":         {head, {recordData, []byte("hello")}, {recordEnd, nil}},
		"in pieces":     {head, {recordData, []byte("he")}, {recordData, nil}, {recordData, []byte("llo")}, {recordEnd, nil}},
		"with trailers": {head, {recordData, []byte("hello")}, trailersRecord(1, packHeaders("X-Sum", "1")), {recordEnd, nil}},
	} {
		x, recorder := exchangeWith(t, records...)
		if done, err := x.write(); !done || err != nil {
			t.Errorf("%s: %t, %v", name, done, err)
		}
		if recorder.Code != 201 || recorder.Body.String() != "hello" || recorder.Header().Get("X-A") != "b" {
			t.Errorf("%s: %d, %q with %v", name, recorder.Code, recorder.Body, recorder.Header())
		}
		if name == "with trailers" && recorder.Header().Get(http.TrailerPrefix+"X-Sum") != "1" {
			t.Errorf("%s: %v", name, recorder.Header())
		}
		if recorder.Flushed != (name == "in pieces") {
			t.Errorf("%s: flushed: %t", name, recorder.Flushed)
		}
		if !isPooled(x.slot) {
			t.Errorf("%s: the slot is lost", name)
		}
	}
}

func TestAPieceIsFlushedBeforeItsMemoryIsGivenBack(t *testing.T) {
	s, home, out, _ := slotNowhere(t)
	recorder := httptest.NewRecorder()
	x := &exchange{w: recorder, r: httptest.NewRequest(http.MethodGet, "/", nil), slot: s}
	head := headRecord(200, 0, nil)
	out.Write(head.kind, head.payload, nil)
	out.Write(recordData, []byte("first"), nil)
	out.Publish()
	s.wire.waits = waitIn | waitRoom
	if done, err := x.write(); done || err != nil {
		t.Fatalf("%t, %v", done, err)
	}
	if !recorder.Flushed || recorder.Body.String() != "first" || !out.IsEmpty() || !x.slow {
		t.Errorf("flushed: %t, %q, given back: %t, in pieces: %t", recorder.Flushed, recorder.Body, out.IsEmpty(), x.slow)
	}
	if home.waits.Load() != waitRoom || s.wire.waits != waitIn {
		t.Errorf("woken for %d, still waits for %d", home.waits.Load(), s.wire.waits)
	}
	out.Write(recordEnd, nil, nil)
	out.Publish()
	if done, err := x.write(); !done || err != nil {
		t.Errorf("%t, %v", done, err)
	}
}

func TestALargeBodyPassesThroughTheRing(t *testing.T) {
	s, _, out, _ := slotNowhere(t)
	recorder := httptest.NewRecorder()
	x := &exchange{w: recorder, r: httptest.NewRequest(http.MethodGet, "/", nil), slot: s}
	head := headRecord(200, 0, nil)
	out.Write(head.kind, head.payload, nil)
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i >> 4)
	}
	for left := want; len(left) > 0; {
		n := min(len(left), out.Room(), 7777)
		out.Write(recordData, left[:n], nil)
		left = left[n:]
		out.Publish()
		if done, err := x.write(); done || err != nil {
			t.Fatalf("%t, %v", done, err)
		}
	}
	out.Write(recordEnd, nil, nil)
	out.Publish()
	if done, err := x.write(); !done || err != nil || recorder.Body.String() != string(want) {
		t.Errorf("%t, %v, %d bytes", done, err, recorder.Body.Len())
	}
}

func TestAHintThatDoesNotFitIsDropped(t *testing.T) {
	x, recorder := exchangeWith(t, testRecord{recordHint, []byte("\xff\xff\xff\xffa")},
		testRecord{recordHint, []byte("\x01\x00\x00\x00a")}, headRecord(200, 0, nil), testRecord{recordEnd, nil})
	if done, err := x.write(); !done || err != nil || recorder.Code != http.StatusEarlyHints && recorder.Code != http.StatusOK {
		t.Errorf("%t, %v, %d", done, err, recorder.Code)
	}
}

func TestRecordsThatCannotBeAreAnsweredWith500AndGiveTheirSlotBack(t *testing.T) {
	packed := packHeaders("Content-Length", "2", "X-A", "b")
	end := testRecord{recordEnd, nil}
	for name, c := range map[string]struct {
		record testRecord
		spoil  func(s *slot)
	}{
		"longer than its ring":       {headRecord(200, 2, packed), func(s *slot) { s.wire.out_made += 1 << 20 }},
		"half a record":              {headRecord(200, 2, packed), func(s *slot) { s.wire.out_made = 12 }},
		"a length beyond the end":    {headRecord(200, 2, packed), func(s *slot) { s.out.Memory()[6] = 1 }},
		"no room for the status":     {testRecord{recordHead, packed[:7]}, nil},
		"too many headers":           {headRecord(200, 3, packed), nil},
		"billions of headers":        {headRecord(200, -1, packed), nil},
		"too few headers":            {headRecord(200, 1, packed), nil},
		"no status":                  {headRecord(0, 2, packed), nil},
		"an informational status":    {headRecord(103, 2, packed), nil},
		"a status of four digits":    {headRecord(1000, 2, packed), nil},
		"no websocket was asked for": {headRecord(101, 2, packed), nil},
		"a websocket's broken head":  {headRecord(101, 9, packed), func(s *slot) { s.features = featureWebSocket }},
		"a body without a head":      {testRecord{recordData, []byte("ok")}, nil},
		"an end without a head":      {end, nil},
		"trailers without a head":    {trailersRecord(0, nil), nil},
		"a file without a head":      {fileRecord(0, 1), nil},
		"an unknown kind":            {testRecord{99, nil}, nil},
		"a message":                  {testRecord{recordText, []byte("hi")}, nil},
		"the kind of a request":      {testRecord{4, nil}, nil},
	} {
		x, recorder := exchangeWith(t, c.record, end)
		if c.spoil != nil {
			c.spoil(x.slot)
		}
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

func TestRecordsThatCannotBeBreakAResponseThatHasBegun(t *testing.T) {
	for name, record := range map[string]testRecord{
		"a second head":                  headRecord(200, 0, nil),
		"trailers that do not fit":       trailersRecord(7, nil),
		"no room for a trailer":          {recordTrailers, nil},
		"a failure before the head":      {recordFail, nil},
		"a file that is none":            fileRecord(0, 1),
		"a file with a negative size":    fileRecord(0, -1),
		"a file before its beginning":    fileRecord(-1, 1),
		"a file whose record is cut off": {recordOfFile, make([]byte, 23)},
		"an abort":                       {recordAbort, nil}, // the app's right
	} {
		x, _ := exchangeWith(t, record)
		x.sent = true
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler || !isPooled(x.slot) {
					t.Errorf("%s: the connection goes on, or the slot is lost", name)
				}
			}()
			_, err := x.write()
			t.Errorf("%s: returned %v", name, err)
		}()
	}
}

func TestAFileThatNobodyTakesIsClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, _, _, _ := slotNowhere(t)
	s.wire.file = -1
	fd, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.Close() // not by its number: a finalizer would close what gets the number next
	*(*int32)(&s.wire.file) = int32(fd)
	s.release()
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("it is open")
	}
}
