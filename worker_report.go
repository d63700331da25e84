package caddysnake

// What a worker says on the control socket. The application runs in the same process
// and may write there, too: nothing is believed before it is checked.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"golang.org/x/sys/unix"
)

const (
	maxReportSource  = 256  // bytes
	maxReportModules = 2000 // see caddysnake_py/preload.py
	maxModuleName    = 256  // bytes
)

var errReport = errors.New("a worker has sent what it cannot have meant")

// workerReport is one of the structs below.
type workerReport interface{ check() error }

// readyReport says that the app takes requests.
type readyReport struct {
	Interface string   `json:"interface"` // "wsgi" or "asgi"
	PID       int      `json:"pid"`
	Modules   []string `json:"modules"` // of installed packages, which a zygote may preload
}

// failedReport says why the app cannot be loaded.
type failedReport struct {
	Error string `json:"error"`
}

// logReport is a record for Caddy's log.
type logReport struct {
	Level   int    `json:"level"` // of Python's logging
	Source  string `json:"source"`
	Message string `json:"message"`
	IDs     string `json:"ids"` // of the request for which the code ran, see idFields
}

// stoppedReport says that the app has shut down.
type stoppedReport struct {
	Idle bool `json:"idle"` // all of its requests had ended
}

// aliveReport answers a ping: first the thread that listens, then the event loop of an
// ASGI app.
type aliveReport struct {
	Ping uint32 `json:"ping"`
	Loop bool   `json:"loop"` // nothing else will answer
}

func (*aliveReport) check() error { return nil }

var importableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

func (r *readyReport) check() error {
	if r.Interface != "wsgi" && r.Interface != "asgi" {
		return fmt.Errorf("%w: interface %.20q", errReport, r.Interface)
	}
	if len(r.Modules) > maxReportModules {
		return fmt.Errorf("%w: %d modules", errReport, len(r.Modules))
	}
	for _, name := range r.Modules {
		if len(name) > maxModuleName || !importableName.MatchString(name) {
			return fmt.Errorf("%w: module %.20q", errReport, name)
		}
	}
	return nil
}

func (r *failedReport) check() error {
	if r.Error == "" {
		return fmt.Errorf("%w: a failure without a reason", errReport)
	}
	return nil
}

func (r *logReport) check() error {
	if r.Level < 0 || r.Level > 100 || len(r.Source) > maxReportSource {
		return fmt.Errorf("%w: a record of level %d from %.20q", errReport, r.Level, r.Source)
	}
	return nil
}

func (*stoppedReport) check() error { return nil }

// fileReport brings the file of a response.
type fileReport struct {
	Slot   uint32 `json:"slot"`
	Serial uint32 `json:"serial"`
}

func (*fileReport) check() error { return nil }

// isRegular tells whether a descriptor is a regular file that can be read.
func isRegular(fd int) bool {
	var about unix.Stat_t
	if unix.Fstat(fd, &about) != nil || about.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_PATH == 0 && flags&unix.O_ACCMODE != unix.O_WRONLY
}

// parseReport returns a pointer to one of the structs above.
func parseReport(p packet) (workerReport, error) {
	op, err := opOf(p.data)
	if err != nil {
		return nil, err
	}
	files := 0
	switch op {
	case "file", "metrics", "profile":
		files = 1
	}
	if len(p.files) != files || files == 1 && !isRegular(p.files[0]) {
		return nil, fmt.Errorf("%w: %.20q comes with other descriptors", errReport, op)
	}
	var report workerReport
	switch op {
	case "ready":
		report = new(readyReport)
	case "failed":
		report = new(failedReport)
	case "log":
		report = new(logReport)
	case "stopped":
		report = new(stoppedReport)
	case "alive":
		report = new(aliveReport)
	case "stacks":
		report = new(stacksReport)
	case "metrics":
		report = new(metricsReport)
	case "profile":
		report = new(profileReady)
	case "file":
		report = new(fileReport)
	default:
		return nil, fmt.Errorf("%w: op %.20q", errReport, op)
	}
	if err := unmarshalReport(p.data, report); err != nil {
		return nil, err
	}
	return report, report.check()
}

// opOf returns the name of a message.
func opOf(data []byte) (string, error) {
	var message struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return "", fmt.Errorf("%w: %w", errReport, err)
	}
	return message.Op, nil
}

// unmarshalReport decodes the fields beside "op". It refuses others.
func unmarshalReport(data []byte, report any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	delete(fields, "op")
	rest, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(rest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(report); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	return nil
}
