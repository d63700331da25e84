package caddysnake

// Metrics that are read when somebody asks for them: a scrape looks at all generations.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// metricsCollector shows the metrics of all apps in the registry of one config.
type metricsCollector struct{ engine *Engine }

var (
	descApps = newDesc("apps", "Applications by their state.", "app", "state")
	descInfo = newDesc("app_info", "What serves an application: 1.", "app", "interface", "python", "version")

	descInFlight   = newDesc("requests_in_flight", "Requests that wait for an application or run in it.", "app")
	descQueue      = newDesc("queue_depth", "Requests that wait for an application.", "app")
	descWebSockets = newDesc("websockets", "Open websockets.", "app")
	descThreads    = newDesc("threads", "Requests that WSGI applications may run at once.", "app")
	descBusy       = newDesc("busy_threads", "Threads that run a request of a WSGI application.", "app")
	descLag        = newDesc("loop_lag_seconds",
		"How long an event loop with requests has taken to give a sign of life; the longest, if there are several loops.", "app")
	descLockWait = newDesc("gil_wait_seconds_total",
		"Time that threads with a request have waited for Python's lock, in Caddy's process.")

	descWorkers = newDesc("total_workers", "Worker processes that are configured.", "app")
	descReady   = newDesc("ready_workers", "Worker processes that take requests.", "app")
	descWorking = newDesc("busy_workers", "Worker processes that have requests.", "app")
	descMemory  = newDesc("worker_memory_bytes", "Resident memory of worker processes.", "app")
)

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(metricsNamespace+"_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (metricsCollector) Describe(to chan<- *prometheus.Desc) {
	for _, vec := range counted {
		vec.Describe(to)
	}
	for _, desc := range []*prometheus.Desc{
		descApps, descInfo, descInFlight, descQueue, descWebSockets, descThreads, descBusy, descLag,
		descLockWait, descWorkers, descReady, descWorking, descMemory,
	} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c metricsCollector) Collect(to chan<- prometheus.Metric) {
	if !c.engine.metered.Load() {
		return
	}
	for _, vec := range counted {
		vec.Collect(to)
	}
	lockWait := time.Duration(C.snake_lock_wait()) * time.Microsecond
	to <- prometheus.MustNewConstMetric(descLockWait, prometheus.CounterValue, lockWait.Seconds())
	info := map[string][]*dto.LabelPair{}
	for _, kind := range []string{"asgi", "wsgi"} {
		info[kind] = []*dto.LabelPair{
			newLabel("interface", kind), newLabel("python", pythonVersion()), newLabel("version", pluginVersion()),
		}
	}
	for _, state := range readStates() {
		state.show(to, info)
	}
}

// stateGauge is a gauge whose labels are made beforehand: a scrape has many.
type stateGauge struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair // sorted
	value  float64
}

// Desc implements prometheus.Metric.
func (g *stateGauge) Desc() *prometheus.Desc { return g.desc }

// Write implements prometheus.Metric.
func (g *stateGauge) Write(to *dto.Metric) error {
	to.Label, to.Gauge = g.labels, &dto.Gauge{Value: &g.value}
	return nil
}

func newLabel(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

var (
	labelLoading = newLabel("state", "loading")
	labelLoaded  = newLabel("state", "loaded")
	labelFailed  = newLabel("state", "failed")
)

// appsState is how busy the apps of one name are.
type appsState struct {
	meter                  *meter
	loading, ready, failed int
	interfaces             []string
	requests               requestCounts
	webSockets             int
	threads, busyThreads   int
	lag                    time.Duration // below 0: unknown
	workers                workersState
}

// requestCounts are numbers of requests, without open websockets.
type requestCounts struct{ inFlight, queued int }

// workersState is how busy workers are.
type workersState struct {
	total, ready, busy int
	memory             int64
}

// readStates returns the state of each name that was ever used.
func readStates() []*appsState {
	states := map[*meter]*appsState{}
	var all []*appsState
	meters.mu.Lock()
	for _, m := range meters.byName {
		state := &appsState{meter: m, loading: int(m.loading.Load()), lag: -1}
		states[m] = state
		all = append(all, state)
	}
	meters.mu.Unlock()
	// Prometheus sorts them, which takes less time if they are.
	slices.SortFunc(all, func(a, b *appsState) int { return cmp.Compare(a.meter.name, b.meter.name) })
	queued := slots.countQueued()
	for _, gen := range liveGenerations.list() {
		if state := states[gen.meter]; state != nil { // else the name is new
			state.add(gen, queued[gen])
		}
	}
	countFailed(func(m *meter, failed int) {
		if state := states[m]; state != nil {
			state.failed += failed
		}
	})
	return all
}

// add adds a generation, of which queued requests wait in Caddy's process.
func (s *appsState) add(gen *generation, queued int) {
	retired := gen.retired.Load()
	if !retired {
		s.ready++
		if name := gen.interfaceName(); !slices.Contains(s.interfaces, name) {
			s.interfaces = append(s.interfaces, name)
		}
	}
	sockets := gen.webSockets.count()
	s.webSockets += sockets
	s.requests.inFlight += max(0, gen.requests()-sockets)
	s.requests.queued += queued
	if gen.workers != nil {
		s.addWorkers(gen, retired)
		return
	}
	load := gen.load()
	if gen.isWSGI {
		s.busyThreads += int(load.running)
		if !retired {
			s.threads += gen.app.config.Threads
		}
	} else {
		lag := time.Duration(max(load.loop_lag, load.loop_silent)) * time.Microsecond
		s.lag = max(s.lag, lag)
	}
}

func (s *appsState) addWorkers(gen *generation, retired bool) {
	seen := gen.workers.survey()
	s.requests.queued += seen.waiting
	for _, w := range seen.all {
		s.workers.memory += residentMemory(w.pid)
		running := 0
		w.slots.each(func(slot *slot) {
			switch {
			case !slot.isPushed():
			case !slot.hasBegun():
				s.requests.queued++
			case atomic.LoadUint32((*uint32)(&slot.wire.waits)) == 0:
				running++
			}
		})
		if gen.isWSGI {
			s.busyThreads += min(running, gen.app.config.Threads)
		} else {
			s.lag = max(s.lag, w.lag, w.silent)
		}
		if w.inflight > 0 {
			s.workers.busy++
		}
		if w.isReady {
			s.workers.ready++
		}
	}
	if retired {
		return
	}
	s.workers.total += gen.workers.config.Workers
	if gen.isWSGI {
		s.threads += gen.app.config.Threads * gen.workers.config.Workers
	}
}

// show sends the metrics. info are the labels of app_info beside the name, by interface.
func (s *appsState) show(to chan<- prometheus.Metric, info map[string][]*dto.LabelPair) {
	name := []*dto.LabelPair{s.meter.label}
	gauge := func(desc *prometheus.Desc, value float64, more ...*dto.LabelPair) {
		to <- &stateGauge{desc, append(name[:1:1], more...), value}
	}
	gauge(descApps, float64(s.loading), labelLoading)
	gauge(descApps, float64(s.ready), labelLoaded)
	gauge(descApps, float64(s.failed), labelFailed)
	for _, kind := range s.interfaces {
		gauge(descInfo, 1, info[kind]...)
	}
	gauge(descInFlight, float64(s.requests.inFlight))
	gauge(descQueue, float64(s.requests.queued))
	gauge(descWebSockets, float64(s.webSockets))
	if s.threads > 0 {
		gauge(descThreads, float64(s.threads))
		gauge(descBusy, float64(s.busyThreads))
	}
	if s.lag >= 0 {
		gauge(descLag, s.lag.Seconds())
	}
	if s.workers.total > 0 {
		gauge(descWorkers, float64(s.workers.total))
		gauge(descReady, float64(s.workers.ready))
		gauge(descWorking, float64(s.workers.busy))
		gauge(descMemory, float64(s.workers.memory))
	}
}

// countFailed tells of how many apps of a name the last load has failed.
func countFailed(add func(m *meter, failed int)) {
	running.Range(func(_, value any) bool {
		switch found := value.(type) {
		case *App:
			if found.failure.Load() != nil {
				add(found.meter, 1)
			}
		case *tenants:
			found.mu.RLock()
			defer found.mu.RUnlock()
			for _, t := range found.byKey {
				if t.hasFailed() {
					add(t.meter, 1)
				}
			}
		}
		return true
	})
}

// Interface guards
var (
	_ prometheus.Collector = metricsCollector{}
	_ prometheus.Metric    = (*stateGauge)(nil)
)
