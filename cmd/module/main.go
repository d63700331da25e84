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
	"os"
	_ "time/tzdata"
	"unsafe"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/caddysnake/caddysnake"
)

// go_snake_main runs Caddy's command line. It usually ends the process.
//
//export go_snake_main
func go_snake_main(argc C.int, argv **C.char) {
	args := make([]string, 0, int(argc))
	for _, arg := range unsafe.Slice(argv, int(argc)) {
		args = append(args, C.GoString(arg))
	}
	os.Args = args
	caddycmd.Main()
}

func main() {}
