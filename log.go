package caddysnake

// Writes Python's log records to Caddy's log.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// loggerName is the logger's name for apps and for their handler.
const loggerName = "http.handlers.python"

// appLogs maps the id of a loaded generation to its *appLog.
var appLogs sync.Map

// appLog is an app's identity in the log. The logger belongs to the newest config
// that uses the app.
type appLog struct {
	app    string
	logger atomic.Pointer[zap.Logger]
}

func addAppLog(id uint32, app string, logger *zap.Logger) *appLog {
	added := &appLog{app: app}
	added.logger.Store(logger)
	appLogs.Store(id, added)
	return added
}

// removeAppLog ends an app's logging, after its last source has ended. It first
// writes the pending records.
func removeAppLog(id uint32) {
	logs.take()
	appLogs.Delete(id)
}

// logs is the list of records that Python has left for Go.
var logs logList

type logList struct {
	mu   sync.Mutex // held until the taken records are written
	head *unsafe.Pointer
}

// take writes the listed records; it returns false if there were none. When it
// returns, all records listed before the call have been written.
func (l *logList) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return takeMessages(l.head, writeLog)
}

func writeLog(record *C.snake_message) {
	source, message := splitRecord(data(record), int(record.source_len))
	source, ids, _ := strings.Cut(source, "\x00")
	logger, fields := caddy.Log().Named(loggerName), idFields(ids)
	if v, ok := appLogs.Load(uint32(record.id)); ok {
		v := v.(*appLog)
		logger = v.logger.Load()
		fields = append(fields, zap.String("app", v.app))
	}
	switch source {
	case "stdout", "stderr":
		fields = append(fields, zap.String("stream", source))
	default:
		fields = append(fields, zap.String("python_logger", source))
	}
	if entry := logger.Check(zapLevel(int(record.level)), message); entry != nil {
		entry.Write(fields...)
	}
}

// complain logs an error that neither the app nor the client caused.
func (s *slot) complain(err error) {
	logger, fields := caddy.Log().Named(loggerName), []zap.Field(nil)
	if gen := s.gen; gen != nil && gen.appLog != nil {
		logger, fields = gen.appLog.logger.Load(), append(fields, zap.String("app", gen.appLog.app))
	}
	logger.Error(err.Error(), fields...)
}

// splitRecord splits a record's data after its source. If the length does not fit,
// all of it is the message.
func splitRecord(data []byte, sourceLen int) (source, message string) {
	c := cursor[string]{left: string(data)}
	source = c.take(sourceLen)
	if c.broken {
		return "", string(data)
	}
	return source, c.left
}

// zapLevel maps a level of Python's logging. CRITICAL becomes an error: zap's
// higher levels end the process.
func zapLevel(python int) zapcore.Level {
	switch {
	case python >= 40:
		return zap.ErrorLevel
	case python >= 30:
		return zap.WarnLevel
	case python >= 20:
		return zap.InfoLevel
	default:
		return zap.DebugLevel
	}
}
