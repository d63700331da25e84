package caddysnake

// One worker process of an app, from its start to its end.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// termTimeout is the time between SIGTERM and SIGKILL.
	termTimeout = 2 * time.Second
)

var errNoZygote = errors.New("no zygote")

// workerSpec says what a worker is to be.
type workerSpec struct {
	Number  int // in the log, unique among the app's workers
	Load    loadRequest
	Timeout time.Duration // until it must be ready; 0: none
	Log     *appLog
	Zygote  *zygote // forks the worker; nil: it starts from scratch
	// Files are descriptors for the core. They remain the caller's.
	Files []int
	// File gets the files of responses; it owns them. The slot and the serial are
	// what the worker says.
	File func(slot, serial uint32, file *os.File)
	// Alive gets its answers to pings.
	Alive func(ping uint32, loop bool)
}

// workerState is where a worker is in its life. What it may say depends on it.
type workerState int

const (
	workerStarting workerState = iota // may say ready or failed
	workerReady
	workerStopping // may say stopped
	workerStopped
)

// workerProcess is a running worker.
type workerProcess struct {
	control controlSocket
	log     *workerLog
	process launched
	kind    string
	modules []string
	file    func(slot, serial uint32, file *os.File)
	alive   func(ping uint32, loop bool)
	stacks  question[[]stackReport]
	metrics question[[]byte]
	profile question[*profileReport]

	ready chan struct{} // closed when kind and modules are set
	gone  chan struct{} // closed at once when the process has ended
	died  chan struct{} // closed when end is set, too, and its last words are in the log
	end   processEnd

	mu      sync.Mutex
	state   workerState
	ending  bool  // Caddy has sent it a signal that ends it
	failure error // why it could not load the app, or what Caddy killed it for
	idle    bool  // with workerStopped: all requests had ended
}

// startWorker starts a worker and returns once its app takes requests.
func startWorker(ctx context.Context, spec workerSpec) (*workerProcess, error) {
	if spec.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, spec.Timeout,
			fmt.Errorf("it has not started within %s (start_timeout)", spec.Timeout))
		defer cancel()
	}
	w, err := launchWorker(spec)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.ready:
		return w, nil
	case <-w.died:
		return nil, w.whyNotReady()
	case <-ctx.Done():
		w.kill()
		<-w.died
		return nil, context.Cause(ctx)
	}
}

// launchWorker starts the process and tells it what to load.
func launchWorker(spec workerSpec) (*workerProcess, error) {
	w := &workerProcess{
		log:   &workerLog{app: spec.Log, label: zap.Int("worker", spec.Number), stderr: pythonError},
		file:  spec.File,
		alive: spec.Alive,
		ready: make(chan struct{}),
		gone:  make(chan struct{}),
		died:  make(chan struct{}),
	}
	err := errNoZygote
	if spec.Zygote != nil {
		w.control, w.process, err = w.log.launch(spec.Zygote.fork)
		if err != nil {
			w.log.logger().Warn("python worker starts without its zygote", zap.Error(err))
		}
	}
	if err != nil {
		w.control, w.process, err = w.log.launch(environmentOf(spec.Load.bridgeConfig).start)
	}
	if err != nil {
		return nil, err
	}
	go w.supervise()
	if err := w.control.sendOrder("start", spec.Load, spec.Files...); err != nil {
		w.kill()
		<-w.died
		return nil, fmt.Errorf("%w: %w", err, w.whyNotReady())
	}
	return w, nil
}

// whyNotReady returns why a dead worker has not become ready.
func (w *workerProcess) whyNotReady() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return w.failure
	}
	text := fmt.Sprintf("its worker has ended: %s", w.end)
	if last := w.log.lastOutput(); last != "" {
		text += "; its last output:\n" + last
	}
	return errors.New(text)
}

// supervise reads what the worker says, and waits for its end.
func (w *workerProcess) supervise() {
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		w.listen()
	}()
	if err := awaitPidfd(w.process.pidfd); err != nil {
		w.fail(fmt.Errorf("waiting for a python worker: %w", err))
	}
	close(w.gone)
	end := w.process.reap()
	w.log.awaitLastWords(heard)
	w.control.close()
	w.mu.Lock()
	w.end = end
	unexpected := !w.ending && (w.state != workerStarting && w.state != workerStopped || w.state == workerStopped && !end.clean())
	w.mu.Unlock()
	if unexpected {
		w.log.logger().Error("python worker has ended unexpectedly",
			zap.Int("pid", w.process.pid), zap.Stringer("end", end), zap.String("last_output", w.log.lastOutput()))
	}
	close(w.died)
	w.process.pidfd.Close()
}

// listen handles the worker's reports until it ends. One that it cannot have meant is
// its last.
func (w *workerProcess) listen() {
	for {
		p, err := w.control.receive()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
			return
		}
		var report workerReport
		if err == nil {
			report, err = parseReport(p)
		}
		if file, ok := report.(*fileReport); ok && err == nil && w.file != nil {
			w.file(file.Slot, file.Serial, os.NewFile(uintptr(p.files[0]), "response"))
			continue
		}
		if metrics, ok := report.(*metricsReport); ok && err == nil {
			metrics.text, err = readMemoryFile(p.files[0], maxMetricsText)
		}
		if profile, ok := report.(*profileReady); ok && err == nil {
			profile.report, err = readProfile(p.files[0])
		}
		closeAll(p.files)
		if err == nil {
			err = w.handle(report)
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

// handle applies a report, if the worker may say that now.
func (w *workerProcess) handle(report workerReport) error {
	switch r := report.(type) {
	case *logReport:
		w.log.report(r)
		return nil
	case *aliveReport:
		if w.alive != nil {
			w.alive(r.Ping, r.Loop)
		}
		return nil
	case *stacksReport:
		if w.stacks.take(r.Question, r.Stacks) {
			return nil
		}
	case *metricsReport:
		if w.metrics.take(r.Question, r.text) {
			return nil
		}
	case *profileReady:
		if w.profile.take(r.Question, r.report) {
			return nil
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch r := report.(type) {
	case *readyReport:
		if w.state != workerStarting || w.failure != nil || r.PID != w.process.pid {
			break
		}
		w.state, w.kind, w.modules = workerReady, r.Interface, r.Modules
		close(w.ready)
		return nil
	case *failedReport:
		if w.state != workerStarting || w.failure != nil {
			break
		}
		w.failure = errors.New(printable(r.Error))
		time.AfterFunc(termTimeout, w.kill) // its module may have started threads that never end
		return nil
	case *stoppedReport:
		if w.state != workerStopping {
			break
		}
		w.state, w.idle = workerStopped, r.Idle
		return nil
	}
	return fmt.Errorf("%w: %+v at the wrong time", errReport, report)
}

// fail kills a worker that does not keep to the protocol, and logs why.
func (w *workerProcess) fail(err error) {
	w.mu.Lock()
	if w.failure == nil {
		w.failure = err
	}
	w.mu.Unlock()
	w.log.logger().Error("python worker is killed", zap.Int("pid", w.process.pid), zap.Error(err))
	w.kill()
}

// kill sends SIGKILL. It does not wait.
func (w *workerProcess) kill() { w.signal(unix.SIGKILL) }

// signal sends a signal that ends the worker.
func (w *workerProcess) signal(signal unix.Signal) {
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	if w.hasDied() {
		return
	}
	if err := signalPidfd(w.process.pidfd, signal); err != nil {
		w.log.logger().Error("signalling a python worker", zap.Int("pid", w.process.pid), zap.Error(err))
	}
}

// ping asks for a sign of life.
func (w *workerProcess) ping(number uint32) error {
	return w.control.send(struct {
		Op   string `json:"op"`
		Ping uint32 `json:"ping"`
	}{"ping", number})
}

// stop asks a ready worker to finish its requests and to shut its app down, and waits
// for its end. It sends SIGTERM, then SIGKILL, when the worker is late. It returns
// whether all requests had ended.
func (w *workerProcess) stop(drain, tasks time.Duration) (idle bool) {
	patience, cancel := context.WithTimeout(context.Background(), drain+tasks+shutdownTimeout)
	defer cancel()
	return w.stopWithin(patience, drain, tasks)
}

// stopWithin is stop with a limit of its own for the whole.
func (w *workerProcess) stopWithin(patience context.Context, drain, tasks time.Duration) (idle bool) {
	w.mu.Lock()
	if w.state == workerReady {
		w.state = workerStopping
	}
	w.mu.Unlock()
	message := struct {
		Op    string  `json:"op"`
		Drain seconds `json:"drain"`
		Tasks seconds `json:"tasks"`
	}{"stop", seconds(drain), seconds(tasks)}
	if err := w.control.send(message); err == nil {
		select {
		case <-w.died:
		case <-patience.Done():
		}
	}
	if !w.hasDied() {
		w.log.logger().Warn("python worker does not shut down: it gets SIGTERM", zap.Int("pid", w.process.pid))
		w.signal(unix.SIGTERM)
		select {
		case <-w.died:
		case <-time.After(termTimeout):
			w.kill()
			<-w.died
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle
}

func (w *workerProcess) hasDied() bool {
	select {
	case <-w.died:
		return true
	default:
		return false
	}
}
