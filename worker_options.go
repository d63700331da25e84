package caddysnake

// The options of the directive about worker processes.

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// maxWorkers is a limit against mistakes such as a port number.
const maxWorkers = 1024

// coresAtStart is the number of cores that the process may use, by its affinity and its
// container's quota: Go sets GOMAXPROCS to it, unless the environment variable of that
// name says something else.
var coresAtStart = func() int {
	if os.Getenv("GOMAXPROCS") != "" {
		return runtime.NumCPU()
	}
	return runtime.GOMAXPROCS(0)
}()

// parseWorkers returns the number of worker processes; 0 is Caddy's own process.
func parseWorkers(value string) (int, error) {
	switch value {
	case "":
		return 0, nil
	case "auto":
		return coresAtStart, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxWorkers {
		return 0, fmt.Errorf("workers must be auto or a number up to %d, not '%s'", maxWorkers, value)
	}
	return n, nil
}

// workerLimits say when a worker is replaced. 0 is no limit.
type workerLimits struct {
	Requests int
	Memory   int64 // resident, in bytes
	Age      time.Duration
	Stuck    time.Duration // without a sign of life
}

// workerLimits returns the limits, which need workers.
func (h *Handler) workerLimits(workers int) (workerLimits, error) {
	limits := workerLimits{h.MaxRequests, h.MaxMemory, time.Duration(h.MaxAge), time.Duration(h.KillStuck)}
	for _, option := range []struct {
		name  string
		value int64
	}{
		{"max_requests", int64(limits.Requests)}, {"max_memory", limits.Memory},
		{"max_age", int64(limits.Age)}, {"kill_stuck", int64(limits.Stuck)},
	} {
		if option.value < 0 {
			return limits, fmt.Errorf("%s must be positive, not %d", option.name, option.value)
		}
		if option.value > 0 && workers == 0 {
			return limits, needsWorkers(option.name)
		}
	}
	return limits, nil
}

// preloaded returns the modules to preload, sorted and each once. They need workers.
func (h *Handler) preloaded(workers int) ([]string, error) {
	if len(h.Preload) > 0 && workers == 0 {
		return nil, needsWorkers("preload")
	}
	for _, name := range h.Preload {
		if !importableName.MatchString(name) {
			return nil, fmt.Errorf("preload: '%s' is not the name of a module, as in an import statement", name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(h.Preload))), nil
}

func needsWorkers(option string) error {
	return fmt.Errorf("%s is for worker processes: add workers 1, or another number", option)
}
