package caddysnake

// What is counted of apps, for Caddy's metrics. A counter lives as long as the process:
// neither a reload nor a new config may set it back.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	metricsNamespace = "caddysnake"
	// otherTenants is the name of the tenants beyond per_tenant_metrics, as in Caddy.
	otherTenants = "_other"
)

var (
	// requestBuckets are the bounds of histograms of a request's parts, in seconds.
	requestBuckets = []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 60}
	// loadBuckets are those of an app's load.
	loadBuckets = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

var (
	requestsTotal = newCounter("requests_total", "Requests that have ended, by the class of their status.", "code")
	timeoutsTotal = newCounter("timeouts_total", "Requests that have exceeded request_timeout.")
	slowTotal     = newCounter("slow_requests_total", "WSGI requests that have run longer than slow_request.")

	queueSeconds = newHistogram("queue_seconds",
		"Time from a request's arrival until the application is called.", requestBuckets)
	applicationSeconds = newHistogram("application_seconds",
		"Time from the call of the application until the end of its response.", requestBuckets)
	writeSeconds = newHistogram("response_write_seconds",
		"Time that writing the response to the client has taken.", requestBuckets)

	loadsTotal     = newCounter("app_loads_total", "Loads of an application's code.", "result")
	loadSeconds    = newHistogram("app_load_seconds", "Time that loading an application has taken.", loadBuckets, "result")
	reloadsTotal   = newCounter("reloads_total", "Loads that have replaced an application's code.")
	evictionsTotal = newCounter("evictions_total", "Applications of tenants that were unloaded, by the reason.", "reason")

	crashesTotal  = newCounter("worker_crashes_total", "Workers that have ended unasked.")
	restartsTotal = newCounter("worker_restarts_total", "Workers that have replaced another.", "reason")

	// scrapeErrorsTotal is shown by appMetricsCollector, after it has asked.
	scrapeErrorsTotal = newCounter("app_scrape_errors_total",
		"Questions for an application's own metrics that were not answered in time, or by an error.")
)

// counted are the metrics that do not depend on the moment of the scrape.
var counted = []prometheus.Collector{
	requestsTotal, timeoutsTotal, slowTotal, queueSeconds, applicationSeconds, writeSeconds,
	loadsTotal, loadSeconds, reloadsTotal, evictionsTotal, crashesTotal, restartsTotal,
}

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricsNamespace, Name: name, Help: help,
	}, append([]string{"app"}, labels...))
}

func newHistogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Name: name, Help: help, Buckets: buckets,
	}, append([]string{"app"}, labels...))
}

// metering is the number of configs with metrics. Requests are measured if there is one.
var metering atomic.Int32

func isMetering() bool { return metering.Load() > 0 }

// addMetering adds a config with metrics, or takes it back.
func addMetering(change int32) {
	C.snake_measure(C.int(min(metering.Add(change), 1)))
}

// meter counts for all apps of one name.
type meter struct {
	name        string
	label       *dto.LabelPair        // app
	requests    [5]prometheus.Counter // by the class of the status: 1xx …
	timeouts    prometheus.Counter
	slow        prometheus.Counter
	queue       prometheus.Observer
	application prometheus.Observer
	write       prometheus.Observer
	reloads     prometheus.Counter
	loading     atomic.Int64 // apps that are being loaded for the first time
	own         *appMetrics  // what applications count themselves; guarded by the lock of meters
}

// meters are the meters of all names.
var meters = struct {
	mu      sync.Mutex
	byName  map[string]*meter
	tenants int // those of a tenant of their own
}{byName: map[string]*meter{}}

// perTenant is per_tenant_metrics of the running config.
var perTenant atomic.Int64

// meterOf returns the meter for a name as configured.
func meterOf(name string) *meter {
	meters.mu.Lock()
	defer meters.mu.Unlock()
	return findMeter(name)
}

// findMeter returns a meter, new if need be. The caller holds the lock.
func findMeter(name string) *meter {
	name = strings.ToValidUTF8(name, "\uFFFD") // one bad label would spoil the scrape
	m := meters.byName[name]
	if m == nil {
		m = newMeter(name)
		meters.byName[name] = m
	}
	return m
}

// ofTenant returns the meter for a tenant of the block that m counts for.
func (m *meter) ofTenant(values string) *meter {
	most := int(perTenant.Load())
	if most == 0 {
		return m
	}
	name := fmt.Sprintf("%s (%s)", m.name, values)
	meters.mu.Lock()
	defer meters.mu.Unlock()
	if meters.byName[strings.ToValidUTF8(name, "\uFFFD")] == nil {
		if meters.tenants >= most {
			return findMeter(otherTenants)
		}
		meters.tenants++
	}
	return findMeter(name)
}

func newMeter(name string) *meter {
	m := &meter{
		name:        name,
		label:       newLabel("app", name),
		timeouts:    timeoutsTotal.WithLabelValues(name),
		slow:        slowTotal.WithLabelValues(name),
		queue:       queueSeconds.WithLabelValues(name),
		application: applicationSeconds.WithLabelValues(name),
		write:       writeSeconds.WithLabelValues(name),
		reloads:     reloadsTotal.WithLabelValues(name),
	}
	for class := range m.requests {
		m.requests[class] = requestsTotal.WithLabelValues(name, fmt.Sprintf("%dxx", class+1))
	}
	for _, result := range []string{"success", "failure"} { // a rate needs its beginning
		loadsTotal.WithLabelValues(name, result)
	}
	return m
}

// loaded counts a load that began at start.
func (m *meter) loaded(start time.Time, err error) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	loadsTotal.WithLabelValues(m.name, result).Inc()
	loadSeconds.WithLabelValues(m.name, result).Observe(time.Since(start).Seconds())
}

// evicted counts an app that an option has unloaded.
func (m *meter) evicted(option string) { evictionsTotal.WithLabelValues(m.name, option).Inc() }

// hasWorkers begins the counters of workers at 0: Prometheus sees no increase in a
// counter that begins with its first crash.
func (m *meter) hasWorkers() {
	crashesTotal.WithLabelValues(m.name)
	for _, reason := range []string{"crash", "kill_stuck", "max_requests", "max_memory", "max_age"} {
		restartsTotal.WithLabelValues(m.name, reason)
	}
}

// crashed counts a worker that has ended unasked.
func (m *meter) crashed() { crashesTotal.WithLabelValues(m.name).Inc() }

// restarted counts a worker that has replaced another: after a crash, because the other
// was stuck, or because of the option with this name.
func (m *meter) restarted(reason string) { restartsTotal.WithLabelValues(m.name, reason).Inc() }
