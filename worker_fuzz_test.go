package caddysnake

import (
	"errors"
	"go.uber.org/zap"
	"testing"
)

func FuzzWorkerReport(f *testing.F) {
	for _, seed := range []string{
		`{"op": "ready", "interface": "wsgi", "pid": 7, "modules": ["flask.app"]}`,
		`{"op": "failed", "error": "x"}`,
		`{"op": "log", "level": 20, "source": "shop", "message": "y"}`,
		`{"op": "stopped", "idle": true}`,
		`{"op": "forked", "pid": 7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := parseReport(packet{data: data})
		if err == nil {
			err = report.check()
		}
		if err != nil && !errors.Is(err, errReport) {
			t.Error(err)
		}
		z := &zygote{log: &workerLog{label: zap.Skip()}, loaded: make(chan error, 1), forked: make(chan forkAnswer, 1), ends: make(map[int]chan processEnd)}
		if err := z.handle(packet{data: data}); err != nil && !errors.Is(err, errReport) {
			t.Error(err)
		}
	})
}

func FuzzWorkerOutput(f *testing.F) {
	f.Add([]byte("a\r\nTraceback (most recent call last):\n  x\n\nE: \x1b\u202e\nb"), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		var whole, parts []string
		l := lineSplitter{emit: func(m string) { whole = append(whole, printable(m)) }}
		l.write(data)
		l.close()
		l = lineSplitter{emit: func(m string) { parts = append(parts, printable(m)) }}
		cut = min(max(cut, 0), len(data))
		l.write(data[:cut])
		l.write(data[cut:])
		l.close()
		if len(whole) != len(parts) {
			t.Fatalf("%q and %q", whole, parts)
		}
		for i, message := range whole {
			if message != parts[i] {
				t.Fatalf("%q and %q", message, parts[i])
			}
		}
	})
}
