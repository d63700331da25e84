package caddysnake

// Writes a worker's records and the lines of its standard streams to Caddy's log.

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// lastOutputLimit is how much of its last output Caddy quotes when a worker dies, in
// bytes.
const lastOutputLimit = 4 << 10

// pipeTimeout is how long Caddy waits for the last output of a dead process, whose
// children may hold its streams open.
const pipeTimeout = 300 * time.Millisecond

// Levels of Python's logging.
const (
	pythonInfo  = 20
	pythonError = 40
)

// workerLog is the identity of a worker, or of another process of an app, in the log.
type workerLog struct {
	app    *appLog   // nil for a zygote
	label  zap.Field // tells the process from others of the app
	stderr int       // the level of lines on its standard error; one of Python's
	pipes  sync.WaitGroup

	mu   sync.Mutex
	last string // the last output, not longer than lastOutputLimit
}

// logger returns the logger of the newest config, with what identifies the process.
func (l *workerLog) logger() *zap.Logger {
	if l.app == nil {
		return caddy.Log().Named(loggerName).With(l.label)
	}
	return l.app.logger.Load().With(zap.String("app", l.app.app), l.label)
}

// write writes a record. level is one of Python's.
func (l *workerLog) write(level int, message string, fields ...zap.Field) {
	if entry := l.logger().Check(zapLevel(level), printable(message)); entry != nil {
		entry.Write(fields...)
	}
}

// report writes a record that the worker has sent.
func (l *workerLog) report(r *logReport) {
	l.write(r.Level, r.Message, append(idFields(r.IDs), zap.String("python_logger", oneLine(r.Source)))...)
}

// follow logs the lines of a stream, in the background, until all processes that
// write to it have closed it. It closes the pipe.
func (l *workerLog) follow(pipe *os.File, stream string, level int) {
	l.pipes.Go(func() {
		defer pipe.Close()
		lines := lineSplitter{emit: func(message string) {
			l.remember(message)
			l.write(level, strings.ToValidUTF8(message, "\ufffd"), zap.String("stream", stream))
		}}
		data := make([]byte, 16<<10)
		for {
			n, err := pipe.Read(data)
			lines.write(data[:n])
			if err != nil {
				lines.close()
				return
			}
		}
	})
}

// awaitLastWords waits until everything that a dead process has said is in the log: on
// its streams, and before heard is closed; nil: it says nothing else.
func (l *workerLog) awaitLastWords(heard <-chan struct{}) {
	said := make(chan struct{})
	go func() {
		if heard != nil {
			<-heard
		}
		l.pipes.Wait()
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(pipeTimeout):
	}
}

func (l *workerLog) remember(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last += "\n" + line
	if len(l.last) > lastOutputLimit {
		l.last = l.last[len(l.last)-lastOutputLimit:]
	}
}

// lastOutput returns the last lines of both streams.
func (l *workerLog) lastOutput() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return printable(strings.ToValidUTF8(strings.TrimPrefix(l.last, "\n"), ""))
}
