package caddysnake

// Starts the process of a worker or of a zygote from scratch.

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// pythonEnvironment is what a worker's Python finds when it starts, and when it imports
// packages, which may read any variable then. Workers with equal ones can be forked
// from the same zygote.
type pythonEnvironment struct {
	Venv     string            `json:"venv"`
	Env      map[string]string `json:"env"`
	EnvFiles []string          `json:"env_files"`
}

// environmentOf returns the environment of an app's workers.
func environmentOf(config bridgeConfig) pythonEnvironment {
	return pythonEnvironment{config.Venv, config.Env, config.EnvFiles}
}

// maxStartVariable is the longest value that a process gets at its start, in bytes: the
// kernel's limit for one, with room for its name.
const maxStartVariable = 100 << 10

// variables returns those that the process gets from its start. The worker's bridge sets
// all of them, and says what is wrong with one.
func (e pythonEnvironment) variables() []string {
	var found []string
	for name, value := range e.Env {
		variable := name + "=" + value
		if len(value) <= maxStartVariable && !strings.ContainsRune(variable, 0) {
			found = append(found, variable)
		}
	}
	return found
}

// launched is a process that Caddy or a zygote has started.
type launched struct {
	pid   int
	pidfd *os.File
	// reap returns how the process has ended, once the pidfd says that it has.
	reap func() processEnd
}

// standardStreams are a process's ends of its control socket and of the pipes for its
// output.
type standardStreams struct{ control, stdout, stderr *os.File }

// launch makes the streams of a process, which the log follows, and starts it.
func (l *workerLog) launch(start func(controlSocket, standardStreams) (launched, error)) (controlSocket, launched, error) {
	control, theirs, err := newControlSocket()
	if err != nil {
		return control, launched{}, err
	}
	streams := standardStreams{control: theirs}
	defer streams.close() // the process has its own by then
	var process launched
	streams.stdout, err = l.pipe("stdout", pythonInfo)
	if err == nil {
		streams.stderr, err = l.pipe("stderr", l.stderr)
	}
	if err == nil {
		process, err = start(control, streams)
	}
	if err != nil {
		control.close()
	}
	return control, process, err
}

func (l *workerLog) pipe(stream string, level int) (*os.File, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.follow(ours, stream, level)
	return theirs, nil
}

func (s *standardStreams) close() {
	for _, file := range []*os.File{s.control, s.stdout, s.stderr} {
		if file != nil {
			file.Close()
		}
	}
}

// start starts a process from scratch and sends it the bridge package.
func (e pythonEnvironment) start(control controlSocket, streams standardStreams) (launched, error) {
	return e.startWith(control, streams, 0)
}

// startWith is start of a process that gets a signal when the thread that has called
// this function ends; 0: none.
func (e pythonEnvironment) startWith(control controlSocket, streams standardStreams, signal syscall.Signal) (launched, error) {
	hello, err := workerHello()
	if err != nil {
		return launched{}, err
	}
	cmd, err := workerCommand(e)
	if err != nil {
		return launched{}, fmt.Errorf("starting a worker: %w", err)
	}
	cmd.ExtraFiles = []*os.File{streams.control}
	cmd.Stdout, cmd.Stderr = streams.stdout, streams.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: signal}
	if err := cmd.Start(); err != nil {
		return launched{}, fmt.Errorf("starting a worker: %w", err)
	}
	process := launched{pid: cmd.Process.Pid, reap: func() processEnd {
		_ = cmd.Wait() // an exit code is an error, too
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		return processEnd{unix.WaitStatus(status), ok}
	}}
	// Nobody else gets the process id before reap. QEMU 7.2 refuses SysProcAttr.PidFD.
	pidfd, err := unix.PidfdOpen(process.pid, 0)
	if err == nil {
		process.pidfd, err = newPidfd(pidfd)
	}
	if err == nil {
		err = control.sendRaw(hello.names, int(hello.sources.Fd()))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		process.reap()
		return launched{}, fmt.Errorf("starting a worker: %w", err)
	}
	return process, nil
}

// hello is the first message to a process from scratch: for the C core, which starts
// before anything can read JSON.
type hello struct {
	names   []byte   // of headers, each with a NUL
	sources *os.File // the bridge package
}

var workerHello = sync.OnceValues(func() (hello, error) {
	packed, err := bridgeSources()
	if err != nil {
		return hello{}, err
	}
	sources, err := newMemoryFile("caddysnake_py", packed)
	if err != nil {
		return hello{}, err
	}
	return hello{[]byte(strings.Join(knownHeaders[:], "\x00") + "\x00"), sources}, nil
})
