package caddysnake

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// patient is a worker whose process is this test's, so that nothing can be sent to it.
func patient(t *testing.T, config appConfig) (*worker, *observer.ObservedLogs) {
	t.Helper()
	core, logged := observer.New(zap.DebugLevel)
	app := &appLog{app: "patient"}
	app.logger.Store(zap.New(core))
	ws := &workers{config: config}
	w := &worker{of: ws, process: &workerProcess{log: &workerLog{app: app, label: zap.Skip()}, died: make(chan struct{})}}
	close(w.process.died)
	w.slots.freed = w.freed
	return w, logged
}

func TestWorkerPulse(t *testing.T) {
	const second = time.Second
	type answer struct{ thread, loop bool }
	for name, c := range map[string]struct {
		blocked, request, stuck time.Duration
		answers                 answer // to the only ping
		want                    string // what the log says from second to second
	}{
		"nothing is configured":           {want: "- - - - -"},
		"it answers":                      {blocked: second, stuck: second, answers: answer{true, true}, want: "- - - - -"},
		"silence":                         {blocked: 2 * second, want: "- silent - - -"},
		"silence, by another limit":       {blocked: 9 * second, request: 3 * second, want: "- - silent - -"},
		"its thread answers":              {blocked: 2 * second, answers: answer{true, false}, want: "- - - - -"},
		"silence until its end":           {blocked: second, stuck: 3 * second, want: "silent - killed - -"},
		"its end comes first":             {blocked: 9 * second, stuck: 2 * second, want: "- silent killed - -"},
		"its end, without another limit":  {stuck: 2 * second, want: "- silent killed - -"},
		"its end, while the thread lives": {blocked: second, stuck: 2 * second, answers: answer{true, false}, want: "- busy killed - -"},
	} {
		t.Run(name, func(t *testing.T) {
			w, logged := patient(t, appConfig{
				bridgeConfig: bridgeConfig{BlockedLoop: seconds(c.blocked), RequestTimeout: seconds(c.request)},
				Limits:       workerLimits{Stuck: c.stuck},
			})
			w.inflight = 1
			now := time.Now()
			if act := w.checkPulse(now); act == nil || w.pulse.number != 1 {
				t.Fatal("it is not asked")
			}
			if c.answers.thread {
				w.isAlive(1, false)
			}
			if c.answers.loop {
				w.isAlive(1, true)
			}
			said := []string{}
			for i := 1; i <= 5; i++ {
				if act := w.checkPulse(now.Add(time.Duration(i) * second)); act != nil && !c.answers.loop {
					act()
				}
				word := "-"
				for _, entry := range logged.TakeAll() {
					switch {
					case strings.Contains(entry.Message, "no sign of life"):
						word = "silent"
					case strings.Contains(entry.Message, "finishes no request"):
						word = "busy"
					case strings.Contains(entry.Message, "killed"):
						word = "killed"
					}
				}
				said = append(said, word)
			}
			if got := strings.Join(said, " "); got != c.want {
				t.Errorf("%s instead of %s", got, c.want)
			}
		})
	}
}

func TestWorkerPulseTakesNoOldAnswer(t *testing.T) {
	w, _ := patient(t, appConfig{})
	w.pulse = pulse{number: 2, sent: time.Now()}
	w.isAlive(1, true)
	if w.pulse.thread || w.pulse.loop {
		t.Error("the answer to another ping counts")
	}
}

func TestWorkerIsFullOnlyWhileItFinishesNothing(t *testing.T) {
	w, _ := patient(t, appConfig{})
	w.of.limit, w.inflight = 2, 2
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		freed uint64
		want  time.Duration
	}{{0, 0, 0}, {3, 0, 3}, {4, 1, 0}, {6, 1, 2}} {
		w.full.freed = c.freed
		if got := w.fullFor(now.Add(c.after)); got != c.want {
			t.Errorf("after %d: %d instead of %d", c.after, got, c.want)
		}
	}
	w.inflight = 1
	if got := w.fullFor(now.Add(9)); got != 0 {
		t.Errorf("with a free place: %d", got)
	}
}

func TestLimitsSpreadByATenth(t *testing.T) {
	if got := spread(0); got != 0 {
		t.Error(got)
	}
	for range 1000 {
		if got := spread(1000); got < 1000 || got > 1100 {
			t.Fatal(got)
		}
	}
}
