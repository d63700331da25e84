package caddysnake

// Lists of messages from C: log records, and answers to commands.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// takeMessages takes all messages off a list, and calls each with them in
// chronological order. It returns false if there are none.
func takeMessages(newest *unsafe.Pointer, each func(*C.snake_message)) bool {
	var oldest *C.snake_message
	for message := (*C.snake_message)(atomic.SwapPointer(newest, nil)); message != nil; {
		next := message.next
		message.next = oldest
		oldest, message = message, next
	}
	taken := oldest != nil
	for message := oldest; message != nil; {
		next := message.next
		each(message)
		C.snake_message_free(message)
		message = next
	}
	return taken
}

// data returns the bytes of a message, in C memory.
func data(message *C.snake_message) []byte {
	begin := unsafe.Add(unsafe.Pointer(message), unsafe.Sizeof(*message))
	return unsafe.Slice((*byte)(begin), int(message.len))
}
