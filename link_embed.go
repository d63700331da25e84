//go:build !pyext

package caddysnake

// The linked executable: it links libpython. The build without this file is the
// Python extension module of cmd/module.

/*
#cgo pkg-config: python3-embed
*/
import "C"
