package ring

// The writing side.

import (
	"encoding/binary"
	"sync/atomic"
)

// Writer puts records into a ring. The reader sees them after Publish.
type Writer struct {
	data       []byte
	made, used *uint32 // made is only written here
	at         uint32  // bytes made, including those that are not published
	reserved   int     // length of the last Reserve
}

// NewWriter returns the writer of an empty ring. The size of data is a power of two
// and at least two pages; data begins at a multiple of 8 bytes; both counters are 0.
func NewWriter(data []byte, made, used *uint32) Writer {
	return Writer{data: data, made: made, used: used}
}

// Reset begins anew; both counters are 0 again.
func (w *Writer) Reset() { w.at, w.reserved = 0, 0 }

// Made returns the number of bytes, modulo 2^32, that were put in since Reset.
func (w *Writer) Made() uint32 { return w.at }

// IsEmpty tells whether the reader has taken everything.
func (w *Writer) IsEmpty() bool { return w.at == atomic.LoadUint32(w.used) }

func (w *Writer) size() uint32 { return uint32(len(w.data)) }

func (w *Writer) place(at uint32) uint32 { return at & (w.size() - 1) }

// free returns the bytes that the reader has given back, in steps of 8. It is 0 if
// the reader's counter contradicts the writer's.
func (w *Writer) free() uint32 {
	filled := w.at - atomic.LoadUint32(w.used)
	if filled > w.size() {
		return 0
	}
	return (w.size() - filled) &^ 7
}

// Room returns the longest payload that a record may have now, unless it is the
// last one; -1: not even an empty one fits.
func (w *Writer) Room() int { return max(-1, int(w.free())-Reserved-HeadSize) }

// Write puts in a record with the payload first, then second. It returns false, and
// puts in nothing, if the ring has no room. Only a ring's last record may be longer
// than Room.
func (w *Writer) Write(kind uint32, first, second []byte) bool {
	n := len(first) + len(second)
	if n > len(w.data) {
		return false
	}
	size := HeadSize + padded(uint32(n))
	w.rewind(size)
	if size > w.free() {
		return false
	}
	w.put(first, w.at+HeadSize)
	w.put(second, w.at+HeadSize+uint32(len(first)))
	w.frame(kind, uint32(n))
	return true
}

// Reserve returns room for a payload that the caller fills: at least atLeast bytes
// in one piece, or nil if there is no such room now. Commit makes a record of it. An
// empty ring has room for anything up to half its size less Reserved.
func (w *Writer) Reserve(atLeast int) []byte {
	w.reserved = 0
	room, begin := w.Room(), w.place(w.at+HeadSize)
	if rest := len(w.data) - int(begin); rest >= min(room, atLeast) {
		room = min(room, rest)
	} else { // only after the ring's end
		if room -= HeadSize + rest; room >= atLeast {
			w.skip()
		}
		begin = HeadSize
	}
	if room <= 0 || room < atLeast {
		return nil
	}
	w.reserved = room
	return w.data[begin : begin+uint32(room) : begin+uint32(room)]
}

// Commit puts in a record whose payload is the first n bytes of the last Reserve.
// It returns false, and puts in nothing, if that many were not reserved.
func (w *Writer) Commit(kind uint32, n int) bool {
	if n < 0 || n > w.reserved {
		return false
	}
	w.frame(kind, uint32(n))
	return true
}

// Publish shows the reader all records.
func (w *Writer) Publish() { atomic.StoreUint32(w.made, w.at) }

// rewind goes back to the start of an empty ring before a short record, so that a
// ring with little traffic occupies few pages. Until the reader passes the skipped
// bytes, the room ends where the ring was left. A record of size bytes must fit
// there, and the last record too.
func (w *Writer) rewind(size uint32) {
	place := w.place(w.at)
	if size <= Page && place >= Page && size+Reserved <= place && w.IsEmpty() {
		w.skip()
	}
}

// skip makes a record of the rest of the ring, which the caller knows to be free.
func (w *Writer) skip() { w.frame(Skip, w.size()-w.place(w.at)-HeadSize) }

// frame writes the head of a record whose payload is in place.
func (w *Writer) frame(kind, n uint32) {
	head := w.data[w.place(w.at):]
	binary.NativeEndian.PutUint32(head, kind)
	binary.NativeEndian.PutUint32(head[4:], n)
	w.at += HeadSize + padded(n)
	w.reserved = 0
}

func (w *Writer) put(p []byte, at uint32) {
	n := copy(w.data[w.place(at):], p)
	copy(w.data, p[n:])
}

// Memory returns all of the ring.
func (w *Writer) Memory() []byte { return w.data }
