package caddysnake

// The dev command: a server for the time in which code is written.

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

const devHTTPSListen = "127.0.0.1:9443"

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "dev",
		Usage: "[module:variable]",
		Short: "Serves a Python application while you work on it",
		Long: strings.ReplaceAll(`
Serves a WSGI or ASGI application on http://127.0.0.1:9080, and loads it again
when its files change. It shows a line for each request, what the application
prints and logs, and tracebacks, which the browser shows too. It is not for
production.

	$ caddy dev main:app
	$ caddy dev --https main:app    # on https://localhost:9443`,
			"$ caddy ", "$ "+cmp.Or(caddy.CustomBinaryName, "caddy")+" "),
		CobraFunc: func(cmd *cobra.Command) {
			o := &serverOptions{dev: true, autoreload: true, accessLogs: true, admin: "off"}
			o.addFlags(cmd.Flags())
			https := cmd.Flags().Bool("https", false, "Serve over HTTPS, with a certificate of Caddy's local authority")
			cmd.Flags().BoolVar(&o.debug, "debug", false, "Show all records of Caddy, those for debugging too")
			cmd.Args = cobra.MaximumNArgs(1)
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				if err := o.takeApp(args); err != nil {
					return err
				}
				if *https {
					if o.listen != "" && !strings.Contains(o.listen, ":") {
						return errors.New("--https needs a port in --listen, such as 127.0.0.1:9443")
					}
					o.domain, o.listen = "localhost", cmp.Or(o.listen, devHTTPSListen)
				}
				return o.run()
			}
		},
	})
}

// setUpDev makes the log one for a person, and keeps Caddy from asking for a password.
func (o *serverOptions) setUpDev(config *caddy.Config) {
	encoder := caddyconfig.JSONModuleObject(new(DevEncoder), "format", "python_dev", nil)
	own := []string{loggerName, "http.log.access"}
	logs := map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{EncoderRaw: encoder, Level: zap.WarnLevel.CapitalString()}, Exclude: append(own, "admin")},
		"python":  {BaseLog: caddy.BaseLog{EncoderRaw: encoder, Level: zap.InfoLevel.CapitalString()}, Include: own},
	}
	if o.debug {
		logs = map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: zap.DebugLevel.CapitalString()}}}
	}
	config.Logging = &caddy.Logging{Logs: logs}
	if o.domain != "" {
		config.AppsRaw["pki"] = caddyconfig.JSON(object{
			"certificate_authorities": object{"local": object{"install_trust": false}},
		}, nil)
	}
}

// devGreeting says where the application is.
func (o *serverOptions) devGreeting() string {
	greeting := fmt.Sprintf("%s is on %s with Python %s, and is loaded again when its files change. Ctrl-C ends it.",
		o.what(), o.url(), pythonVersion())
	if o.domain != "" {
		greeting = strings.ReplaceAll(greeting, o.address()+" for https://localhost", "https://localhost:"+o.port())
		root := filepath.Join(caddy.AppDataDir(), "pki", "authorities", "local", "root.crt")
		greeting += "\nIf the browser warns of the certificate, let it trust " + root + " (curl: --cacert)."
	}
	return greeting
}

func (o *serverOptions) port() string { return o.listen[strings.LastIndexByte(o.listen, ':')+1:] }
