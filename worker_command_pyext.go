//go:build pyext

package caddysnake

import (
	"errors"
	"os/exec"
)

// workersAvailable tells whether this build has worker processes.
const workersAvailable = false

// workerCommand returns the program that becomes a worker. The extension module has
// none yet.
func workerCommand(pythonEnvironment) (*exec.Cmd, error) {
	return nil, errors.New("worker processes need the linked executable; this is the extension module")
}
