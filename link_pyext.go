//go:build pyext

package caddysnake

// The extension module: the process that loads it provides Python's symbols.

/*
#cgo pkg-config: caddysnake-python
#cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-all
*/
import "C"
