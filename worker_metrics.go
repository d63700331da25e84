package caddysnake

// The metrics of a worker's application come in a file in memory: they may be longer than
// a message.

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// metricsReport answers the question for metrics, with the file beside it.
type metricsReport struct {
	Question uint32 `json:"question"`
	text     []byte // of the file
}

func (*metricsReport) check() error { return nil }

// isInMemory tells whether a descriptor is a file in memory that can be read: no read of
// it waits for anybody.
func isInMemory(fd int) bool {
	if !isRegular(fd) {
		return false
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0) // which only such files have
	return err == nil
}

// read reads the file. It may be changed meanwhile, and longer than it says.
func (r *metricsReport) read(file *os.File) (err error) {
	r.text, err = io.ReadAll(io.NewSectionReader(file, 0, maxMetricsText+1))
	if err != nil {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	return nil
}

// askMetrics asks the worker, and waits until it has answered or ended.
func (w *workerProcess) askMetrics() ([]byte, error) {
	return w.metrics.ask(context.Background(), w, "metrics")
}

// Interface guard
var _ workerReport = (*metricsReport)(nil)
