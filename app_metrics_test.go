package caddysnake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const someMetrics = `{"left_out": 0}
{"name": "orders_total", "type": "counter", "mode": "", "help": "Orders."}
[["kind", "book"], ["3.0"]]
[["kind", "pen"], ["1.0"]]
{"name": "sizes", "type": "histogram", "mode": "", "help": "Sizes."}
[[], ["7.5", "3.0", "1.0", "1.0", "inf", "3.0"]]
{"name": "state", "type": "gauge", "mode": "all", "help": "State."}
[[], ["nan"]]
`

func parsed(t *testing.T, text string) *appSnapshot {
	t.Helper()
	found, err := parseAppMetrics([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func metricsOf(t *testing.T, lines ...string) []*appFamily {
	return parsed(t, `{"left_out": 0}`+"\n"+strings.Join(lines, "\n")).families
}

func head(name, kind, mode string) string {
	return fmt.Sprintf(`{"name": %q, "type": %q, "mode": %q, "help": "x"}`, name, kind, mode)
}

func TestMetricsOfAnApplicationAreRead(t *testing.T) {
	found := parsed(t, someMetrics)
	if len(found.families) != 3 || len(found.dropped) != 0 {
		t.Fatalf("%+v", found)
	}
	sizes := found.families[1].series[0]
	if fmt.Sprint(sizes.values, sizes.bounds) != "[7.5 3 1 3] [1 +Inf]" {
		t.Errorf("%+v", sizes)
	}
}

func TestAMetricThatCantBeIsDroppedAlone(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, lines := range map[string]string{
		"type":           head("bad", "gaugehistogram", ""),
		"mode":           head("bad", "gauge", "average"),
		"name":           head("bad-name", "gauge", "all"),
		"caddy":          head("caddy_x", "gauge", "all"),
		"ours":           head("caddysnake_apps", "gauge", "all"),
		"twice":          head("bad", "gauge", "all") + "\n" + head("bad", "gauge", "all"),
		"negative":       head("bad", "counter", "") + "\n" + `[[], ["-1"]]`,
		"no number":      head("bad", "counter", "") + "\n" + `[[], ["nan"]]`,
		"not a number":   head("bad", "gauge", "all") + "\n" + `[[], ["x"]]`,
		"too many":       head("bad", "gauge", "all") + "\n" + `[[], ["1", "2"]]`,
		"too few":        head("bad", "histogram", "") + "\n" + `[[], ["1"]]`,
		"no count":       head("bad", "histogram", "") + "\n" + `[[], ["1", "1", "1"]]`,
		"disorder":       head("bad", "histogram", "") + "\n" + `[[], ["1", "3", "2", "1", "1", "2"]]`,
		"not cumulative": head("bad", "histogram", "") + "\n" + `[[], ["1", "3", "1", "2", "2", "1"]]`,
		"above count":    head("bad", "histogram", "") + "\n" + `[[], ["1", "3", "1", "4"]]`,
		"huge":           head("bad", "summary", "") + "\n" + `[[], ["1", "1e300"]]`,
		"le":             head("bad", "histogram", "") + "\n" + `[["le", "1"], ["1", "1"]]`,
		"quantile":       head("bad", "summary", "") + "\n" + `[["quantile", "1"], ["1", "1"]]`,
		"label":          head("bad", "gauge", "all") + "\n" + `[["a-b", "1"], ["1"]]`,
		"hidden label":   head("bad", "gauge", "all") + "\n" + `[["__name__", "1"], ["1"]]`,
		"same label":     head("bad", "gauge", "all") + "\n" + `[["a", "1", "a", "2"], ["1"]]`,
		"half a label":   head("bad", "gauge", "all") + "\n" + `[["a"], ["1"]]`,
		"long value":     head("bad", "gauge", "all") + "\n" + fmt.Sprintf(`[["a", %q], ["1"]]`, long),
	} {
		found := parsed(t, someMetrics+lines)
		if len(found.families) != 3 || len(found.dropped) != 1 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestNothingIsReadOfLinesThatNobodyMeant(t *testing.T) {
	for name, text := range map[string]string{
		"empty":    "",
		"no head":  `[[], ["1"]]`,
		"no JSON":  "{}\nx",
		"types":    "{}\n" + `{"name": 1}`,
		"negative": `{"left_out": -1}`,
		"long":     "{}\n" + strings.Repeat("\n", maxMetricsText),
		"samples":  "{}\n" + head("x", "gauge", "all") + strings.Repeat("\n"+`[[], ["1"]]`, maxAppSamples+1),
		"lines":    "{}" + strings.Repeat("\n"+`[[], []]`, 2*maxAppSamples+1),
	} {
		if found, err := parseAppMetrics([]byte(text)); !errors.Is(err, errMetrics) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	if _, err := parseAppMetrics([]byte(`{"error": "no"}`)); err == nil || err.Error() != "no" {
		t.Error(err)
	}
}

// shown returns the values of a sum's series.
func shown(sum *sumFamilies, name string) map[string][]float64 {
	found := map[string][]float64{}
	if family := sum.byName[name]; family != nil {
		for _, series := range family.byKey {
			text := ""
			for _, label := range series.labels {
				text += label.GetName() + "=" + label.GetValue() + " "
			}
			found[strings.TrimSpace(text)] = series.values
		}
	}
	return found
}

func TestGaugesAreAddedUpByTheirMode(t *testing.T) {
	for mode, want := range map[string]string{
		"sum": "map[:[5]]", "max": "map[:[3]]", "min": "map[:[2]]", "mostrecent": "map[:[2]]",
		"all": "map[worker=1:[3] worker=2:[2]]",
	} {
		sum := newSumFamilies()
		sum.add(metricsOf(t, head("x", "gauge", mode), `[[], ["2"]]`), addend{worker: "2"}, nil)
		sum.add(metricsOf(t, head("x", "gauge", mode), `[[], ["3"]]`), addend{worker: "1"}, nil)
		sum.add(metricsOf(t, head("x", "gauge", mode), `[[], ["9"]]`), addend{worker: "1", isPast: true}, nil)
		if got := fmt.Sprint(shown(sum, "x")); got != want {
			t.Errorf("%s: %s, not %s", mode, got, want)
		}
	}
}

func TestWhatEndedProcessesHaveCountedStays(t *testing.T) {
	ended := newSumFamilies()
	for range 2 {
		ended.add(parsed(t, someMetrics).families, addend{isPast: true, isNewer: true}, nil)
	}
	sum := newSumFamilies()
	sum.add(parsed(t, someMetrics).families, addend{worker: "1"}, nil)
	sum.add(ended.all(), addend{isPast: true}, nil)
	if got := fmt.Sprint(shown(sum, "orders_total"), shown(sum, "sizes"), shown(sum, "state")); got !=
		"map[kind=book:[9] kind=pen:[3]] map[:[22.5 9 3 9]] map[worker=1:[NaN]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(shown(ended, "orders_total")); got != "map[kind=book:[6] kind=pen:[2]]" {
		t.Error("a scrape has changed what ended processes have counted: ", got)
	}
}

func TestNewerCodeDecidesWhatAMetricIs(t *testing.T) {
	older := metricsOf(t, head("x", "counter", ""), `[[], ["7"]]`, head("h", "histogram", ""), `[[], ["1", "1", "1", "1"]]`)
	newer := metricsOf(t, head("x", "summary", ""), `[[], ["1", "1"]]`, head("h", "histogram", ""), `[[], ["2", "2", "5", "2"]]`)
	const want = "map[:[1 1]] map[:[2 2 2]]"

	sum, conflicts := newSumFamilies(), 0
	sum.add(newer, addend{}, nil)
	sum.add(older, addend{}, func(*appFamily, error) { conflicts++ })
	if got := fmt.Sprint(shown(sum, "x"), shown(sum, "h")); got != want || conflicts != 1 {
		t.Error(got, conflicts)
	}
	ended := newSumFamilies()
	ended.add(older, addend{isPast: true, isNewer: true}, nil)
	ended.add(newer, addend{isPast: true, isNewer: true}, nil)
	if got := fmt.Sprint(shown(ended, "x"), shown(ended, "h")); got != want || ended.samples != 5 {
		t.Error(got, ended.samples)
	}
}

func TestSeriesOfAllProcessesTogetherAreLimited(t *testing.T) {
	sum := newSumFamilies()
	for process := range 3 {
		lines := []string{head("x", "counter", "")}
		for i := range maxAppSamples / 2 {
			lines = append(lines, fmt.Sprintf(`[["n", "%d %d"], ["1"]]`, process, i))
		}
		sum.add(metricsOf(t, lines...), addend{}, nil)
	}
	if sum.samples != maxAppSamples || len(sum.byName["x"].byKey) != maxAppSamples || sum.leftOut != maxAppSamples/2 {
		t.Error(sum.samples, sum.leftOut)
	}
}

func TestLabelsOfCaddysAreExported(t *testing.T) {
	series := metricsOf(t, head("x", "gauge", "all"), `[["app", "a", "exported_app", "b"], ["1"]]`)[0].series[0]
	text := ""
	for _, label := range withLabel(series.labels, "app", "c") {
		text += label.GetName() + "=" + label.GetValue() + " "
	}
	if text != "app=c exported_app=a exported_exported_app=b " {
		t.Error(text)
	}
}

func TestNamesOfOtherCollectorsAreTaken(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "others_total", Help: "x"}, []string{"a"}))
	for range 2 { // asking changes nothing
		if !isTaken(registry, []string{"free", "others_total"}) || isTaken(registry, []string{"free", "free_sum"}) {
			t.Fatal("wrong")
		}
	}
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "free", Help: "x"}))
	if found, err := registry.Gather(); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
}

func FuzzAppMetrics(f *testing.F) {
	f.Add([]byte(someMetrics))
	f.Add([]byte(`{"error": "x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parseAppMetrics(text)
		if err != nil {
			return
		}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(fuzzedMetrics{found.families})
		if _, err := registry.Gather(); err != nil {
			t.Errorf("%v for %q", err, bytes.TrimSpace(text))
		}
	})
}

// fuzzedMetrics shows metrics as appMetricsCollector does.
type fuzzedMetrics struct{ families []*appFamily }

func (fuzzedMetrics) Describe(chan<- *prometheus.Desc) {}

func (c fuzzedMetrics) Collect(to chan<- prometheus.Metric) {
	a := &appMetrics{meter: &meter{name: "fuzzed"}, ended: newSumFamilies(), complaints: map[string]bool{}}
	a.ended.add(c.families, addend{isNewer: true}, nil)
	names := shownNames{registry: prometheus.NewRegistry(), byName: map[string]*shownName{}}
	names.show(a, to)
}

// askedSource returns a source whose answers a test gives.
func askedSource(t *testing.T) (source *metricsSource, questions chan chan string) {
	gen := &generation{app: &App{}, appLog: &appLog{}}
	gen.appLog.logger.Store(zap.NewNop())
	gen.app.current.Store(gen)
	questions = make(chan chan string, 10)
	source = newMeter(t.Name()).addSource(gen, 0, func() ([]byte, error) {
		answer := make(chan string)
		questions <- answer
		return []byte(<-answer), nil
	})
	return source, questions
}

func TestALateAnswerIsWaitedForOnce(t *testing.T) {
	source, questions := askedSource(t)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := source.refresh(over); !errors.Is(err, errMetricsLate) {
		t.Fatal(err)
	}
	if err := source.refresh(context.Background()); !errors.Is(err, errMetricsLate) {
		t.Fatal(err)
	}
	first := <-questions
	source.of.mu.Lock()
	answer := source.asked
	source.of.mu.Unlock()
	first <- someMetrics
	<-answer.done
	if got := fmt.Sprint(shown(source.of.sum(), "state")); got != "map[:[NaN]]" {
		t.Error(got)
	}
	go func() { <-questions <- `{"error": "no"}` }()
	if err := source.refresh(context.Background()); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	sum := source.of.sum()
	if got := fmt.Sprint(shown(sum, "orders_total"), shown(sum, "state")); got != "map[kind=book:[3] kind=pen:[1]] map[]" {
		t.Error(got)
	}
}

func TestAnAnswerAfterTheEndChangesNothing(t *testing.T) {
	source, questions := askedSource(t)
	go func() { <-questions <- someMetrics }()
	if err := source.refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	late := make(chan error)
	go func() { late <- source.refresh(context.Background()) }()
	answer := <-questions
	source.end()
	source.end()
	answer <- someMetrics
	if err := <-late; err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(shown(source.of.sum(), "orders_total")); got != "map[kind=book:[3] kind=pen:[1]]" {
		t.Error(got)
	}
}
