package caddysnake

// Adds up the metrics of all processes and generations that have one name.

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// sumFamilies are added-up metrics, by their names.
type sumFamilies struct {
	byName  map[string]*sumFamily
	samples int
	bytes   int // of names and labels
	leftOut int // series beyond the limits
}

// sumFamily is a metric whose series are added up.
type sumFamily struct {
	appFamily // without its series
	byKey     map[string]*appSeries
}

func newSumFamilies() *sumFamilies { return &sumFamilies{byName: map[string]*sumFamily{}} }

// addend says whose metrics are added.
type addend struct {
	worker string // for gauges that are not added up; "": Caddy's process
	// isPast: counters count, but gauges show no present state.
	isPast bool
	// isNewer: where types or buckets are different, these replace those that are there.
	isNewer bool
}

// add adds a process's metrics. conflict is called for a metric that has another type than
// the one that is there.
func (s *sumFamilies) add(families []*appFamily, from addend, conflict func(*appFamily, error)) {
	for _, family := range families {
		if from.isPast && !family.kind.isCounted() {
			continue
		}
		sum := s.byName[family.name]
		if sum != nil && sum.kind != family.kind {
			if !from.isNewer {
				conflict(family, fmt.Errorf("it is a %s, and a %s in newer code", family.kind, sum.kind))
				continue
			}
			s.remove(sum)
			sum = nil
		}
		if sum == nil {
			sum = &sumFamily{appFamily: *family, byKey: map[string]*appSeries{}}
			sum.series = nil
			s.byName[family.name] = sum
		}
		for _, series := range family.series {
			s.addSeries(sum, series, from)
		}
	}
}

func (s *sumFamilies) remove(sum *sumFamily) {
	for _, series := range sum.byKey {
		s.samples -= series.samples()
		s.bytes -= len(series.key)
	}
	delete(s.byName, sum.name)
}

// all returns the metrics as something that can be added to another sum.
func (s *sumFamilies) all() []*appFamily {
	families := make([]*appFamily, 0, len(s.byName))
	for _, sum := range s.byName {
		family := sum.appFamily
		for _, series := range sum.byKey {
			family.series = append(family.series, series)
		}
		families = append(families, &family)
	}
	return families
}

// withLabel returns the labels with one of Caddy's, sorted.
func withLabel(labels []*dto.LabelPair, name, value string) []*dto.LabelPair {
	added := make([]*dto.LabelPair, 0, len(labels)+1)
	for _, label := range labels {
		added = append(added, &dto.LabelPair{Name: label.Name, Value: label.Value})
	}
	exportLabel(added, name)
	added = append(added, newLabel(name, value))
	slices.SortFunc(added, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return added
}

// exportLabel gives the application's own label of this name another one, as Prometheus
// does it.
func exportLabel(labels []*dto.LabelPair, name string) {
	at := slices.IndexFunc(labels, func(l *dto.LabelPair) bool { return l.GetName() == name })
	if at >= 0 {
		exportLabel(labels, "exported_"+name)
		labels[at].Name = proto.String("exported_" + name)
	}
}

func (s *sumFamilies) addSeries(sum *sumFamily, series *appSeries, from addend) {
	key, labels := series.key, series.labels
	if !sum.kind.isCounted() && sum.mode == modeAll && from.worker != "" {
		labels = withLabel(labels, "worker", from.worker)
		key = keyOfLabels(labels)
	}
	known := sum.byKey[key]
	if known == nil || from.isNewer && !slices.Equal(known.bounds, series.bounds) {
		if known != nil {
			s.samples -= known.samples()
			s.bytes -= len(key)
		}
		if s.samples+series.samples() > maxAppSamples || s.bytes+len(key) > maxMetricsBytes {
			s.leftOut++
			delete(sum.byKey, key)
			return
		}
		s.samples += series.samples()
		s.bytes += len(key)
		sum.byKey[key] = &appSeries{labels: labels, key: key, values: slices.Clone(series.values), bounds: series.bounds}
		return
	}
	known.addValues(sum, series)
}

// addValues adds the values of the same series from elsewhere.
func (s *appSeries) addValues(sum *sumFamily, other *appSeries) {
	switch {
	case !slices.Equal(s.bounds, other.bounds): // of older code
	case sum.kind.isCounted(), sum.mode == modeAll, sum.mode == modeSum:
		for i, value := range other.values {
			s.values[i] += value
		}
	case sum.mode == modeMax:
		s.values[0] = math.Max(s.values[0], other.values[0])
	case sum.mode == modeMin:
		s.values[0] = math.Min(s.values[0], other.values[0])
	case sum.mode == modeMostRecent: // the newest process comes first
	}
}
