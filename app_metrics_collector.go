package caddysnake

// Shows the applications' own metrics in the registry of one config. One that does not go
// with the others would spoil the whole scrape, so it is dropped before.

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// appMetricsCollector is an unchecked collector: nobody knows the names before.
type appMetricsCollector struct{ engine *Engine }

// Describe implements prometheus.Collector.
func (appMetricsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c appMetricsCollector) Collect(to chan<- prometheus.Metric) {
	if !c.engine.metered.Load() {
		return
	}
	var all []*appMetrics
	meters.mu.Lock()
	for _, m := range meters.byName {
		if m.own != nil {
			all = append(all, m.own)
		}
	}
	meters.mu.Unlock()
	if len(all) > 0 {
		refreshAll(all)
		slices.SortFunc(all, func(a, b *appMetrics) int { return cmp.Compare(a.meter.name, b.meter.name) })
		names := shownNames{registry: c.engine.ctx.GetMetricsRegistry(), byName: map[string]*shownName{}}
		for _, a := range all {
			names.show(a, to)
		}
	}
	scrapeErrorsTotal.Collect(to)
}

// shownNames are the metrics that a scrape shows so far.
type shownNames struct {
	registry *prometheus.Registry
	byName   map[string]*shownName
}

// shownName is one of them.
type shownName struct {
	kind metricKind
	desc *prometheus.Desc
	err  error // why it is not shown
}

// show sends the metrics of the applications of one name.
func (n *shownNames) show(a *appMetrics, to chan<- prometheus.Metric) {
	sum := a.sum()
	for _, name := range slices.Sorted(maps.Keys(sum.byName)) {
		family := sum.byName[name]
		if err := n.add(&family.appFamily); err != nil {
			a.mu.Lock()
			a.drop(name, err)
			a.mu.Unlock()
			continue
		}
		for _, series := range family.byKey {
			to <- &appMetric{desc: n.byName[name].desc, app: &a.meter.name, kind: family.kind, series: series}
		}
	}
}

// add tells whether a metric goes with those that are shown, and with Caddy's. Its help is
// that of the first application that has it.
func (n *shownNames) add(family *appFamily) error {
	if known := n.byName[family.name]; known != nil {
		if known.err == nil && known.kind != family.kind {
			return fmt.Errorf("it is a %s, and a %s in another application", family.kind, known.kind)
		}
		return known.err
	}
	added := &shownName{kind: family.kind, desc: prometheus.NewDesc(family.name, family.help, nil, nil)}
	added.err = n.check(family)
	n.byName[family.name] = added
	return added.err
}

var (
	errTaken      = errors.New("another metric of Caddy has this name")
	errSuffix     = errors.New("its name is a line of a histogram or summary of another name")
	distributions = []string{"_sum", "_count", "_bucket"} // suffixes of a histogram's lines
)

func (n *shownNames) check(family *appFamily) error {
	names := []string{family.name}
	for _, suffix := range distributions {
		if base, found := strings.CutSuffix(family.name, suffix); found {
			names = append(names, base)
			if known := n.byName[base]; known != nil && known.err == nil && known.kind.isDistribution() {
				return errSuffix
			}
		}
		if family.kind.isDistribution() {
			names = append(names, family.name+suffix)
			if known := n.byName[family.name+suffix]; known != nil && known.err == nil {
				return errSuffix
			}
		}
	}
	if isTaken(n.registry, names) {
		return errTaken
	}
	return nil
}

var errNotTaken = errors.New("no collector of the registry has these names")

// nameProbe describes names and then something invalid, so that it is never registered:
// the registry's error tells whether it knows one of the names.
type nameProbe []string

// Describe implements prometheus.Collector.
func (p nameProbe) Describe(to chan<- *prometheus.Desc) {
	for _, name := range p {
		to <- prometheus.NewDesc(name, "The help of no other metric.", nil, nil)
	}
	to <- prometheus.NewInvalidDesc(errNotTaken)
}

// Collect implements prometheus.Collector.
func (nameProbe) Collect(chan<- prometheus.Metric) {}

// isTaken tells whether another collector of the registry has one of the names.
func isTaken(registry *prometheus.Registry, names []string) bool {
	return !errors.Is(registry.Register(nameProbe(names)), errNotTaken)
}

// appMetric is one series.
type appMetric struct {
	desc   *prometheus.Desc
	app    *string
	kind   metricKind
	series *appSeries
}

// Desc implements prometheus.Metric. It has no labels: they differ from series to series.
func (m *appMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m *appMetric) Write(to *dto.Metric) error {
	to.Label = withLabel(m.series.labels, "app", *m.app)
	values := m.series.values
	switch m.kind {
	case kindCounter:
		to.Counter = &dto.Counter{Value: &values[0]}
	case kindGauge:
		to.Gauge = &dto.Gauge{Value: &values[0]}
	case kindSummary:
		to.Summary = &dto.Summary{SampleSum: &values[0], SampleCount: proto.Uint64(uint64(values[1]))}
	case kindHistogram:
		h := &dto.Histogram{SampleSum: &values[0], SampleCount: proto.Uint64(uint64(values[1]))}
		for i, bound := range m.series.bounds {
			if !math.IsInf(bound, 1) { // whoever writes the text adds it
				h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: proto.Uint64(uint64(values[2+i]))})
			}
		}
		to.Histogram = h
	default:
		to.Untyped = &dto.Untyped{Value: &values[0]}
	}
	return nil
}

// Interface guards
var (
	_ prometheus.Collector = appMetricsCollector{}
	_ prometheus.Collector = nameProbe{}
	_ prometheus.Metric    = (*appMetric)(nil)
)
