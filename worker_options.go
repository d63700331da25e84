package caddysnake

// The option of the directive that chooses worker processes.

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
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
