package caddysnake

// How a worker's process ends, and how Caddy notices.

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// processEnd says how a process has ended.
type processEnd struct {
	status unix.WaitStatus
	known  bool // false: the process that could tell is gone, too
}

// String describes the end, such as "exit code 3" or "signal 11 (segmentation fault)".
func (e processEnd) String() string {
	switch {
	case !e.known:
		return "unknown, since its zygote has ended, too"
	case e.status.Signaled():
		return fmt.Sprintf("signal %d (%s)", int(e.status.Signal()), e.status.Signal())
	default:
		return fmt.Sprintf("exit code %d", e.status.ExitStatus())
	}
}

// clean tells whether the process has ended by itself and without an error.
func (e processEnd) clean() bool { return !e.known || e.status.Exited() && e.status.ExitStatus() == 0 }

// newPidfd prepares a process's descriptor for awaitPidfd.
func newPidfd(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("not a pidfd: %w", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// awaitPidfd parks the goroutine, without a thread, until the process has ended.
func awaitPidfd(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// signalPidfd sends a signal, unless the process has ended.
func signalPidfd(pidfd *os.File, signal unix.Signal) error {
	conn, err := pidfd.SyscallConn()
	if errors.Is(err, os.ErrInvalid) { // there was no process
		return nil
	}
	if err != nil {
		return err
	}
	var sent error
	// Control itself fails only if the file is closed: then the process has ended.
	_ = conn.Control(func(fd uintptr) {
		sent = unix.PidfdSendSignal(int(fd), signal, nil, 0)
	})
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}
