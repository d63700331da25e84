//go:build !pyext

package caddysnake

/*
#include <sys/auxv.h>
*/
import "C"

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

const workerName = "python-worker" // as ps shows it

// workerCommand returns the program that becomes a worker: this executable, with the
// variables that worker.c looks for. Its control socket is descriptor 3.
func workerCommand(e pythonEnvironment) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{workerName}
	if runsSecurely() {
		var err error
		if cmd, err = commandWithoutCapabilities(); err != nil {
			return nil, err
		}
	}
	cmd.Env = append(append(os.Environ(), e.variables()...),
		"CADDYSNAKE_WORKER=3", "CADDYSNAKE_WORKER_VENV="+e.Venv)
	return cmd, nil
}

// runsSecurely tells whether the executable has more rights than its user, such as file
// capabilities for low ports. The C library then hides the variables from worker.c.
func runsSecurely() bool { return C.getauxval(C.AT_SECURE) != 0 }

// commandWithoutCapabilities runs the executable by its loader, a program without
// capabilities.
func commandWithoutCapabilities() (*exec.Cmd, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("reading the executable: %w", err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type != elf.PT_INTERP || part.Filesz > unix.PathMax {
			continue
		}
		loader := make([]byte, part.Filesz)
		if _, err := part.ReadAt(loader, 0); err != nil {
			return nil, fmt.Errorf("reading the executable: %w", err)
		}
		return exec.Command(strings.TrimRight(string(loader), "\x00"), executable), nil
	}
	return nil, errors.New("the executable names no loader")
}
