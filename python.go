package caddysnake

// The interpreter: starts once, and loads and unloads apps on request.

/*
#cgo CFLAGS: -O2 -std=gnu11 -Wall -Wextra
#cgo LDFLAGS: -lpthread -ldl
#include <stdlib.h>
#include "caddysnake.h"
#cgo noescape snake_push
#cgo nocallback snake_push
*/
import "C"

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
)

//go:embed caddysnake_py/*.py
var bridgeFiles embed.FS

// Go's build cache tracks core/, and `go mod vendor` copies it, only because core/
// is embedded. The linker drops the embedded files.
//
//go:embed core
var _ embed.FS

// leaveTimeout limits each remaining step when the process ends.
const leaveTimeout = 5 * time.Second

// startPython starts the interpreter, once per process.
var startPython = sync.OnceValue(func() error {
	// Python writes to sockets on threads that Go does not know. SIGPIPE on such a
	// thread would end the process.
	signal.Ignore(syscall.SIGPIPE)

	sources, err := bridgeSources()
	if err != nil {
		return err
	}
	names := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(knownHeaders)), C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	for i, name := range knownHeaders {
		names[i] = C.CString(name) // never freed, like sources below
	}
	options := C.snake_options{
		header_names: (**C.char)(unsafe.Pointer(names)),
		header_count: C.uint32_t(len(knownHeaders)),
		sources:      (*C.char)(C.CBytes(sources)),
		sources_len:  C.size_t(len(sources)),
	}
	text := (*C.char)(C.calloc(1, 1024))
	defer C.free(unsafe.Pointer(text))
	if C.snake_start(&options, text, 1024) != 0 {
		return fmt.Errorf("starting Python: %s", C.GoString(text))
	}

	completions := C.snake_completions()
	takeCompletions := func() bool {
		list := atomic.SwapPointer((*unsafe.Pointer)(completions.newest), nil)
		if list != nil {
			dispatch(list)
		}
		return list != nil
	}
	if err := readList(completions, takeCompletions); err != nil {
		return err
	}
	records := C.snake_logs()
	logs.head = (*unsafe.Pointer)(records.newest)
	if err := readList(records, logs.take); err != nil {
		return err
	}
	caddy.OnExit(leavePython)
	return nil
})

// leavePython waits until the apps of the last config have shut down and, for
// leaveTimeout at most, those of earlier configs. Then it runs Python's atexit
// functions: the process ends without finalizing Python.
func leavePython(ctx context.Context) {
	leaving.Wait() // each app has a deadline
	retired := make(chan struct{})
	go func() {
		retiring.Wait()
		close(retired)
	}()
	select {
	case <-retired:
	case <-time.After(leaveTimeout):
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	_, _ = ask(ctx, command{Op: "leave"})
	// Another goroutine writes Python's last records.
	for C.snake_logs_pending() != 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

// bridgeSources packs the bridge package: name NUL source NUL …
func bridgeSources() ([]byte, error) {
	entries, err := bridgeFiles.ReadDir("caddysnake_py")
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	for _, entry := range entries {
		source, err := bridgeFiles.ReadFile(path.Join("caddysnake_py", entry.Name()))
		if err != nil {
			return nil, err
		}
		packed.WriteString(strings.TrimSuffix(entry.Name(), ".py"))
		packed.WriteByte(0)
		packed.Write(source)
		packed.WriteByte(0)
	}
	return packed.Bytes(), nil
}

// pythonVersion returns the running interpreter's version, such as "3.13.0".
func pythonVersion() string {
	version, _, _ := strings.Cut(C.GoString(C.snake_python_version()), " ")
	return version
}

// command is a command for caddysnake_py/bridge.py.
type command struct {
	Op    string       `json:"op"`
	Load  *loadRequest `json:"load,omitempty"`
	ID    uint32       `json:"id,omitempty"`
	Drain float64      `json:"drain"` // seconds
	Tasks float64      `json:"tasks"` // seconds
}

type loadRequest struct {
	ID uint32 `json:"id"`
	bridgeConfig
}

// answer is the bridge's reply.
type answer struct {
	Error     string  `json:"error"`
	Handle    uintptr `json:"handle"`
	Interface string  `json:"interface"`
	Idle      bool    `json:"idle"`
}

var errBridgeLost = errors.New("the Python bridge did not answer")

// ask sends a command and waits for its answer or for ctx. A late answer goes to
// late, if given.
func ask(ctx context.Context, cmd command, late ...func(answer, error)) (answer, error) {
	question, err := json.Marshal(cmd)
	if err != nil {
		return answer{}, err
	}
	s, err := slots.get(nil, 2)
	if err != nil {
		return answer{}, err
	}
	if err := s.setIn(append(s.in()[:0], question...)); err != nil {
		s.release()
		s.release()
		return answer{}, err
	}
	C.snake_push(nil, s.c)
	select {
	case <-s.piece:
		return s.takeAnswer()
	case <-ctx.Done():
		go func() {
			<-s.piece
			a, err := s.takeAnswer()
			for _, f := range late {
				f(a, err)
			}
		}()
		return answer{}, context.Cause(ctx)
	}
}

func (s *slot) takeAnswer() (answer, error) {
	defer s.release()
	if s.c.out_flags&C.SNAKE_OUT_FAIL != 0 {
		return answer{}, errBridgeLost
	}
	out, fits := s.out()
	if !fits {
		return answer{}, errBridgeLost
	}
	var a answer
	if err := json.Unmarshal(out.body, &a); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errBridgeLost, err)
	}
	if a.Error != "" {
		return answer{}, errors.New(a.Error)
	}
	return a, nil
}
