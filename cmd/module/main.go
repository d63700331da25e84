//go:build pyext

// Command module is Caddy with the python handler as a Python extension
// module, _caddy: it runs inside the python that imports it.
package main

/*
#cgo pkg-config: caddysnake-python
#cgo CFLAGS: -O2 -std=gnu11 -Wall -Wextra
#cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-all
*/
import "C"

import (
	"fmt"
	"os"
	"slices"
	_ "time/tzdata"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/caddysnake/caddysnake"
)

// replacing lists the commands that write a new Caddy over the running executable,
// which here is the user's python.
var replacing = []string{"upgrade", "add-package", "remove-package"}

// go_snake_main runs Caddy's command line and ends the process. python and worker are
// what workers run: sys.executable, and the path of the module _worker.
//
//export go_snake_main
func go_snake_main(argc C.int, argv **C.char, python, worker *C.char) {
	caddysnake.UseForWorkers(C.GoString(python), C.GoString(worker))
	args := make([]string, 0, int(argc))
	for _, arg := range unsafe.Slice(argv, int(argc)) {
		args = append(args, C.GoString(arg))
	}
	if len(args) > 1 && slices.Contains(replacing, args[1]) && !slices.Contains(args, "--help") {
		fmt.Fprintf(os.Stderr, "caddysnake %s: this Caddy is a Python package; "+
			"use pip install --upgrade caddysnake, or build one with other plugins by xcaddy\n", args[1])
		os.Exit(caddy.ExitCodeFailedStartup)
	}
	caddysnake.DescribeCommands()
	os.Args = caddysnake.Arguments(args)
	caddycmd.Main()
	os.Exit(caddy.ExitCodeSuccess)
}

func main() {}
