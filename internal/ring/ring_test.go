package ring

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
)

const testSize = 2 * Page

// pair is a ring with both sides.
type pair struct {
	Writer
	Reader
	data       []byte
	made, used uint32
}

func newPair() *pair {
	p := &pair{data: make([]byte, testSize)}
	p.Writer = NewWriter(p.data, &p.made, &p.used)
	p.Reader = NewReader(p.data, &p.made, &p.used)
	return p
}

// moveTo brings an empty ring to a place, a multiple of 8.
func (p *pair) moveTo(place uint32) {
	p.made, p.used = place, place
	p.Writer.at = place
	p.Reader.at, p.Reader.given, p.Reader.seen = place, place, place
}

func (p *pair) write(t *testing.T, kind uint32, payload string) {
	t.Helper()
	if !p.Write(kind, []byte(payload[:len(payload)/2]), []byte(payload[len(payload)/2:])) {
		t.Fatalf("no room for %d bytes", len(payload))
	}
	p.Writer.Publish()
}

func (p *pair) expect(t *testing.T, kind uint32, payload string) {
	t.Helper()
	record, ok, err := p.Next()
	if !ok || err != nil || record.Kind != kind || string(record.Payload()) != payload {
		t.Fatalf("%t, %v: a record of kind %d with %d bytes, not %d with %d", ok, err, record.Kind, record.Len(), kind, len(payload))
	}
	p.Done()
}

func (p *pair) expectNone(t *testing.T) {
	t.Helper()
	if record, ok, err := p.Next(); ok || err != nil {
		t.Fatalf("%v, %v", record, err)
	}
}

func TestRecordsArriveInOrder(t *testing.T) {
	p := newPair()
	p.expectNone(t)
	p.write(t, 1, "head")
	p.write(t, 2, "")
	p.write(t, 3, "12345678")
	p.expect(t, 1, "head")
	p.expect(t, 2, "")
	p.expect(t, 3, "12345678")
	p.expectNone(t)
	if p.Reader.IsEmpty() || p.Writer.IsEmpty() {
		t.Error("the memory was given back before Publish")
	}
	p.Reader.Publish()
	if !p.Reader.IsEmpty() || !p.Writer.IsEmpty() {
		t.Error("the memory was not given back")
	}
}

func TestARecordIsSeenAfterItWasPublished(t *testing.T) {
	p := newPair()
	p.Write(1, []byte("early"), nil)
	p.expectNone(t)
	p.Writer.Publish()
	p.expect(t, 1, "early")
}

func TestAPayloadWraps(t *testing.T) {
	for _, at := range []uint32{testSize - 8, testSize - 16, testSize - 104} {
		p := newPair()
		p.moveTo(at)
		payload := string(bytes.Repeat([]byte("abcdefg"), 900)) // too long to go back to the start
		p.write(t, 7, payload)
		record, _, _ := p.Next()
		if wrapped := len(record.Second) > 0; wrapped != (at < testSize-8) {
			t.Errorf("at %d: %d bytes in the second part", at, len(record.Second))
		}
		p.expect(t, 7, payload)
		p.expectNone(t)
	}
}

func TestCountersPassTheirLargestValue(t *testing.T) {
	p := newPair()
	p.moveTo(math.MaxUint32 - 15)
	for range 3 {
		p.write(t, 1, string(make([]byte, 5000)))
		p.expect(t, 1, string(make([]byte, 5000)))
		p.Reader.Publish()
	}
}

func TestAFullRingTakesOneLastRecord(t *testing.T) {
	p := newPair()
	p.write(t, 1, string(make([]byte, p.Room())))
	if p.Room() != -1 || p.Reserve(0) != nil {
		t.Error("there is room")
	}
	if p.Write(2, make([]byte, Reserved), nil) {
		t.Error("more than the reserve fits")
	}
	p.write(t, 2, string(make([]byte, Reserved-HeadSize)))
	if p.Write(3, nil, nil) {
		t.Error("a full ring takes a record")
	}
	if p.Write(3, make([]byte, testSize+1), nil) {
		t.Error("a record longer than the ring fits")
	}
}

func TestAnEmptyRingGoesBackToItsStart(t *testing.T) {
	p := newPair()
	p.moveTo(Page + 512)
	p.write(t, 1, "again")
	if p.Writer.at != testSize+16 {
		t.Errorf("at %d", p.Writer.at)
	}
	p.expect(t, 1, "again")
	p.Reader.Publish()
	p.write(t, 1, "in the first page") // no reason to go back
	if p.Writer.at != testSize+16+32 {
		t.Errorf("at %d", p.Writer.at)
	}
}

func TestALongRecordDoesNotGoBackToTheStart(t *testing.T) {
	for _, length := range []uint32{Page - HeadSize, Page + 512 - HeadSize, Page + 512 - Reserved} {
		p := newPair()
		p.moveTo(Page + 512)
		p.write(t, 1, string(make([]byte, length)))
		p.write(t, 2, string(make([]byte, Reserved-HeadSize))) // the last one fits as well
		p.expect(t, 1, string(make([]byte, length)))
		p.expect(t, 2, string(make([]byte, Reserved-HeadSize)))
	}
}

func TestAReservedRecordIsInOnePiece(t *testing.T) {
	for at := uint32(0); at < testSize; at += 8 {
		p := newPair()
		p.moveTo(at)
		room := p.Reserve(512)
		if len(room) < 512 || cap(room) != len(room) {
			t.Fatalf("at %d: %d bytes", at, len(room))
		}
		n := copy(room, "directly")
		if p.Commit(5, len(room)+1) || p.Commit(5, -1) {
			t.Fatal("more than was reserved was taken")
		}
		if !p.Commit(5, n) || p.Commit(5, n) {
			t.Fatal("it was not taken once")
		}
		if !p.Write(6, make([]byte, Reserved-HeadSize), nil) {
			t.Fatalf("at %d: the last record does not fit", at)
		}
		p.Writer.Publish()
		p.expect(t, 5, "directly")
	}
}

func TestABrokenRingIsAnError(t *testing.T) {
	for name, spoil := range map[string]func(p *pair){
		"more than the ring":   func(p *pair) { p.made += testSize + 8 },
		"less than was read":   func(p *pair) { p.made -= 8 },
		"half a record":        func(p *pair) { p.made += 4 },
		"longer than is there": func(p *pair) { p.made += 16; p.data[4] = 9 },
		"a huge length":        func(p *pair) { p.made += 16; copy(p.data[4:], "\xff\xff\xff\xff") },
		"a length that rounds": func(p *pair) { p.made += 16; copy(p.data[4:], "\xf9\xff\xff\xff") },
		"a long skip":          func(p *pair) { p.made += 16; copy(p.data, "\x00\x00\x00\x00\x10") },
	} {
		p := newPair()
		spoil(p)
		for range 2 {
			if record, ok, err := p.Next(); ok || !errors.Is(err, ErrBroken) {
				t.Errorf("%s: %v, %v", name, record, err)
			}
			p.made = 0 // it stays broken
		}
	}
}

func TestAReaderSeesWhatIsBehindTheRingItHolds(t *testing.T) {
	p := newPair()
	p.write(t, 1, string(make([]byte, 5000)))
	p.expect(t, 1, string(make([]byte, 5000)))
	p.made += testSize // the first record was not given back
	if _, ok, err := p.Next(); ok || !errors.Is(err, ErrBroken) {
		t.Error("the writer has overwritten a record")
	}
}

func TestAWriterWhoseReaderLiesHasNoRoom(t *testing.T) {
	p := newPair()
	p.used = 8
	if p.Room() != -1 || p.Write(1, nil, nil) || p.Reserve(1) != nil {
		t.Error("it writes")
	}
}

func TestTwoThreadsShareARing(t *testing.T) {
	const records = 20000
	p := newPair()
	var sides sync.WaitGroup
	sides.Go(func() {
		payload := make([]byte, 2048)
		for i := range uint32(records) {
			part := payload[:i%2048]
			for j := range part {
				part[j] = byte(i)
			}
			for !p.Write(i+1, part, nil) {
			}
			p.Writer.Publish()
		}
	})
	sides.Go(func() {
		for i := uint32(0); i < records; {
			record, ok, err := p.Next()
			if err != nil || ok && (record.Kind != i+1 || record.Len() != int(i%2048)) {
				t.Errorf("%d: %v, a record of kind %d", i, err, record.Kind)
				atomic.StoreUint32(&p.used, atomic.LoadUint32(&p.made))
				return
			}
			if !ok {
				continue
			}
			for _, b := range record.Payload() {
				if b != byte(i) {
					t.Fatalf("%d: %d", i, b)
				}
			}
			p.Done()
			p.Reader.Publish()
			i++
		}
	})
	sides.Wait()
}
