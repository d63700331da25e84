package caddysnake

// The log of the dev command: lines for a person.

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

func init() {
	caddy.RegisterModule(new(DevEncoder))
}

// DevEncoder writes a line for each request, and what a Python application prints, logs
// and raises. Of what the server says about applications, it shows reloads and problems.
type DevEncoder struct {
	*zapcore.MapObjectEncoder `json:"-"`

	isColored bool
}

// CaddyModule returns the Caddy module information.
func (*DevEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.python_dev", New: func() caddy.Module {
		return &DevEncoder{MapObjectEncoder: zapcore.NewMapObjectEncoder()}
	}}
}

// Provision looks for a terminal.
func (e *DevEncoder) Provision(caddy.Context) error {
	e.isColored = term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("NO_COLOR") == ""
	return nil
}

// Clone implements zapcore.Encoder.
func (e *DevEncoder) Clone() zapcore.Encoder {
	clone := &DevEncoder{zapcore.NewMapObjectEncoder(), e.isColored}
	maps.Copy(clone.Fields, e.Fields)
	return clone
}

var devBuffers = buffer.NewPool()

// EncodeEntry implements zapcore.Encoder.
func (e *DevEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	all := e.Clone().(*DevEncoder)
	for _, field := range fields {
		field.AddTo(all)
	}
	line := devBuffers.Get()
	if text := all.text(entry); text != "" {
		line.AppendString(text + "\n")
	}
	return line, nil
}

// text returns what a record shows; "" if nothing.
func (e *DevEncoder) text(entry zapcore.Entry) string {
	field := func(name string) string {
		value, _ := e.Fields[name].(string)
		return value
	}
	switch {
	case entry.LoggerName == "http.log.access":
		return e.request(entry.Time)
	case entry.LoggerName == "http.log.error" &&
		(entry.Message == errAppFailed.Error() || entry.Message == errNotLoaded.Error()): // the traceback is shown
		return ""
	case entry.LoggerName == "" && entry.Level < zapcore.ErrorLevel: // Caddy's farewell
		return ""
	case entry.LoggerName != loggerName:
		return e.paint(entry.Level, entry.LoggerName+": ") + entry.Message + after(": ", field("error"))
	case field("stream") != "":
		return entry.Message
	case field("python_logger") == "caddysnake":
		return e.paint(entry.Level, foldFrames(entry.Message))
	case field("python_logger") != "":
		return e.paint(entry.Level, strings.ToUpper(entry.Level.String())+" "+field("python_logger")+": ") + entry.Message
	case field("changed") != "":
		return e.paint(entry.Level, fmt.Sprintf("%s (%s)", entry.Message, field("changed"))) + after("\n", foldFrames(field("error")))
	case entry.Level >= zapcore.WarnLevel:
		return e.paint(entry.Level, entry.Message) + after(": ", field("error"))
	}
	return ""
}

// foldFrames replaces runs of frames of installed packages in a traceback by a line.
// The last frame stays, since it shows what was raised.
func foldFrames(text string) string {
	var out, folded []string
	frames := 0
	flush := func(fold bool) {
		if fold && frames > 2 {
			folded = []string{fmt.Sprintf("  … %d frames of installed packages", frames)}
		}
		out, folded, frames = append(out, folded...), nil, 0
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch isFrame := strings.HasPrefix(line, `  File "`); {
		case isFrame && strings.Contains(line, "/site-packages/"):
			folded = append(folded, line)
			frames++
		case isFrame:
			flush(true)
			out = append(out, line)
		case frames > 0 && strings.HasPrefix(line, "    "):
			folded = append(folded, line)
		default:
			flush(false)
			out = append(out, line)
		}
	}
	flush(false)
	return strings.Join(out, "\n")
}

func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// request returns the line of a request.
func (e *DevEncoder) request(at time.Time) string {
	request, _ := e.Fields["request"].(map[string]any)
	status, _ := e.Fields["status"].(int64)
	size, _ := e.Fields["size"].(int64)
	seconds, _ := e.Fields["duration"].(time.Duration)
	level := zapcore.InfoLevel
	switch {
	case status >= 500:
		level = zapcore.ErrorLevel
	case status >= 400:
		level = zapcore.WarnLevel
	}
	return fmt.Sprintf("%s  %s  %-7v %v  %s, %s", at.Format(time.TimeOnly), e.paint(level, strconv.FormatInt(status, 10)),
		request["method"], request["uri"], seconds.Round(10*time.Microsecond), humanize.IBytes(uint64(max(0, size))))
}

// paint colours a text by its level, on a terminal.
func (e *DevEncoder) paint(level zapcore.Level, text string) string {
	colour := map[zapcore.Level]int{zapcore.InfoLevel: 32, zapcore.WarnLevel: 33, zapcore.ErrorLevel: 31}[level]
	if !e.isColored || colour == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, text)
}

// Interface guards
var (
	_ caddy.Provisioner = (*DevEncoder)(nil)
	_ zapcore.Encoder   = (*DevEncoder)(nil)
)
