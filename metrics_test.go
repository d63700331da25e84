package caddysnake

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func valueOf(t *testing.T, metric prometheus.Metric) *dto.Metric {
	t.Helper()
	var value dto.Metric
	if err := metric.Write(&value); err != nil {
		t.Fatal(err)
	}
	return &value
}

func TestRequestsAreCountedByTheClassOfTheirStatus(t *testing.T) {
	m := newMeter(t.Name())
	m.count(http.StatusSwitchingProtocols, nil)
	m.count(http.StatusOK, nil)
	m.count(0, nil) // the client has left
	m.count(0, caddyhttp.Error(http.StatusBadGateway, errWorkerDied))
	m.count(0, errors.New("without a status"))
	m.count(999, nil)
	for class, want := range []float64{1, 1, 0, 1, 3} {
		if got := valueOf(t, m.requests[class]).GetCounter().GetValue(); got != want {
			t.Errorf("%dxx: %v, not %v", class+1, got, want)
		}
	}
}

// A worker may write any time.
func TestTheTimeInTheQueueIsNeverLongerThanTheRequest(t *testing.T) {
	s, _, _, _ := slotNowhere(t)
	atomic.StoreUint32((*uint32)(&s.wire.begun), 1)
	for _, ticks := range []uint32{0, 1, math.MaxInt32, 1 << 31, math.MaxUint32} {
		m := &measurement{}
		m.arrive()
		atomic.StoreUint32((*uint32)(&s.wire.begun_at), ticksOf(m.arrived)+ticks)
		m.leaveSlot(s)
		if !m.begun || m.queued < 0 || m.queued > clock()-m.arrived {
			t.Errorf("after %d ticks: %+v", ticks, m)
		}
	}
}

// BenchmarkMeasurement is what metrics add to a request in Go.
func BenchmarkMeasurement(b *testing.B) {
	s, err := slots.get(nil, 1, requestLine{})
	if err != nil {
		b.Fatal(err)
	}
	atomic.StoreUint32((*uint32)(&s.wire.begun), 1)
	gen := &generation{meter: newMeter(b.Name()), isWSGI: true, slow: time.Minute}
	for b.Loop() {
		x := exchange{measured: new(measurement), slot: s}
		x.measured.arrive()
		x.measured.news = clock()
		x.measured.answered(http.StatusOK)
		x.measured.leaveSlot(s)
		x.measured.writing += clock() - x.measured.news
		x.measured.end(gen, nil)
	}
}

// BenchmarkClock is the part of it that is reading the clock once.
func BenchmarkClock(b *testing.B) {
	for b.Loop() {
		_ = clock()
	}
}
