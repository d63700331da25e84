package caddysnake

// Files in memory, which Caddy hands to a worker.

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// constant are the seals of a file that nobody can change.
const constant = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// newMemoryFile returns a file with this content that nobody can change.
func newMemoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, constant|unix.F_SEAL_SEAL); err != nil {
		file.Close()
		return nil, fmt.Errorf("sealing a file in memory: %w", err)
	}
	return file, nil
}

// readMemoryFile returns the content of a file that a worker has made. It must be in
// memory and sealed: another one could block, or grow while it is read.
func readMemoryFile(fd int, limit int64) ([]byte, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&constant != constant {
		return nil, fmt.Errorf("%w: a file that is not sealed", errReport)
	}
	var about unix.Stat_t
	if err := unix.Fstat(fd, &about); err != nil || about.Size > limit {
		return nil, fmt.Errorf("%w: a file of %d bytes", errReport, about.Size)
	}
	content := make([]byte, about.Size)
	if n, err := unix.Pread(fd, content, 0); err != nil || n != len(content) {
		return nil, fmt.Errorf("%w: a file that can't be read", errReport)
	}
	return content, nil
}
