// Package ring implements rings of framed records in memory that two sides share:
// one writes, the other reads (caddysnake.h, "records"). Neither needs a lock. Each
// side moves one counter, keeps a copy of it, and believes nothing that the other
// side has written.
package ring

// What writer and reader have in common: the format of a record.

import "errors"

const (
	// HeadSize is the size of a record's head: kind and length, both uint32.
	HeadSize = 8
	// Reserved is the number of bytes that only the last record of a ring may use.
	Reserved = 256
	// Page is the size of the pages that an idle ring should not occupy.
	Page = 4096
	// Skip is the kind of a record without meaning.
	Skip = 0
)

// ErrBroken means that counters or lengths in a ring contradict each other.
var ErrBroken = errors.New("a record does not fit into its ring")

// Record is a record in a ring. Its payload is First, then Second, which is empty
// unless the payload wraps around the ring's end.
type Record struct {
	Kind          uint32
	First, Second []byte
}

// Len returns the number of bytes in the payload.
func (r Record) Len() int { return len(r.First) + len(r.Second) }

// Payload returns the payload in one piece, and copies it only if it wraps.
func (r Record) Payload() []byte {
	if len(r.Second) == 0 {
		return r.First
	}
	return r.AppendTo(make([]byte, 0, r.Len()))
}

// AppendTo appends the payload to b.
func (r Record) AppendTo(b []byte) []byte { return append(append(b, r.First...), r.Second...) }

// padded returns the room that n bytes take.
func padded(n uint32) uint32 { return (n + 7) &^ 7 }
