package caddysnake

// The python-server command: one application, served without a Caddyfile.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
)

const (
	serverCommand = "python-server"
	importPath    = "github.com/caddysnake/caddysnake"
	defaultListen = "127.0.0.1:9080"

	// serverGracePeriod is how long open requests may run after Ctrl-C.
	serverGracePeriod = 10 * time.Second
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  serverCommand,
		Usage: "[module:variable]", // the manual would drop angle brackets
		Short: "Serves a Python application",
		Long: strings.ReplaceAll(`
Serves a WSGI or ASGI application, on http://127.0.0.1:9080 unless told
otherwise. With --domain it is served over HTTPS, with a certificate that
Caddy gets and renews.

	$ caddy python-server main:app
	$ caddy python-server --app shop.wsgi:application --static-path ./static
	$ caddy python-server --app api:app --domain api.example.com

Ctrl-C stops it when the requests at work are done; once more stops it at once.
There is no admin endpoint unless --admin names its address.

For anything beyond these options, write a Caddyfile with the python directive.`,
			"$ caddy ", "$ "+cmp.Or(caddy.CustomBinaryName, "caddy")+" "),
		CobraFunc: func(cmd *cobra.Command) {
			o := new(serverOptions)
			o.addFlags(cmd.Flags())
			flags := cmd.Flags()
			flags.StringVarP(&o.domain, "domain", "d", "", "Host name to serve over HTTPS")
			flags.StringVar(&o.workersRuntime, "workers-runtime", "", "thread or process, of earlier releases: the same as --workers 0 and --workers 1")
			flags.BoolVar(&o.autoreload, "autoreload", false, "Load the application again when its code changes")
			flags.BoolVar(&o.accessLogs, "access-logs", false, "Log each request")
			flags.BoolVar(&o.debug, "debug", false, "Log debug messages, and show tracebacks in the browser")
			flags.BoolVar(&o.metrics, "metrics", false, "Measure requests and the application, for /metrics at the address of --admin")
			flags.StringVar(&o.admin, "admin", "off", "Address of Caddy's admin endpoint, or off")
			cmd.Args = cobra.MaximumNArgs(1)
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				if err := o.takeApp(args); err != nil {
					return err
				}
				return o.run()
			}
		},
	})
}

// shortCommands are short forms of this executable's own commands.
var shortCommands = map[string]string{
	"status": statusCommand, "top": topCommand, "profile": profileCommand,
}

// Arguments expands the short forms `caddy main:app` to `caddy python-server
// main:app`, and `caddy status` to `caddy python-status`. It also expands wrong uses of the short form, so that python-server
// can report the mistake.
func Arguments(args []string) []string {
	if len(args) > 1 && shortCommands[args[1]] != "" {
		return append([]string{args[0], shortCommands[args[1]]}, args[2:]...)
	}
	if len(args) < 2 || strings.HasPrefix(args[1], "-") ||
		!strings.Contains(args[1], ":") && !strings.HasSuffix(args[1], ".py") {
		return args
	}
	return append([]string{args[0], serverCommand}, args[1:]...)
}

// serverOptions are the options of python-server.
type serverOptions struct {
	app, serverType, domain, listen, workingDir, venv, lifespan string

	threads                 int
	workers                 string
	workersRuntime          string
	staticPath, staticRoute string

	autoreload, accessLogs, debug, metrics bool

	envFiles, envVars []string
	admin             string
	dev               bool // the command dev
}

// addFlags adds the flags that this command and dev have.
func (o *serverOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.app, "app", "a", "", "The application, as module:variable")
	flags.StringVarP(&o.serverType, "server-type", "t", "", "Its interface, wsgi or asgi (default: detected)")
	flags.StringVarP(&o.listen, "listen", "l", "", "Address to listen on (default "+defaultListen+", or :443 with --domain)")
	flags.StringVarP(&o.workingDir, "working-dir", "w", "", "Directory with the application's modules (default: the current one)")
	flags.StringVar(&o.venv, "venv", "", "Virtual environment with its packages (default: $VIRTUAL_ENV)")
	flags.StringVar(&o.lifespan, "lifespan", "", "ASGI lifespan: auto, on or off (default auto)")
	flags.IntVar(&o.threads, "threads", defaultThreads, "How many WSGI requests run at once")
	flags.StringVar(&o.workers, "workers", "", "Worker processes that serve the application, a number or auto (default: this process serves it)")
	flags.StringVar(&o.staticPath, "static-path", "", "Directory of files to serve without the application")
	flags.StringVar(&o.staticRoute, "static-route", "/static", "Path prefix of those files")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "File with NAME=value lines for the application (repeatable)")
	flags.StringArrayVar(&o.envVars, "env-var", nil, "NAME=value for the application (repeatable)")
}

// takeApp takes the application from the arguments, where a flag has not named it.
func (o *serverOptions) takeApp(args []string) error {
	if len(args) == 1 && o.app != "" {
		return errors.New("the application is given twice: " + o.app + " and " + args[0])
	}
	if len(args) == 1 {
		o.app = args[0]
	}
	return nil
}

// run serves until a signal ends the process. Its error is a message for the user.
func (o *serverOptions) run() error {
	config, err := o.config()
	if err != nil {
		return err
	}
	if strings.ContainsAny(o.domain, ":/ ") {
		return fmt.Errorf("--domain must be a host name such as example.com, not '%s'", o.domain)
	}
	if err := o.checkAddress(); err != nil {
		return err
	}
	caddy.TrapSignals()
	if err := caddy.Run(config); err != nil {
		if caddy.Exiting() {
			select {} // the signal's handler ends the process
		}
		return errors.New(reason(err))
	}
	if o.dev {
		fmt.Println(o.devGreeting())
	} else {
		fmt.Println(o.greeting())
	}
	select {}
}

// reason removes from an error the chain of Caddy modules that led to the
// application.
func reason(err error) string {
	_, own, found := strings.Cut(err.Error(), "provision "+loggerName+": ")
	if !found {
		return err.Error()
	}
	return own
}

// greeting names the application, its address and the versions.
func (o *serverOptions) greeting() string {
	caddyVersion, _ := caddy.Version()
	return fmt.Sprintf("caddysnake %s (Caddy %s, Python %s) serves %s on %s",
		pluginVersion(), caddyVersion, pythonVersion(), o.what(), o.url())
}

// what names the application and its interface.
func (o *serverOptions) what() string {
	what := o.app
	apps.Range(func(_, value any) bool { // empty if requests select the app
		if gen := value.(*App).current.Load(); gen != nil && gen.isWSGI {
			what += " (WSGI)"
		} else {
			what += " (ASGI)"
		}
		return false
	})
	return what
}

func (o *serverOptions) url() string {
	switch {
	case o.domain != "" && (o.listen == "" || strings.HasSuffix(o.listen, ":443")):
		return "https://" + o.domain
	case o.domain != "":
		return o.address() + " for https://" + o.domain
	case strings.HasPrefix(o.address(), "unix/"):
		return o.address()
	case strings.HasPrefix(o.address(), ":"):
		return "http://localhost" + o.address()
	default:
		return "http://" + o.address()
	}
}

// pluginVersion returns the version of caddysnake. Reading it takes longer than showing a
// metric.
var pluginVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range info.Deps {
		if dep.Path == importPath {
			return dep.Version
		}
	}
	return info.Main.Version
})

func (o *serverOptions) address() string {
	if o.domain != "" {
		return cmp.Or(o.listen, ":443")
	}
	return cmp.Or(o.listen, defaultListen)
}

// checkAddress refuses an address that another server already uses. Caddy itself
// would silently share it with another Caddy, and take over a Unix socket.
func (o *serverOptions) checkAddress() error {
	address, err := caddy.ParseNetworkAddressWithDefaults(o.address(), "tcp", 0)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	if strings.HasPrefix(address.Network, "tcp") && address.StartPort == 0 {
		return fmt.Errorf("--listen %s: it has no port; write it as :9080 or 127.0.0.1:9080", o.listen)
	}
	network, target := address.Network, address.Host
	switch {
	case strings.HasPrefix(network, "tcp"):
		target = dialable(address)
	case network != "unix":
		return nil
	}
	conn, err := net.DialTimeout(network, target, time.Second)
	if err != nil {
		return nil
	}
	conn.Close()
	return fmt.Errorf("another server listens on %s already; choose another address with --listen", o.address())
}

// dialable returns an address that reaches a server listening on address.
func dialable(address caddy.NetworkAddress) string {
	host := address.Host
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = ""
	}
	return net.JoinHostPort(cmp.Or(host, "localhost"), strconv.Itoa(int(address.StartPort)))
}

type object = map[string]any

// config returns the configuration for the options.
func (o *serverOptions) config() (*caddy.Config, error) {
	if o.app == "" {
		return nil, errors.New("which application? Name it as <module>:<variable>, such as main:app")
	}
	handler, err := o.handler()
	if err != nil {
		return nil, err
	}
	var routes []object
	if o.staticPath != "" {
		static, err := o.staticFiles()
		if err != nil {
			return nil, err
		}
		routes = append(routes, static)
	}
	routes = append(routes, object{"handle": []json.RawMessage{handler}})
	if o.domain != "" {
		routes = []object{{
			"match":    []object{{"host": []string{o.domain}}},
			"handle":   []object{{"handler": "subroute", "routes": routes}},
			"terminal": true,
		}}
	}
	if o.metrics && o.admin == "off" {
		return nil, errors.New("--metrics needs --admin, which is the address of /metrics")
	}
	server := object{"listen": []string{o.address()}, "routes": routes}
	if o.domain == "" {
		server["protocols"] = []string{"h1", "h2c"}
	}
	if o.accessLogs {
		server["logs"] = object{}
	}
	if o.dev {
		server["automatic_https"] = object{"disable_redirects": true} // port 80 is not ours
	}
	http := object{
		"servers":      object{"python": server},
		"grace_period": caddy.Duration(serverGracePeriod),
	}
	if o.metrics {
		http["metrics"] = object{}
	}
	persist := false
	config := &caddy.Config{
		Admin: &caddy.AdminConfig{
			Disabled: o.admin == "off",
			Config:   &caddy.ConfigSettings{Persist: &persist},
		},
		AppsRaw: caddy.ModuleMap{"http": caddyconfig.JSON(http, nil)},
	}
	if o.admin != "off" {
		config.Admin.Listen = o.admin
	}
	if o.dev {
		o.setUpDev(config)
	} else if o.debug {
		config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{Level: zap.DebugLevel.CapitalString()}},
		}}
	}
	return config, nil
}

// handler returns the python handler with checked settings.
func (o *serverOptions) handler() (json.RawMessage, error) {
	h := Handler{
		WorkingDir: o.workingDir,
		Venv:       cmp.Or(o.venv, os.Getenv("VIRTUAL_ENV")),
		Lifespan:   o.lifespan,
		Threads:    o.threads,
		Workers:    o.workers,
		EnvFiles:   o.envFiles,
		Env:        make(map[string]string),
		Debug:      o.debug || o.dev,
		AppMetrics: o.metrics,
	}
	if o.autoreload {
		h.Autoreload = new(AutoreloadOptions)
	}
	switch o.serverType {
	case "":
		h.Module = o.app
	case "wsgi":
		h.ModuleWSGI = o.app
	case "asgi":
		h.ModuleASGI = o.app
	default:
		return nil, fmt.Errorf("--server-type must be wsgi or asgi, not '%s'", o.serverType)
	}
	for _, assignment := range o.envVars {
		name, value, found := strings.Cut(assignment, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--env-var must be NAME=value, not '%s'", assignment)
		}
		h.Env[name] = value
	}
	if o.threads < 1 {
		return nil, fmt.Errorf("--threads must be at least 1, not %d", o.threads)
	}
	h.Workers = withRuntime(h.Workers, o.workersRuntime)
	if _, err := parseWorkers(h.Workers); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if o.workersRuntime != "" {
		if err := oneOf("--workers-runtime", &o.workersRuntime, "thread", "process"); err != nil {
			return nil, err
		}
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(h, "handler", "python", nil), nil
}

// staticFiles returns a route for files below a path prefix.
func (o *serverOptions) staticFiles() (object, error) {
	directory, err := filepath.Abs(o.staticPath)
	if err != nil {
		return nil, fmt.Errorf("--static-path: %w", err)
	}
	if info, err := os.Stat(directory); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("--static-path %s: no such directory", o.staticPath)
	}
	prefix := strings.TrimRight(o.staticRoute, "/")
	if !strings.HasPrefix(prefix, "/") {
		return nil, fmt.Errorf("--static-route must be a path such as /static, not '%s'", o.staticRoute)
	}
	return object{
		"match": []object{{"path": []string{prefix + "/*"}}},
		"handle": []object{
			{"handler": "rewrite", "strip_path_prefix": prefix},
			{
				"handler":             "file_server",
				"root":                directory,
				"precompressed":       object{"zstd": object{}, "br": object{}, "gzip": object{}},
				"precompressed_order": []string{"zstd", "br", "gzip"},
			},
		},
		"terminal": true,
	}, nil
}
