//go:build pyext

package caddysnake

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// workerProgram says what a worker of the extension module runs, see UseForWorkers.
var workerProgram struct{ python, module string }

// UseForWorkers sets the Python of this process, and the path of the extension module
// _worker. Workers of applications without a virtual environment run that Python.
func UseForWorkers(python, module string) {
	workerProgram.python, workerProgram.module = python, module
}

// workerCode runs a worker. A virtual environment of another version gets the Python of
// Caddy's process, where the bridge says what is wrong with it.
const workerCode = `import os, sys
_, module, python, version = sys.argv
if "%d.%d" % sys.version_info[:2] != version:
    os.execv(python, [python, *sys.orig_argv[1:]])
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
from importlib.machinery import ExtensionFileLoader, ModuleSpec
import _imp
worker = _imp.create_dynamic(ModuleSpec("_worker", ExtensionFileLoader("_worker", module), origin=module))
_imp.exec_dynamic(worker)
worker.run(3)
`

// workerCommand returns the program that becomes a worker. Its control socket is
// descriptor 3.
func workerCommand(e pythonEnvironment) (*exec.Cmd, error) {
	python := workerProgram.python
	if e.Venv != "" {
		if own := filepath.Join(e.Venv, "bin", "python"); isExecutable(own) {
			python = own
		}
	}
	cmd := exec.Command(python, "-c", workerCode, workerProgram.module, workerProgram.python, pythonMinor())
	cmd.Env = append(os.Environ(), e.variables()...)
	return cmd, nil
}

func isExecutable(path string) bool {
	about, err := os.Stat(path)
	return err == nil && about.Mode().IsRegular() && about.Mode()&0o111 != 0
}

// pythonMinor returns the version of Python without its last part, such as "3.13".
func pythonMinor() string {
	version := pythonVersion()
	return version[:strings.LastIndexByte(version, '.')]
}
