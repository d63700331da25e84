//go:build cgo

// Package needscgo is empty, and without cgo it does not exist: then the error
// of a build is that it can't be imported, and its path says what to do.
package needscgo
