package caddysnake

// The interpreter: starts once, and loads and unloads apps on request.

/*
#cgo CFLAGS: -O2 -std=gnu11 -Wall -Wextra
#cgo LDFLAGS: -lpthread -ldl
#include <stdlib.h>
#include "caddysnake.h"
*/
import "C"

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"sync"
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
	keepPassedSockets()

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

	if err := slots.readNews(C.snake_completions()); err != nil {
		return err
	}
	records := C.snake_logs()
	logs.head = (*unsafe.Pointer)(unsafe.Pointer(records.newest))
	if _, err := readList(int(records.fd), (*uint32)(records.rung), logs.take); err != nil {
		return err
	}
	answers := C.snake_answers()
	takeAnswers := func() bool {
		return takeMessages((*unsafe.Pointer)(unsafe.Pointer(answers.newest)), takeAnswer)
	}
	if _, err := readList(int(answers.fd), (*uint32)(answers.rung), takeAnswers); err != nil {
		return err
	}
	caddy.OnExit(leavePython)
	return nil
})

// keepPassedSockets keeps the sockets that systemd has passed to this process from those
// that it starts, as sd_listen_fds(3) does: Caddy itself leaves them open for those.
func keepPassedSockets() {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return
	}
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for fd := 3; fd < 3+count; fd++ {
		syscall.CloseOnExec(fd)
	}
}

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
