package caddysnake

// The help of executables that are made for Python applications.

import (
	"cmp"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

const longDescription = `Caddy with Python in it: a web server that runs Flask, Django, FastAPI and every
other WSGI or ASGI application.

	$ caddy main:app                # serve the variable app of main.py
	$ caddy dev main:app            # the same, while you work on it
	$ caddy run                     # serve what the Caddyfile here says
	$ caddy reload                  # put a changed Caddyfile into force
	$ caddy reload --force          # load the code of all applications again
	$ caddy deploy releases/42      # serve a new release, or keep the old one
	$ caddy status                  # what the applications do; or top

All other commands are Caddy's own.`

// DescribeCommands has the help of the executable begin with Python. It is for an
// executable that has the short forms of Arguments.
func DescribeCommands() {
	name := cmp.Or(caddy.CustomBinaryName, "caddy")
	caddy.CustomLongDescription = strings.ReplaceAll(longDescription, "$ caddy ", "$ "+name+" ")
}
