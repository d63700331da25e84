package caddysnake

// The applications' own metrics (option app_metrics): who has them, and how Caddy asks.
// What they say is read in app_metrics_parse.go and added up in app_metrics_sum.go.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	// appMetricsTimeout limits how long a scrape waits for applications.
	appMetricsTimeout = 2 * time.Second
	// lastMetricsTimeout limits how long the end of an application waits for its metrics.
	lastMetricsTimeout = time.Second
	// askedAtOnce is the number of applications that a scrape asks at the same time.
	askedAtOnce = 16
	// complaintPause is the time between two records about metrics that are missing.
	complaintPause = time.Minute
	// maxComplaints limits the metrics of one name that the log says to be dropped.
	maxComplaints = 100
)

var (
	errMetricsLate = fmt.Errorf("the application's collectors have not returned within %s", appMetricsTimeout)
	errNotAsked    = errors.New("no time was left to ask the application")
)

// appMetrics are the metrics of all applications that have one name. Like a meter, they
// live as long as the process.
type appMetrics struct {
	meter *meter

	mu         sync.Mutex
	sources    []*metricsSource // oldest first
	ended      *sumFamilies     // what sources that are gone have counted
	complaints map[string]bool  // metrics that the log says to be dropped
	complained time.Time        // the last record about metrics that are missing
}

// metricsSource is a process whose application has metrics, or its generation in Caddy's
// process.
type metricsSource struct {
	of     *appMetrics
	gen    *generation
	worker string // its number; "": Caddy's process
	ask    func() ([]byte, error)

	// The lock of appMetrics guards these.
	last    []*appFamily   // what it has said last
	isStale bool           // it did not answer the newest question
	leaves  bool           // its worker has a successor
	asked   *metricsAnswer // that is not there yet; nil: none is
}

// metricsAnswer is an answer to come. err is set before it is closed.
type metricsAnswer struct {
	done   chan struct{}
	err    error
	isLate bool // a question has waited for it in vain
}

// addSource adds what is asked for metrics.
func (m *meter) addSource(gen *generation, worker int, ask func() ([]byte, error)) *metricsSource {
	a := m.ownMetrics()
	source := &metricsSource{of: a, gen: gen, ask: ask}
	if worker > 0 {
		source.worker = strconv.Itoa(worker)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sources = append(a.sources, source)
	return source
}

// ownMetrics returns the metrics of the applications of this name, new if need be.
func (m *meter) ownMetrics() *appMetrics {
	meters.mu.Lock()
	defer meters.mu.Unlock()
	if m.own == nil {
		m.own = &appMetrics{meter: m, ended: newSumFamilies(), complaints: map[string]bool{}}
		scrapeErrorsTotal.WithLabelValues(m.name) // a rate needs its beginning
	}
	return m.own
}

// refresh asks the source, unless somebody does, and waits for the answer. A source that
// was late once is not waited for again, until its answer is there.
func (s *metricsSource) refresh(ctx context.Context) error {
	s.of.mu.Lock()
	answer := s.asked
	if answer == nil {
		answer = &metricsAnswer{done: make(chan struct{})}
		s.asked = answer
		go s.fetch(answer)
	}
	isLate := answer.isLate
	s.of.mu.Unlock()
	if isLate {
		return errMetricsLate
	}
	select {
	case <-answer.done:
		return answer.err
	case <-ctx.Done():
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	answer.isLate, s.isStale = true, true
	return errMetricsLate
}

// fetch gets an answer, however long it takes.
func (s *metricsSource) fetch(answer *metricsAnswer) {
	text, err := s.ask()
	var found *appSnapshot
	if err == nil {
		found, err = parseAppMetrics(text)
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.asked, s.isStale = nil, err != nil
	if err == nil && s.isLive() {
		s.last = found.families
		s.of.complain(s, found)
	}
	answer.err = err
	close(answer.done)
}

// isLive tells whether the source has not ended. The caller holds the lock.
func (s *metricsSource) isLive() bool { return slices.Contains(s.of.sources, s) }

// leave notes that the source's worker has a successor, whose gauges count.
func (s *metricsSource) leave() {
	if s != nil {
		s.of.mu.Lock()
		defer s.of.mu.Unlock()
		s.leaves = true
	}
}

// finish asks once more what the application has counted, before its end.
func (s *metricsSource) finish() {
	if s == nil || !isMetering() || caddy.Exiting() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastMetricsTimeout)
	defer cancel()
	_ = s.refresh(ctx) // then what it has said before counts
}

// end takes the source away. What it has counted stays.
func (s *metricsSource) end() {
	if s == nil {
		return
	}
	a := s.of
	a.mu.Lock()
	defer a.mu.Unlock()
	at := slices.Index(a.sources, s)
	if at < 0 {
		return
	}
	a.sources = slices.Delete(a.sources, at, at+1)
	a.ended.add(s.last, addend{isPast: true, isNewer: true}, nil)
	s.last = nil
}

// refreshAll asks all sources of all names.
func refreshAll(all []*appMetrics) {
	ctx, cancel := context.WithTimeout(context.Background(), appMetricsTimeout)
	defer cancel()
	sources := make(chan *metricsSource)
	var group sync.WaitGroup
	for range askedAtOnce {
		group.Go(func() {
			for source := range sources {
				err := errNotAsked
				if ctx.Err() == nil {
					err = source.refresh(ctx)
				}
				if err != nil && !errors.Is(err, errWorkerDied) {
					source.failed(err)
				}
			}
		})
	}
	for _, a := range all {
		a.mu.Lock()
		asked := slices.Clone(a.sources)
		a.mu.Unlock()
		for _, source := range asked {
			sources <- source
		}
	}
	close(sources)
	group.Wait()
}

// sum returns the sum of all that is known.
func (a *appMetrics) sum() *sumFamilies {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := newSumFamilies()
	conflict := func(family *appFamily, err error) { a.drop(family.name, err) }
	for _, source := range slices.Backward(a.sources) { // the newest has its way
		isPast := source.isStale || source.leaves || !source.gen.isCurrent()
		sum.add(source.last, addend{worker: source.worker, isPast: isPast}, conflict)
	}
	sum.add(a.ended.all(), addend{isPast: true}, func(*appFamily, error) {})
	if sum.leftOut > 0 {
		a.missing(fmt.Errorf("%d series are left out: an application may have %d samples", sum.leftOut, maxAppSamples))
	}
	return sum
}

// complain logs which metrics can't be shown. The caller holds the lock.
func (a *appMetrics) complain(s *metricsSource, found *appSnapshot) {
	for name, why := range found.dropped {
		a.drop(name, why)
	}
	if found.leftOut > 0 {
		a.missing(fmt.Errorf("%d metrics are left out: an application may have %d samples, in %d MiB",
			found.leftOut, maxAppSamples, maxMetricsBytes>>20))
	}
}

// drop logs once that a metric can't be shown. The caller holds the lock.
func (a *appMetrics) drop(name string, why error) {
	if a.complaints[name] || len(a.complaints) >= maxComplaints {
		return
	}
	a.complaints[name] = true
	a.logger().Warn("metric of a python app is dropped", zap.String("app", a.meter.name),
		zap.String("metric", printable(name)), zap.Error(why))
}

// missing logs, once in a while, why metrics are missing. The caller holds the lock.
func (a *appMetrics) missing(why error) {
	if time.Since(a.complained) < complaintPause {
		return
	}
	a.complained = time.Now()
	a.logger().Warn("metrics of a python app are missing", zap.String("app", a.meter.name), zap.Error(why))
}

// failed counts and logs that a scrape has no answer of the source.
func (s *metricsSource) failed(err error) {
	scrapeErrorsTotal.WithLabelValues(s.of.meter.name).Inc()
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.isLive() {
		s.of.missing(err)
	}
}

// logger is that of the newest source. The caller holds the lock.
func (a *appMetrics) logger() *zap.Logger {
	if len(a.sources) == 0 {
		return zap.NewNop()
	}
	return a.sources[len(a.sources)-1].gen.appLog.logger.Load()
}

// isCurrent tells whether the generation gets its App's requests.
func (g *generation) isCurrent() bool { return g.app.current.Load() == g }

// askMetrics asks the bridge for the metrics of a generation in Caddy's process.
func (g *generation) askMetrics() ([]byte, error) {
	found, err := ask(context.Background(), command{Op: "metrics", ID: g.id})
	return []byte(found.Metrics), err
}
