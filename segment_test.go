package caddysnake

import (
	"testing"
	"unsafe"
)

// The kernel gives memory back in pages, which may have 64 KiB on aarch64.
func TestRingsBeginAtPagesOfAnyMachine(t *testing.T) {
	home, err := newWorkerHome()
	if err != nil {
		t.Fatal(err)
	}
	defer home.close()
	pool := slotPool{segments: segments{home: home}}
	for range 300 { // more than one segment
		if _, err := pool.get(nil, 1, requestLine{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range pool.all {
		for _, memory := range [][]byte{s.in.Memory(), s.out.Memory()} {
			if at := uintptr(unsafe.Pointer(&memory[0])) - uintptr(unsafe.Pointer(&home.memory[0])); at%(64<<10) != 0 {
				t.Fatalf("slot %d: a ring is at %d", s.id, at)
			}
		}
	}
}
