package caddysnake

// GET /python/stacks: where the requests that run are in their Python code. The bridge
// knows it, and in workers their listening thread.

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// stacksTimeout limits how long Caddy waits for stacks.
const stacksTimeout = 3 * time.Second

// errNoStacks is usually C code that holds Python's lock.
var errNoStacks = fmt.Errorf("no answer within %s: Python's lock is not free", stacksTimeout)

// stackReport is a Stack of caddysnake_py/stacks.py.
type stackReport struct {
	App    uint32 `json:"app"` // the generation's id
	Slot   int64  `json:"slot"`
	Serial uint32 `json:"serial"`
	Thread string `json:"thread"`
	Stack  string `json:"stack"`
}

// stackView is a request that runs, with its stack.
type stackView struct {
	requestView
	Thread string `json:"thread,omitempty"` // that runs it; "": its coroutine waits
	Stack  string `json:"stack,omitempty"`
	Error  string `json:"error,omitempty"` // why there are no stacks
}

func adminStacks(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeoutCause(r.Context(), stacksTimeout, errNoStacks)
	defer cancel()
	return show(w, viewStacks(ctx))
}

// viewStacks returns the stacks of all that runs, by application, the longest first.
func viewStacks(ctx context.Context) []stackView {
	generations := map[uint32]*generation{}
	var mu sync.Mutex
	views := []stackView{}
	var group sync.WaitGroup
	inProcess := false
	for _, gen := range liveGenerations.list() {
		generations[gen.id] = gen
		if gen.workers == nil {
			inProcess = true
			continue
		}
		for _, w := range gen.workers.survey().all {
			group.Go(func() {
				reports, err := w.process.askStacks(ctx)
				mu.Lock()
				defer mu.Unlock()
				views = append(views, viewReports(reports, err, w.slots, w.number, func(uint32) *generation { return gen })...)
			})
		}
	}
	if inProcess {
		group.Go(func() {
			found, err := ask(ctx, command{Op: "stacks"})
			mu.Lock()
			defer mu.Unlock()
			views = append(views, viewReports(found.Stacks, err, &slots, 0, func(id uint32) *generation { return generations[id] })...)
		})
	}
	group.Wait()
	slices.SortStableFunc(views, func(a, b stackView) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.App, b.App), cmp.Compare(b.Seconds, a.Seconds))
	})
	return views
}

// viewReports adds to each report what Caddy knows of the request. of returns the
// generation with an id, or nil.
func viewReports(reports []stackReport, err error, pool *slotPool, worker int, of func(id uint32) *generation) []stackView {
	if err != nil {
		view := stackView{Error: err.Error()}
		view.Worker = worker
		if gen := of(0); gen != nil {
			view.App, view.Name, view.Generation = gen.app.id, gen.app.name, gen.id
		}
		return []stackView{view}
	}
	bySlot := map[int64]*stackView{}
	views := make([]stackView, 0, len(reports))
	for _, report := range reports {
		gen := of(report.App)
		if gen == nil {
			continue
		}
		view := stackView{Thread: printable(report.Thread), Stack: printable(report.Stack)}
		view.App, view.Name, view.Generation, view.Worker = gen.app.id, gen.app.name, gen.id, worker
		view.State = "answered"
		views = append(views, view)
		bySlot[report.Slot<<32|int64(report.Serial)] = &views[len(views)-1]
	}
	now := time.Now()
	pool.each(func(s *slot) {
		if view := bySlot[int64(s.id)<<32|int64(s.serial)]; view != nil && s.isPushed() {
			view.requestView = s.view(worker, now)
		}
	})
	return views
}

// stacksReport answers the question for stacks.
type stacksReport struct {
	Question uint32        `json:"question"`
	Stacks   []stackReport `json:"stacks"`
}

// maxStacks is more than a message has room for.
const maxStacks = 1000

func (r *stacksReport) check() error {
	if len(r.Stacks) > maxStacks {
		return fmt.Errorf("%w: %d stacks", errReport, len(r.Stacks))
	}
	return nil
}

// askStacks asks a worker for the stacks of its requests.
func (w *workerProcess) askStacks(ctx context.Context) ([]stackReport, error) {
	return w.stacks.ask(ctx, w.gone, w.question("stacks"))
}

// Interface guard
var _ workerReport = (*stacksReport)(nil)
