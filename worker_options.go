package caddysnake

// The option of the directive that chooses worker processes.

import (
	"fmt"
	"runtime"
	"strconv"
)

// maxWorkers is a limit against mistakes such as a port number.
const maxWorkers = 1024

// parseWorkers returns the number of worker processes; 0 is Caddy's own process.
func parseWorkers(value string) (int, error) {
	switch value {
	case "":
		return 0, nil
	case "auto":
		return runtime.NumCPU(), nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxWorkers {
		return 0, fmt.Errorf("workers must be auto or a number up to %d, not '%s'", maxWorkers, value)
	}
	return n, nil
}
