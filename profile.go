package caddysnake

// GET /python/profile: where the time of applications goes. The bridge takes samples of
// their stacks, and each worker of its own.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	profileSeconds, maxProfileSeconds = 5.0, 60.0
	profileRate, maxProfileRate       = 100.0, 500.0

	// profilePatience is how long Caddy waits for a profile when its time is over.
	profilePatience = 5 * time.Second
	// maxProfileNames is the number of applications that an error names.
	maxProfileNames = 20
)

var (
	errNoProfile      = fmt.Errorf("no answer within %s: Python's lock is not free", profilePatience)
	errProfileRunning = errors.New("another profile is being taken; there is one at a time, since samples cost time")
)

// profiling is held while a profile is taken. profiles counts those of the bridge.
var (
	profiling sync.Mutex
	profiles  atomic.Uint32
)

func adminProfile(w http.ResponseWriter, r *http.Request) error {
	order, err := parseProfile(r)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	targets, err := findProfiled(r.URL.Query().Get("app"))
	if err != nil {
		return adminError(http.StatusNotFound, err)
	}
	if !profiling.TryLock() {
		return adminError(http.StatusConflict, errProfileRunning)
	}
	defer profiling.Unlock()
	limit := time.Duration(order.Seconds*float64(time.Second)) + profilePatience
	ctx, cancel := context.WithTimeoutCause(r.Context(), limit, errNoProfile)
	defer cancel()
	taken := takeProfile(ctx, targets, order)
	if r.Context().Err() != nil {
		return nil // the client has left
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(speedscope(taken))
}

func parseProfile(r *http.Request) (order profileOrder, err error) {
	if order.Seconds, err = parseNumber(r, "seconds", profileSeconds, maxProfileSeconds); err != nil {
		return order, err
	}
	order.Rate, err = parseNumber(r, "rate", profileRate, maxProfileRate)
	return order, err
}

// parseNumber returns a parameter that is from 1 to most.
func parseNumber(r *http.Request, name string, standard, most float64) (float64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !(number >= 1 && number <= most) { // NaN is no number from 1
		return 0, fmt.Errorf("%s must be a number from 1 to %g, not %.40q", name, most, text)
	}
	return number, nil
}

// findProfiled returns the generations of the applications with an id or name; of all
// for "".
func findProfiled(app string) (found []*generation, _ error) {
	for _, gen := range liveGenerations.list() {
		if app == "" || app == gen.app.id || app == gen.app.name {
			found = append(found, gen)
		}
	}
	if len(found) > 0 || app == "" {
		return found, nil
	}
	var names []string
	for _, view := range viewApps() {
		if app == view.ID || app == view.Name {
			return nil, fmt.Errorf("python application %.80q is not loaded: it is %s", app, view.State)
		}
		if !slices.Contains(names, view.Name) {
			names = append(names, view.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no python application")
	}
	more := ""
	if len(names) > maxProfileNames {
		more = fmt.Sprintf(" and %d more", len(names)-maxProfileNames)
	}
	return nil, fmt.Errorf("there is no python application with the name or id %.80q; there are: %s%s",
		app, strings.Join(names[:min(len(names), maxProfileNames)], ", "), more)
}

// processProfile is what one process has reported.
type processProfile struct {
	generations map[uint32]*generation // of the profile, by id; of a worker, only one
	worker      int                    // its number; 0: Caddy's process
	report      *profileReport         // nil: err says why
	err         error
}

// takeProfile takes a profile in each process with code of these generations, in all at
// the same time.
func takeProfile(ctx context.Context, targets []*generation, order profileOrder) []processProfile {
	var mu sync.Mutex
	var group sync.WaitGroup
	var taken []processProfile
	add := func(p processProfile) {
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, p)
	}
	here := map[uint32]*generation{}
	for _, gen := range targets {
		if gen.workers == nil {
			here[gen.id] = gen
			continue
		}
		for _, w := range gen.workers.survey().all {
			group.Go(func() {
				report, err := w.process.profileWorker(ctx, order)
				add(processProfile{map[uint32]*generation{gen.id: gen}, w.number, report, err})
			})
		}
	}
	if len(here) > 0 {
		group.Go(func() {
			inside := order
			for id := range here {
				inside.Apps = append(inside.Apps, id)
			}
			report, err := profileBridge(ctx, profiles.Add(1), inside)
			add(processProfile{here, 0, report, err})
		})
	}
	group.Wait()
	return taken
}
