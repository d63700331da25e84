// Command caddy is Caddy with its standard modules and the python handler.
package main

import (
	"os"
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/caddysnake/caddysnake"
)

func main() {
	caddysnake.DescribeCommands()
	os.Args = caddysnake.Arguments(os.Args)
	caddycmd.Main()
}
