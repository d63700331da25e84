package caddysnake

// What an application says about its own metrics: the lines of caddysnake_py/app_metrics.py.
// The application may have written them itself, so nothing is believed.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

const (
	// The same limits as in app_metrics.py, for one process and for all of one name.
	maxAppSamples   = 10_000
	maxMetricsBytes = 4 << 20

	maxMetricsText = maxMetricsBytes + 64<<10 // with an error, or the first line
	maxMetricName  = 256                      // bytes, also of a label
	maxMetricHelp  = 4096                     // bytes
	maxMetricLabel = 4096                     // bytes of a value
)

var errMetrics = errors.New("an application has sent metrics that it cannot have meant")

// metricKind is a metric's type. How it is added up depends on it.
type metricKind string

const (
	kindCounter   metricKind = "counter"
	kindGauge     metricKind = "gauge"
	kindUnknown   metricKind = "unknown"
	kindHistogram metricKind = "histogram"
	kindSummary   metricKind = "summary"
)

// isCounted tells whether the values only grow.
func (k metricKind) isCounted() bool {
	return k == kindCounter || k == kindHistogram || k == kindSummary
}

// The multiprocess_mode of gauges; "live" makes no difference here.
const (
	modeAll        = "all" // the default of prometheus_client
	modeSum        = "sum"
	modeMin        = "min"
	modeMax        = "max"
	modeMostRecent = "mostrecent"
)

// isDistribution tells whether the values are a sum, a count and buckets.
func (k metricKind) isDistribution() bool { return k == kindHistogram || k == kindSummary }

// appFamily is a metric of an application.
type appFamily struct {
	name, help string
	kind       metricKind
	mode       string
	series     []*appSeries
}

// appSeries is one series of it.
type appSeries struct {
	labels []*dto.LabelPair // sorted
	key    string           // that is equal for equal labels
	// values are one number, or sum and count, followed by those of buckets.
	values []float64
	bounds []float64 // of the buckets
}

// samples is the number of lines that the series has on /metrics.
func (s *appSeries) samples() int { return len(s.values) }

// appSnapshot is all that an application has said at one time.
type appSnapshot struct {
	families []*appFamily
	dropped  map[string]error // metrics that can't be shown
	leftOut  int              // the number of metrics beyond the limits
}

// parseAppMetrics reads the lines. An error means that there are no metrics.
func parseAppMetrics(text []byte) (*appSnapshot, error) {
	if len(text) > maxMetricsText {
		return nil, fmt.Errorf("%w: %d bytes", errMetrics, len(text))
	}
	p := appMetricsParser{found: &appSnapshot{dropped: map[string]error{}}, names: map[string]*appFamily{}}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	var head struct {
		Error   string `json:"error"`
		LeftOut int    `json:"left_out"`
	}
	if err := json.Unmarshal(first, &head); err != nil || head.LeftOut < 0 {
		return nil, fmt.Errorf("%w: it begins with %.50q", errMetrics, first)
	}
	if head.Error != "" {
		return nil, errors.New(printable(head.Error))
	}
	p.found.leftOut = head.LeftOut
	for line := range bytes.SplitSeq(rest, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, err
		}
	}
	p.found.families = slices.DeleteFunc(p.found.families, func(f *appFamily) bool { return p.found.dropped[f.name] != nil })
	return p.found, nil
}

// appMetricsParser is where the parser is.
type appMetricsParser struct {
	found   *appSnapshot
	names   map[string]*appFamily
	current *appFamily // nil: its series are dropped
	lines   int
	samples int
	seen    map[string]bool // keys of the current family's series
}

func (p *appMetricsParser) line(line []byte) error {
	if p.lines++; p.lines > 2*maxAppSamples {
		return fmt.Errorf("%w: too many lines", errMetrics)
	}
	if line[0] == '{' {
		return p.family(line)
	}
	var series [2][]string
	if err := json.Unmarshal(line, &series); err != nil {
		return fmt.Errorf("%w: %.50q", errMetrics, line)
	}
	if p.current == nil {
		return nil
	}
	parsed, err := parseAppSeries(p.current.kind, series[0], series[1])
	if err != nil {
		p.drop(p.current.name, err)
		return nil
	}
	if p.samples += parsed.samples(); p.samples > maxAppSamples {
		return fmt.Errorf("%w: more than %d samples", errMetrics, maxAppSamples)
	}
	if !p.seen[parsed.key] { // the first counts, as for Prometheus
		p.seen[parsed.key] = true
		p.current.series = append(p.current.series, parsed)
	}
	return nil
}

// drop leaves a metric out.
func (p *appMetricsParser) drop(name string, why error) {
	p.current = nil
	p.found.dropped[name] = why
}

var (
	errReserved    = errors.New("the name belongs to Caddy")
	errTwice       = errors.New("the application has two metrics of this name")
	metricNameForm = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelNameForm  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

	// reservedNames are the beginnings of names that only Caddy may use, even where it does
	// not now.
	reservedNames = []string{"caddy_", metricsNamespace + "_"}
)

func (p *appMetricsParser) family(line []byte) error {
	var head struct {
		Name string     `json:"name"`
		Type metricKind `json:"type"`
		Mode string     `json:"mode"`
		Help string     `json:"help"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return fmt.Errorf("%w: %.50q", errMetrics, line)
	}
	name := head.Name[:min(len(head.Name), maxMetricName)]
	family := &appFamily{name: name, help: head.Help, kind: head.Type, mode: head.Mode}
	if len(family.help) > maxMetricHelp {
		family.help = strings.ToValidUTF8(family.help[:maxMetricHelp], "")
	}
	p.seen = map[string]bool{}
	if known := p.names[name]; known != nil {
		p.drop(name, errTwice)
		return nil
	}
	p.names[name] = family
	if err := family.check(); err != nil {
		p.drop(name, err)
		return nil
	}
	if p.found.dropped[name] == nil {
		p.current = family
		p.found.families = append(p.found.families, family)
	}
	return nil
}

func (f *appFamily) check() error {
	if !metricNameForm.MatchString(f.name) || len(f.name) >= maxMetricName {
		return errors.New("the name must have only ASCII letters, digits, colons and underscores")
	}
	for _, prefix := range reservedNames {
		if strings.HasPrefix(f.name, prefix) {
			return fmt.Errorf("%w: it begins with %s", errReserved, prefix)
		}
	}
	switch f.kind {
	case kindCounter, kindHistogram, kindSummary:
		f.mode = ""
	case kindGauge, kindUnknown:
		if err := oneOf("multiprocess_mode", &f.mode, modeAll, modeSum, modeMin, modeMax, modeMostRecent); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the type %.20q is unknown", f.kind)
	}
	return nil
}

// parseAppSeries reads a series: names and values of its labels in turns, and its numbers.
func parseAppSeries(kind metricKind, labels, numbers []string) (*appSeries, error) {
	s := &appSeries{}
	var err error
	if s.labels, err = parseLabels(kind, labels); err != nil {
		return nil, err
	}
	s.key = keyOfLabels(s.labels)
	values := make([]float64, len(numbers))
	for i, number := range numbers {
		if values[i], err = strconv.ParseFloat(number, 64); err != nil {
			return nil, fmt.Errorf("%.20q is no number", number)
		}
	}
	switch {
	case kind.isDistribution() && len(values) >= 2:
		s.values = slices.Clone(values[:2])
		err = s.parseBuckets(values[2:])
	case !kind.isDistribution() && len(values) == 1:
		s.values = values
		if kind == kindCounter && !(values[0] >= 0) {
			err = fmt.Errorf("a counter can't be %v", values[0])
		}
	default:
		err = fmt.Errorf("%d numbers do not make a %s", len(values), kind)
	}
	return s, err
}

// parseBuckets adds the buckets: bounds and counts in turns.
func (s *appSeries) parseBuckets(numbers []float64) error {
	if !isCount(s.values[1]) {
		return fmt.Errorf("%v is no count", s.values[1])
	}
	if len(numbers)%2 != 0 {
		return errors.New("a bucket has no count")
	}
	before := 0.0
	for i := 0; i < len(numbers); i += 2 {
		bound, count := numbers[i], numbers[i+1]
		if !isCount(count) || count < before || count > s.values[1] {
			return fmt.Errorf("the bucket %v can't have %v", bound, count)
		}
		if math.IsNaN(bound) || len(s.bounds) > 0 && bound <= s.bounds[len(s.bounds)-1] {
			return errors.New("the bounds of buckets are in disorder")
		}
		before = count
		s.bounds = append(s.bounds, bound)
		s.values = append(s.values, count)
	}
	return nil
}

// isCount tells whether a number can be the count of something.
func isCount(n float64) bool { return n >= 0 && n <= 1<<53 }

// parseLabels reads names and values in turns.
func parseLabels(kind metricKind, parts []string) ([]*dto.LabelPair, error) {
	if len(parts)%2 != 0 {
		return nil, errors.New("a label has no value")
	}
	labels := make([]*dto.LabelPair, 0, len(parts)/2)
	for i := 0; i < len(parts); i += 2 {
		name, value := parts[i], parts[i+1]
		switch {
		case !labelNameForm.MatchString(name) || strings.HasPrefix(name, "__") || len(name) > maxMetricName,
			kind == kindHistogram && name == "le", kind == kindSummary && name == "quantile":
			return nil, fmt.Errorf("a label can't be called %.50q", name)
		case len(value) > maxMetricLabel:
			return nil, fmt.Errorf("a value of the label %s is longer than %d bytes", name, maxMetricLabel)
		}
		labels = append(labels, newLabel(name, value))
	}
	slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	for i := range labels {
		if i > 0 && labels[i].GetName() == labels[i-1].GetName() {
			return nil, fmt.Errorf("there are two labels %s", labels[i].GetName())
		}
	}
	return labels, nil
}

// keyOfLabels returns a string that is equal for equal labels. Lengths separate the parts.
func keyOfLabels(labels []*dto.LabelPair) string {
	var key strings.Builder
	for _, label := range labels {
		for _, part := range []string{label.GetName(), label.GetValue()} {
			key.WriteString(strconv.Itoa(len(part)))
			key.WriteByte(' ')
			key.WriteString(part)
		}
	}
	return key.String()
}
