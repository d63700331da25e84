package caddysnake

// One process of a background command. It begins as a Python that sets up the app's
// environment and then becomes the command, see caddysnake_py/background.py.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// backgroundOrder says what a process is to become.
type backgroundOrder struct {
	Command []string    `json:"command"`
	Load    loadRequest `json:"load"`
}

// backgroundProcess is a running process.
type backgroundProcess struct {
	control controlSocket
	log     *workerLog
	process launched
	died    chan struct{} // closed when end is set, and its last words are in the log
	end     processEnd
}

// startBackground returns once the process has become the command.
func startBackground(ctx context.Context, order backgroundOrder, log *appLog) (*backgroundProcess, error) {
	label := zap.String("background", strings.Join(order.Command, " "))
	p := &backgroundProcess{
		log:  &workerLog{app: log, label: label, stderr: pythonInfo}, // many programs log there
		died: make(chan struct{}),
	}
	environment := environmentOf(order.Load.bridgeConfig)
	var err error
	onLastingThread(func() {
		p.control, p.process, err = p.log.launch(func(c controlSocket, s standardStreams) (launched, error) {
			return environment.startWith(c, s, syscall.SIGTERM)
		})
	})
	if err != nil {
		return nil, err
	}
	go p.supervise()
	become := make(chan error, 1)
	go func() { become <- p.order(order) }()
	select {
	case err = <-become:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.stop(0)
		return nil, err
	}
	return p, nil
}

// order has the process become the command, and returns why it can't. The control
// socket closes when it has.
func (p *backgroundProcess) order(order backgroundOrder) error {
	defer p.control.close()
	if err := p.control.sendOrder("background", order); err != nil {
		return err
	}
	for {
		message, err := p.control.receive()
		if err != nil {
			return nil //nolint:nilerr // it is closed
		}
		closeAll(message.files)
		report, err := parseReport(message)
		if err != nil {
			return err
		}
		switch r := report.(type) {
		case *logReport:
			p.log.report(r)
		case *failedReport:
			return errors.New(printable(r.Error))
		default:
			return fmt.Errorf("%w: %T", errReport, r)
		}
	}
}

// supervise waits for the end of the process. Its children, which its process group
// has, end with it.
func (p *backgroundProcess) supervise() {
	if err := awaitPidfd(p.process.pidfd); err != nil {
		p.log.logger().Error("waiting for a background process", zap.Error(err))
	}
	_ = unix.Kill(-p.process.pid, unix.SIGKILL) // not reaped yet: the number is still its own
	p.end = p.process.reap()
	p.log.awaitLastWords(nil)
	close(p.died)
	p.process.pidfd.Close()
}

// logEnd says that the process has ended by itself.
func (p *backgroundProcess) logEnd() {
	level := zap.ErrorLevel
	if p.end.clean() {
		level = zap.WarnLevel
	}
	p.log.logger().Log(level, "a background command has ended: it is started again",
		zap.Int("pid", p.process.pid), zap.Stringer("end", p.end), zap.String("last_output", p.log.lastOutput()))
}

// stop sends SIGTERM, and SIGKILL once the limit is over, and waits for the end.
func (p *backgroundProcess) stop(limit time.Duration) {
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := signalPidfd(p.process.pidfd, signal); err != nil {
			p.log.logger().Error("signalling a background process", zap.Error(err))
		}
		select {
		case <-p.died:
			return
		case <-time.After(limit):
		}
		limit = forever
	}
}

// lasting has functions run by a thread that lives as long as Caddy: the signal that a
// child gets at its parent's death comes when the thread ends that has started it.
var lasting = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

func onLastingThread(call func()) {
	done := make(chan struct{})
	lasting() <- func() {
		defer close(done)
		call()
	}
	<-done
}
