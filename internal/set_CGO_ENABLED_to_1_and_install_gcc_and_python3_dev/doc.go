//go:build cgo

// Package needscgo is empty. Without cgo it has no files, so importing it fails the
// build, and its path in the error message tells how to fix that.
package needscgo
