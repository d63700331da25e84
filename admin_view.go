package caddysnake

// What the admin endpoint shows of applications, workers and requests.

import (
	"cmp"
	"slices"
	"time"
)

// appView is an application.
type appView struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"` // as configured
	Module     string       `json:"module"`
	WorkingDir string       `json:"working_dir"`
	Venv       string       `json:"venv,omitempty"`
	State      string       `json:"state"` // loading, loaded, failed
	Interface  string       `json:"interface,omitempty"`
	Generation uint32       `json:"generation,omitempty"` // of the code; later ones have higher numbers
	Age        float64      `json:"age,omitempty"`        // of the generation, in seconds
	Requests   int          `json:"requests"`             // in flight, of all generations
	Queued     int          `json:"queued"`               // those of them that wait for the application
	WebSockets int          `json:"websockets"`
	Retiring   int          `json:"retiring,omitempty"` // earlier generations that still run
	Workers    int          `json:"workers,omitempty"`
	Memory     int64        `json:"memory,omitempty"` // resident, of all workers, in bytes
	Error      *failureView `json:"error,omitempty"`  // of the last load, if it has failed
}

// failureView is a failed load.
type failureView struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"` // with the traceback
}

func viewFailure(f *loadFailure) *failureView {
	if f == nil {
		return nil
	}
	return &failureView{f.when, f.err.Error()}
}

// viewApps returns all applications, by name and id.
func viewApps() []*appView {
	byApp := map[*App]*appView{}
	views := []*appView{} // not nil, which JSON would show
	running.Range(func(_, value any) bool {
		switch found := value.(type) {
		case *App:
			view := viewConfig(found.id, found.name, found.config)
			view.State, view.Error = "failed", viewFailure(found.lastFailure.Load())
			byApp[found] = view
			views = append(views, view)
		case *tenants:
			views = append(views, found.viewUnloaded()...)
		}
		return true
	})
	queued := slots.countQueued()
	for _, gen := range liveGenerations.list() {
		if view := byApp[gen.app]; view != nil {
			view.add(gen, queued)
		}
	}
	slices.SortFunc(views, func(a, b *appView) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.WorkingDir, b.WorkingDir), cmp.Compare(a.ID, b.ID))
	})
	return views
}

func viewConfig(id, name string, config appConfig) *appView {
	return &appView{
		ID: id, Name: name, Module: config.Module, WorkingDir: config.WorkingDir, Venv: config.Venv, Workers: config.Workers,
	}
}

// viewUnloaded returns the tenants that are being loaded or that could not be.
func (ts *tenants) viewUnloaded() (views []*appView) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	for _, t := range ts.byKey {
		if t.loaded() != nil {
			continue
		}
		view := viewConfig(t.id, ts.name, t.config)
		view.State = "loading"
		if t.hasFailed() {
			view.State, view.Error = "failed", &failureView{t.failed, t.err.Error()}
		}
		views = append(views, view)
	}
	return views
}

// add adds a generation of the application.
func (v *appView) add(gen *generation, queued map[*generation]int) {
	webSockets := gen.webSockets.count()
	v.WebSockets += webSockets
	v.Requests += max(0, gen.requests()-webSockets)
	v.Queued += gen.queued(queued)
	if gen.workers != nil {
		for _, w := range gen.workers.survey().all {
			v.Memory += residentMemory(w.pid)
		}
	}
	if gen.retired.Load() {
		v.Retiring++
		return
	}
	v.State, v.Interface, v.Generation = "loaded", gen.interfaceName(), gen.id
	v.Age = time.Since(gen.loaded).Seconds()
}

// workerView is a worker process.
type workerView struct {
	App        string  `json:"app"` // its id
	Name       string  `json:"name"`
	Generation uint32  `json:"generation"`
	Worker     int     `json:"worker"` // its number
	PID        int     `json:"pid"`
	State      string  `json:"state"` // ready, or leaving: it gets no further requests
	Age        float64 `json:"age"`   // in seconds
	Requests   int     `json:"requests"`
	Total      int     `json:"total_requests"` // that it was given so far
	Memory     int64   `json:"memory"`         // resident, in bytes
	Silent     float64 `json:"silent"`         // seconds without the sign of life that it was asked for
}

// viewWorkers returns all workers, by application and number.
func viewWorkers() []workerView {
	views := []workerView{}
	for _, gen := range liveGenerations.list() {
		if gen.workers == nil {
			continue
		}
		for _, w := range gen.workers.survey().all {
			state := "ready"
			if !w.isReady {
				state = "leaving"
			}
			views = append(views, workerView{
				App: gen.app.id, Name: gen.app.name, Generation: gen.id, Worker: w.number, PID: w.pid, State: state,
				Age: time.Since(w.begun).Seconds(), Requests: w.inflight, Total: w.requests,
				Memory: residentMemory(w.pid), Silent: w.silent.Seconds(),
			})
		}
	}
	slices.SortStableFunc(views, func(a, b workerView) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.App, b.App), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Worker, b.Worker))
	})
	return views
}

// requestView is a request that an application has not finished.
type requestView struct {
	App        string  `json:"app"` // its id
	Name       string  `json:"name"`
	Generation uint32  `json:"generation"`
	Worker     int     `json:"worker,omitempty"` // its number
	Method     string  `json:"method,omitempty"`
	Path       string  `json:"path,omitempty"`
	Seconds    float64 `json:"seconds"` // since it was handed to the application
	State      string  `json:"state"`   // queued, running, left: nobody waits; answered: its response is complete
	WebSocket  bool    `json:"websocket,omitempty"`
}

// viewRequests returns what runs now, the longest first.
func viewRequests() []requestView {
	views := []requestView{}
	add := func(pool *slotPool, worker int) {
		now := time.Now()
		pool.each(func(s *slot) {
			if !s.isPushed() {
				return
			}
			views = append(views, s.view(worker, now))
		})
	}
	add(&slots, 0)
	for _, gen := range liveGenerations.list() {
		if gen.workers == nil {
			continue
		}
		for _, w := range gen.workers.survey().all {
			add(w.slots, w.number)
		}
	}
	slices.SortStableFunc(views, func(a, b requestView) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return views
}

// view returns the slot's request. The caller holds the pool's lock.
func (s *slot) view(worker int, now time.Time) requestView {
	return requestView{
		App: s.gen.app.id, Name: s.gen.app.name, Generation: s.gen.id, Worker: worker,
		Method: s.line.method, Path: s.line.path, Seconds: now.Sub(s.line.since).Seconds(),
		State: s.stateName(), WebSocket: s.receiver.Load() != nil,
	}
}
