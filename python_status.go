package caddysnake

// The commands python-status and python-top: what the admin endpoint shows, for people.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

const (
	statusCommand = "python-status"
	topCommand    = "python-top"

	// topRequests is the number of requests that python-top shows.
	topRequests = 20
	// topApps is the number of applications for which python-top always has room.
	topApps = 5
	// topOtherLines are those around the two tables.
	topOtherLines = 8
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  statusCommand,
		Usage: adminUsage,
		Short: "Shows the Python applications of the running server",
		Long: `
Shows the Python applications of the running server: their state, what runs in
them, and the error of the last load. The exit code is 1 if one could not be
loaded.

The answers come from the server's admin endpoint, whose address is that of the
config, or --address, by default localhost:2019.`,
		CobraFunc: func(cmd *cobra.Command) {
			admin := adminFlags(cmd)
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(*cobra.Command, []string) error { return runStatus(admin, os.Stdout) }
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  topCommand,
		Usage: adminUsage + " [--interval <duration>]",
		Short: "Shows again and again what Python applications do",
		Long: `
Shows the Python applications of the running server, the busiest first, and the
requests that have been running for longest, every two seconds until Ctrl-C.

The answers come from the server's admin endpoint, as for ` + statusCommand + `.`,
		CobraFunc: func(cmd *cobra.Command) {
			admin := adminFlags(cmd)
			interval := cmd.Flags().DurationP("interval", "i", 2*time.Second, "Time between two looks")
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(*cobra.Command, []string) error { return runTop(admin, *interval, os.Stdout) }
		},
	})
}

// adminAt says where the admin endpoint is.
type adminAt struct{ address, config, adapter string }

// adminUsage are the flags of adminFlags, for a command's help.
const adminUsage = "[--address <interface>] [--config <path> [--adapter <name>]]"

func adminFlags(cmd *cobra.Command) *adminAt {
	at := new(adminAt)
	cmd.Flags().StringVar(&at.address, "address", "", "The address of the admin endpoint")
	cmd.Flags().StringVarP(&at.config, "config", "c", "", "Configuration file that names the address")
	cmd.Flags().StringVarP(&at.adapter, "adapter", "a", "", "Name of the adapter for the configuration file")
	return at
}

// read asks the admin endpoint for what is at a path.
func (at *adminAt) read(path string, value any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(at.address, nil, at.config, at.adapter)
	if err != nil {
		return err
	}
	response, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(value)
}

var errSomeFailed = errors.New("not all applications could be loaded")

func runStatus(admin *adminAt, out io.Writer) error {
	var apps []*appView
	if err := admin.read("/python/apps", &apps); err != nil {
		return err
	}
	printApps(out, apps, sizeOf(out).columns)
	failed := false
	for _, app := range apps {
		if app.Error != nil {
			fmt.Fprintf(out, "\n%s in %s, %s ago:\n%s\n", app.Name, app.WorkingDir,
				time.Since(app.Error.Time).Round(time.Second), printable(app.Error.Text))
		}
		failed = failed || app.State == "failed"
	}
	if failed {
		return errSomeFailed
	}
	return nil
}

func runTop(admin *adminAt, interval time.Duration, out io.Writer) error {
	if interval <= 0 {
		return fmt.Errorf("--interval must be positive, not %s", interval)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	for {
		var screen strings.Builder
		if err := printTop(admin, &screen, sizeOf(out)); err != nil {
			return err
		}
		// Home, and clear what follows.
		if _, err := io.WriteString(out, "\x1b[H\x1b[2J"+screen.String()); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(interval):
		}
	}
}

func printTop(admin *adminAt, out io.Writer, size terminalSize) error {
	var apps []*appView
	var requests []requestView
	if err := errors.Join(admin.read("/python/apps", &apps), admin.read("/python/requests", &requests)); err != nil {
		return err
	}
	slices.SortStableFunc(apps, func(a, b *appView) int {
		return cmp.Or(cmp.Compare(b.Queued, a.Queued), cmp.Compare(b.Requests, a.Requests))
	})
	fmt.Fprintf(out, "%s, Caddy %s\n\n", time.Now().Format(time.TimeOnly), firstOf(caddy.Version()))
	requests = requests[:min(len(requests), topRequests)]
	shown := apps
	if size.rows > 0 {
		shown = apps[:min(len(apps), max(topApps, size.rows-len(requests)-topOtherLines))]
	}
	printApps(out, shown, size.columns)
	if hidden := len(apps) - len(shown); hidden > 0 {
		fmt.Fprintf(out, "and %d more\n", hidden)
	}
	if len(requests) == 0 {
		fmt.Fprintln(out, "\nNo request runs.")
		return nil
	}
	fmt.Fprintln(out)
	table := textTable{
		head: []string{"SECONDS", "STATE", "APP", "WORKER", "REQUEST"}, right: []bool{true, false, false, true, false},
	}
	for _, request := range requests {
		worker := "-"
		if request.Worker > 0 {
			worker = fmt.Sprint(request.Worker)
		}
		table.add(fmt.Sprintf("%.1f", request.Seconds), request.State, nameFor(request.Name, size.columns), worker,
			oneLine(request.Method)+" "+oneLine(request.Path))
	}
	table.write(out, size.columns)
	return nil
}

func firstOf(first, _ string) string { return first }

// printApps writes a table of applications. columns is the width of the terminal; 0: out is
// none.
func printApps(out io.Writer, apps []*appView, columns int) {
	if len(apps) == 0 {
		fmt.Fprintln(out, "No Python application is configured or loaded.")
		return
	}
	table := textTable{
		head:  []string{"APP", "STATE", "TYPE", "AGE", "REQS", "QUEUED", "WS", "WORKERS", "MEMORY", "ID", "DIRECTORY"},
		right: []bool{false, false, false, true, true, true, true, true, true, false, false}, keepEnd: true,
	}
	for _, app := range apps {
		age, workers, memory := "-", "-", "-" // an application in Caddy's process has no memory of its own
		if app.Workers > 0 {
			workers, memory = fmt.Sprint(app.Workers), humanize.IBytes(uint64(app.Memory))
		}
		if app.Age > 0 {
			age = shortAge(time.Duration(app.Age * float64(time.Second)))
		}
		table.add(nameFor(app.Name, columns), app.State, cmp.Or(app.Interface, "-"), age, fmt.Sprint(app.Requests),
			fmt.Sprint(app.Queued), fmt.Sprint(app.WebSockets), workers, memory, app.ID, oneLine(app.WorkingDir))
	}
	table.write(out, columns)
}

// nameFor returns an application's name, shortened on a terminal.
func nameFor(name string, columns int) string {
	if columns > 0 {
		return cutMiddle(oneLine(name), columns/4)
	}
	return oneLine(name)
}

// shortAge returns the largest unit of a time.
func shortAge(age time.Duration) string {
	switch {
	case age < time.Minute:
		return fmt.Sprintf("%ds", int(age.Seconds()))
	case age < time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 2*24*time.Hour:
		return fmt.Sprintf("%dh", int(age.Hours()))
	default:
		return fmt.Sprintf("%dd", int(age.Hours()/24))
	}
}
