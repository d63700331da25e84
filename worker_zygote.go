package caddysnake

// A zygote: a process with the packages of an environment, which forks workers in
// milliseconds.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// forkTimeout limits how long a zygote may take to fork a worker.
	forkTimeout = 5 * time.Second
	// preloadTimeout limits how long it may take to import packages.
	preloadTimeout = time.Minute
	// reportTimeout is how long a zygote may take to say how a worker has ended.
	reportTimeout = time.Second
)

// errThreads names a module that has started a thread in a zygote, which could not
// fork any more.
type errThreads struct{ module string }

func (e errThreads) Error() string {
	return fmt.Sprintf("the module %s starts threads", e.module)
}

// zygote is a running zygote.
type zygote struct {
	log     *workerLog
	control controlSocket
	process launched
	loaded  chan error // nil: it is ready to fork
	forked  chan forkAnswer
	dead    chan struct{}    // closed when it takes no more orders
	folders map[string]int64 // of packages, and when each was modified, see preload.py
	missing []string         // modules that it could not import

	hasLoaded bool // it has said that it is ready; only supervise uses this
	killed    atomic.Bool

	mu      sync.Mutex // one fork at a time
	childMu sync.Mutex // guards what follows
	ends    map[int]chan processEnd
	retired bool
}

// forkAnswer is a zygote's answer to one order.
type forkAnswer struct {
	pid   int
	pidfd int
	ended <-chan processEnd
	err   error
}

// zygoteOrder says what a zygote is to be.
type zygoteOrder struct {
	pythonEnvironment
	Preload []string `json:"preload"` // names of modules
}

// zygoteReport is anything that a zygote says.
type zygoteReport struct {
	Module string `json:"module"` // threads
	Error  string `json:"error"`  // unforked
	PID    int    `json:"pid"`    // forked, died
	Status uint32 `json:"status"` // died

	// preloaded
	Folders map[string]int64 `json:"folders"` // nanoseconds since 1970; 0 if it has changed during the imports
	Missing []string         `json:"missing"`
}

// maxPackageFolders limits the folders that a zygote may name.
const maxPackageFolders = 16

// fits tells whether a zygote can mean its report of what it has preloaded.
func (r *zygoteReport) fits() bool {
	if len(r.Folders) > maxPackageFolders {
		return false
	}
	for folder := range r.Folders {
		if !filepath.IsAbs(folder) || len(folder) > unix.PathMax {
			return false
		}
	}
	return !slices.ContainsFunc(r.Missing, func(name string) bool { return !importableName.MatchString(name) })
}

// startZygote starts a zygote that imports these modules. It returns errThreads if one
// of them has started a thread.
func startZygote(e pythonEnvironment, modules []string) (*zygote, error) {
	z := &zygote{
		log:    &workerLog{label: zap.String("worker", "zygote"), stderr: pythonError},
		loaded: make(chan error, 1),
		forked: make(chan forkAnswer, 1),
		dead:   make(chan struct{}),
		ends:   make(map[int]chan processEnd),
	}
	var err error
	z.control, z.process, err = z.log.launch(e.start)
	if err != nil {
		return nil, err
	}
	go z.supervise()
	err = z.control.sendOrder("zygote", zygoteOrder{e, append([]string{}, modules...)})
	if err == nil {
		err = z.awaitLoaded()
	}
	if err != nil {
		z.kill()
		return nil, err
	}
	return z, nil
}

func (z *zygote) awaitLoaded() error {
	select {
	case err := <-z.loaded:
		return err
	case <-z.dead:
		select {
		case err := <-z.loaded: // its last words
			return err
		default:
			return errors.New("the zygote has ended; its last output:\n" + z.log.lastOutput())
		}
	case <-time.After(preloadTimeout):
		return errors.New("the zygote does not finish its imports")
	}
}

// supervise reads what the zygote says, until it ends.
func (z *zygote) supervise() {
	for {
		p, err := z.control.receive()
		if err == nil {
			if err = z.handle(p); err == nil {
				continue
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, unix.ECONNRESET) {
			z.log.logger().Error("python zygote is killed", zap.Error(err))
			z.kill()
		}
		break
	}
	close(z.dead)
	z.control.close()
	if err := awaitPidfd(z.process.pidfd); err != nil {
		z.log.logger().Error("waiting for a python zygote", zap.Error(err))
	}
	if end := z.process.reap(); !end.clean() && !z.killed.Load() {
		z.log.logger().Error("python zygote has ended unexpectedly",
			zap.Stringer("end", end), zap.String("last_output", z.log.lastOutput()))
	}
	z.process.pidfd.Close()
}

// handle applies a message. Descriptors that it does not take are closed.
func (z *zygote) handle(p packet) error {
	files := p.files
	defer func() { closeAll(files) }()
	op, err := opOf(p.data)
	if err != nil {
		return err
	}
	if op == "log" {
		return z.handleLog(p.data)
	}
	var r zygoteReport
	if err := json.Unmarshal(p.data, &r); err != nil {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	switch {
	case op == "preloaded" && r.fits() && !z.hasLoaded:
		z.hasLoaded, z.folders, z.missing = true, r.Folders, r.Missing
		return z.answerLoad(nil)
	case op == "threads" && importableName.MatchString(r.Module):
		return z.answerLoad(errThreads{r.Module})
	case op == "unforked":
		return z.answerFork(forkAnswer{err: errors.New(r.Error)})
	case op == "forked" && r.PID > 0 && len(files) == 1:
		fd := files[0]
		files = nil
		return z.answerFork(forkAnswer{pid: r.PID, pidfd: fd, ended: z.adopt(r.PID)})
	case op == "died":
		return z.bury(r.PID, processEnd{unix.WaitStatus(r.Status), true})
	}
	return fmt.Errorf("%w: op %.20q", errReport, op)
}

func (z *zygote) handleLog(data []byte) error {
	var r logReport
	if err := unmarshalReport(data, &r); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	z.log.report(&r)
	return nil
}

func (z *zygote) answerLoad(err error) error {
	select {
	case z.loaded <- err:
		return nil
	default:
		return fmt.Errorf("%w: loaded twice", errReport)
	}
}

func (z *zygote) answerFork(a forkAnswer) error {
	select {
	case z.forked <- a:
		return nil
	default:
		if a.err == nil {
			_ = unix.Close(a.pidfd)
		}
		return fmt.Errorf("%w: an answer too many", errReport)
	}
}

// adopt registers a child, before any report of its end can come.
func (z *zygote) adopt(pid int) <-chan processEnd {
	ended := make(chan processEnd, 1)
	z.childMu.Lock()
	z.ends[pid] = ended
	z.childMu.Unlock()
	return ended
}

func (z *zygote) bury(pid int, end processEnd) error {
	z.childMu.Lock()
	defer z.childMu.Unlock()
	ended, ok := z.ends[pid]
	if !ok {
		return fmt.Errorf("%w: the end of %d, which is no worker", errReport, pid)
	}
	delete(z.ends, pid)
	ended <- end
	if z.retired && len(z.ends) == 0 {
		z.control.close()
	}
	return nil
}

// fork orders a worker with these ends of its streams.
func (z *zygote) fork(_ controlSocket, streams standardStreams) (launched, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	err := z.control.send(map[string]string{"op": "fork"},
		int(streams.control.Fd()), int(streams.stdout.Fd()), int(streams.stderr.Fd()))
	if err != nil {
		return launched{}, fmt.Errorf("asking the zygote for a worker: %w", err)
	}
	select {
	case a := <-z.forked:
		if a.err != nil {
			return launched{}, fmt.Errorf("the zygote cannot fork: %w", a.err)
		}
		pidfd, err := newPidfd(a.pidfd)
		if err != nil {
			return launched{}, err
		}
		return launched{a.pid, pidfd, func() processEnd { return z.endOf(a.ended) }}, nil
	case <-z.dead:
		return launched{}, errors.New("the zygote has ended")
	case <-time.After(forkTimeout):
		z.kill() // its answer would be taken for the next one
		return launched{}, errors.New("the zygote does not answer")
	}
}

// endOf returns how a dead worker has ended, if its zygote can still say so.
func (z *zygote) endOf(ended <-chan processEnd) processEnd {
	select {
	case end := <-ended:
		return end
	case <-z.dead:
	case <-time.After(reportTimeout):
	}
	select {
	case end := <-ended:
		return end
	default:
		return processEnd{}
	}
}

// changedFolder returns a folder of packages that has changed since the zygote has
// started: something was installed, upgraded or removed.
func (z *zygote) changedFolder() string {
	for folder, modified := range z.folders {
		if about, err := os.Stat(folder); err != nil || about.ModTime().UnixNano() != modified {
			return folder
		}
	}
	return ""
}

// isRetired tells whether the zygote forks no more workers.
func (z *zygote) isRetired() bool {
	z.childMu.Lock()
	defer z.childMu.Unlock()
	return z.retired
}

// alive tells whether the zygote takes orders.
func (z *zygote) alive() bool {
	select {
	case <-z.dead:
		return false
	default:
		return true
	}
}

// retire ends the zygote once the last of its workers has ended, which it alone can
// reap.
func (z *zygote) retire() {
	z.childMu.Lock()
	defer z.childMu.Unlock()
	z.retired = true
	if len(z.ends) == 0 {
		z.control.close()
	}
}

func (z *zygote) kill() {
	if z.alive() {
		z.killed.Store(true)
		_ = signalPidfd(z.process.pidfd, unix.SIGKILL)
	}
}
