//go:build pyext

package caddysnake

import (
	"errors"
	"os/exec"
)

// workerCommand returns the program that becomes a worker. The extension module has
// none yet.
func workerCommand(pythonEnvironment) (*exec.Cmd, error) {
	return nil, errors.New("worker processes need the linked executable; this is the extension module")
}
