package caddysnake

// What the app sends over a websocket: records in a ring, which become messages.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/caddysnake/caddysnake/internal/ring"
	"github.com/caddysnake/caddysnake/internal/wsconn"
)

// maxParts is the largest message in parts, in bytes.
const maxParts = 4 << 30

var errBadRecord = errors.New("a websocket record does not fit into its ring")

// webSocketOutput is the state of a websocket's writing. At most one goroutine
// writes.
type webSocketOutput struct {
	calls atomic.Uint32 // calls of write that no goroutine has answered yet

	// Only for the goroutine that writes.
	parts     []byte // of an incomplete message
	partsKind uint32 // SNAKE_TEXT or SNAKE_BINARY; 0: there are no parts
	over      bool   // nothing more is read
}

// write writes what the app has sent, on a goroutine of its own.
func (w *webSocket) write() {
	if w.output.calls.Add(1) > 1 {
		return // the running goroutine looks again
	}
	w.slot.refs.Add(1)
	go func() {
		defer w.slot.release()
		for calls := w.output.calls.Load(); ; calls = w.output.calls.Load() {
			if !w.output.over {
				w.writeRecords()
			}
			if w.output.calls.CompareAndSwap(calls, 0) {
				return
			}
		}
	}()
}

// writeRecords writes all records that are there. Messages that can't be sent any
// more are dropped.
func (w *webSocket) writeRecords() {
	w.noteTraffic()
	for !w.output.over {
		record, ok, err := w.slot.out.Next()
		if err == nil && !ok {
			break
		}
		if err == nil {
			err = w.writeRecord(record)
			w.slot.out.Done()
		}
		if errors.Is(err, errBadRecord) || errors.Is(err, ring.ErrBroken) {
			w.slot.complain(errBadRecord)
			w.output.over = true
		}
		if err != nil {
			w.conn.CloseNow() // the reader notices
		}
	}
	w.slot.giveBack()
}

func (w *webSocket) writeRecord(record ring.Record) error {
	output := &w.output
	kind := record.Kind &^ C.SNAKE_PART
	switch {
	case kind == C.SNAKE_TEXT || kind == C.SNAKE_BINARY:
		if output.partsKind != 0 && output.partsKind != kind {
			return errBadRecord
		}
		if record.Kind != kind {
			if len(output.parts) > maxParts {
				return errBadRecord
			}
			output.parts, output.partsKind = record.AppendTo(output.parts), kind
			return nil
		}
		message := record.Payload()
		if !w.slot.home.isTrusted() { // compression reads it more than once
			message = bytes.Clone(message)
		}
		if output.partsKind != 0 {
			message = record.AppendTo(output.parts)
			output.parts, output.partsKind = nil, 0
		}
		return w.conn.WriteMessage(messageTypes[kind], message)
	case record.Kind == C.SNAKE_CLOSE && record.Len() >= 2:
		payload := record.Payload()
		w.conn.Close(binary.NativeEndian.Uint16(payload), string(payload[2:]))
		return nil
	case record.Kind == C.SNAKE_ABORT:
		w.conn.CloseNow()
		fallthrough
	case record.Kind == C.SNAKE_END:
		output.over = true
		w.stop()
		return nil
	default:
		return errBadRecord
	}
}

// messageTypes are the types of the messages in records.
var messageTypes = map[uint32]wsconn.MessageType{C.SNAKE_TEXT: wsconn.Text, C.SNAKE_BINARY: wsconn.Binary}
