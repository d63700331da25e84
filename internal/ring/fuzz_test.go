package ring

import (
	"bytes"
	"testing"
)

// FuzzRing writes and reads in any order, and compares with a list.
func FuzzRing(f *testing.F) {
	f.Add(uint16(0), []byte{0, 10, 1, 200, 2, 0, 3, 0})
	f.Add(uint16(testSize-8), []byte{0, 255, 0, 255, 1, 255, 2, 0, 2, 0, 3, 0, 0, 255})
	f.Fuzz(func(t *testing.T, at uint16, steps []byte) {
		p := newPair()
		p.moveTo(uint32(at) &^ 7)
		var records [][]byte
		for i := 0; i+1 < len(steps); i += 2 {
			payload := bytes.Repeat(steps[i+1:i+2], 19*int(steps[i+1]))
			switch steps[i] % 4 {
			case 0:
				if len(payload) <= p.Room() {
					if !p.Write(uint32(len(payload)+1), payload[:len(payload)/3], payload[len(payload)/3:]) {
						t.Fatalf("%d bytes do not fit", len(payload))
					}
					records = append(records, payload)
				}
			case 1:
				if room := p.Reserve(len(payload)); room != nil {
					if !p.Commit(uint32(len(payload)+1), copy(room, payload)) {
						t.Fatalf("%d of %d bytes do not fit", len(payload), len(room))
					}
					records = append(records, payload)
				} else if len(payload) > 0 && len(payload) <= testSize/2-Reserved-2*HeadSize && p.Writer.IsEmpty() {
					t.Fatalf("an empty ring has no room for %d bytes", len(payload))
				}
			case 2:
				p.Writer.Publish()
				record, ok, err := p.Next()
				if err != nil || ok != (len(records) > 0) {
					t.Fatalf("%t, %v, with %d records", ok, err, len(records))
				}
				if ok {
					if !bytes.Equal(record.Payload(), records[0]) || int(record.Kind) != len(records[0])+1 {
						t.Fatalf("%d bytes of kind %d, not %d", record.Len(), record.Kind, len(records[0]))
					}
					records = records[1:]
					p.Done()
				}
			case 3:
				p.Reader.Publish()
			}
			if p.free() < Reserved {
				t.Fatalf("%d bytes are free", p.free())
			}
		}
	})
}

// FuzzBrokenRing reads whatever the memory holds.
func FuzzBrokenRing(f *testing.F) {
	f.Add(uint32(0), uint32(16), []byte{1, 0, 0, 0, 4, 0, 0, 0, 'a', 'b', 'c', 'd'})
	f.Add(uint32(testSize-8), uint32(testSize), []byte{0, 0, 0, 0, 0xf8, 0x1f})
	f.Fuzz(func(t *testing.T, at, filled uint32, memory []byte) {
		p := newPair()
		p.moveTo(at &^ 7)
		copy(p.data[p.place(at)&^7:], memory)
		copy(p.data, memory[min(len(memory), testSize-int(p.place(at)&^7)):])
		p.made += filled
		total := 0
		for {
			record, ok, err := p.Next()
			if !ok {
				if err == nil && p.Reader.at != p.made {
					t.Errorf("ended at %d of %d", p.Reader.at, p.made)
				}
				return
			}
			for _, b := range record.Payload() {
				_ = b
			}
			if total += HeadSize + record.Len(); total > testSize {
				t.Fatalf("%d bytes in a ring", total)
			}
			p.Done()
		}
	})
}
