package ring

// The reading side.

import (
	"sync/atomic"
	"unsafe"
)

// Reader takes records out of a ring. It stays within the ring whatever the memory
// holds, and whoever changes it meanwhile.
type Reader struct {
	data       []byte
	made, used *uint32 // used is only written here
	at         uint32  // bytes read, including those that are not published
	given      uint32  // bytes that Publish has given back
	seen       uint32  // made, when it was last looked at
	size       uint32  // of the record that Next has returned, with head and padding
	broken     bool
}

// NewReader returns the reader of an empty ring, like NewWriter.
func NewReader(data []byte, made, used *uint32) Reader {
	return Reader{data: data, made: made, used: used}
}

// Reset begins anew; both counters are 0 again.
func (r *Reader) Reset() {
	r.at, r.given, r.seen, r.size, r.broken = 0, 0, 0, 0, false
}

// Next returns the next record, and the same one until Done. ok is false if there is
// none. The error is ErrBroken, and stays.
func (r *Reader) Next() (record Record, ok bool, err error) {
	for {
		if r.broken || r.at == r.seen && !r.look() {
			return Record{}, false, ErrBroken
		}
		if r.at == r.seen {
			return Record{}, false, nil
		}
		if record, ok = r.record(); !ok {
			r.broken = true
			return Record{}, false, ErrBroken
		}
		if record.Kind != Skip {
			return record, true, nil
		}
		r.Done()
	}
}

// look sees what the writer has published. It returns false if that can't be.
func (r *Reader) look() bool {
	seen := atomic.LoadUint32(r.made)
	r.broken = seen-r.at > uint32(len(r.data))-(r.at-r.given) || seen%8 != 0
	if !r.broken {
		r.seen = seen
	}
	return !r.broken
}

// record reads the record at the reader's place. Between at and seen there are at
// least 8 bytes, and at most as many as the ring has.
func (r *Reader) record() (Record, bool) {
	mask := uint32(len(r.data)) - 1
	// Each is read once: the writer may change them behind the check.
	head := unsafe.Pointer(&r.data[r.at&mask])
	kind := atomic.LoadUint32((*uint32)(head))
	n := atomic.LoadUint32((*uint32)(unsafe.Add(head, 4)))
	if n > r.seen-r.at-HeadSize {
		return Record{}, false
	}
	r.size = HeadSize + padded(n)
	begin := (r.at + HeadSize) & mask
	end := min(begin+n, uint32(len(r.data)))
	rest := n - (end - begin)
	return Record{kind, r.data[begin:end:end], r.data[:rest:rest]}, true
}

// Done goes behind the record that Next has returned. Its memory stays the
// reader's until Publish.
func (r *Reader) Done() {
	r.at += r.size
	r.size = 0
}

// Publish gives the memory of all records that are done back to the writer.
func (r *Reader) Publish() {
	if r.given != r.at {
		r.given = r.at
		atomic.StoreUint32(r.used, r.at)
	}
}

// IsHalfFree tells whether at least half of the ring is the writer's.
func (r *Reader) IsHalfFree() bool {
	return atomic.LoadUint32(r.made)-r.given <= uint32(len(r.data))/2
}

// IsEmpty tells whether everything was read and given back. Any goroutine may call
// it.
func (r *Reader) IsEmpty() bool { return atomic.LoadUint32(r.made) == atomic.LoadUint32(r.used) }

// Memory returns all of the ring.
func (r *Reader) Memory() []byte { return r.data }
