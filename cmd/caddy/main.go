// Command caddy is Caddy with its standard modules and the python handler.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/caddysnake/caddysnake"
)

func main() { caddycmd.Main() }
