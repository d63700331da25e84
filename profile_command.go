package caddysnake

// The command python-profile: a profile from the admin endpoint, as a file for speedscope.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

const (
	profileCommand = "python-profile"
	// topFunctions is the number of functions that the command shows.
	topFunctions = 10
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  profileCommand,
		Usage: "<app> [--seconds <n>] [--rate <n>] [--output <file>] " + adminUsage,
		Short: "Shows where the time of a Python application goes",
		Long: `
Takes a profile of an application of the running server, named as in its
configuration, or by its id: samples of what its threads do. Writes it to a file
for https://www.speedscope.app, and shows the functions that took most time.

The answers come from the server's admin endpoint, as for ` + statusCommand + `.`,
		CobraFunc: func(cmd *cobra.Command) {
			admin := adminFlags(cmd)
			p := new(profileOptions)
			cmd.Flags().Float64VarP(&p.seconds, "seconds", "s", profileSeconds, "How long to take samples, at most 60")
			cmd.Flags().Float64VarP(&p.rate, "rate", "r", profileRate, "Samples per second, at most 500")
			cmd.Flags().StringVarP(&p.output, "output", "o", "profile.speedscope.json", "The file to write")
			cmd.Args = cobra.ExactArgs(1)
			cmd.RunE = func(_ *cobra.Command, args []string) error { return p.run(admin, args[0], os.Stdout) }
		},
	})
}

type profileOptions struct {
	seconds, rate float64
	output        string
}

func (o *profileOptions) run(admin *adminAt, app string, out io.Writer) error {
	number := func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
	query := url.Values{"app": {app}, "seconds": {number(o.seconds)}, "rate": {number(o.rate)}}
	var document json.RawMessage
	if err := admin.read("/python/profile?"+query.Encode(), &document); err != nil {
		return err
	}
	if err := os.WriteFile(o.output, document, 0o644); err != nil {
		return err
	}
	var file speedscopeFile
	if err := json.Unmarshal(document, &file); err != nil {
		return fmt.Errorf("reading the profile: %w", err)
	}
	printFunctions(out, &file)
	fmt.Fprintf(out, "\nThe profile is in %s.\n"+
		"Open it at https://www.speedscope.app: your browser reads it, and sends it nowhere.\n", o.output)
	return nil
}

// functionTime is how long a function was at work.
type functionTime struct {
	frame       profileFrame
	self, total float64 // seconds; total: with what it has called
}

// functionTimes returns the functions of a profile, those with the most time of their own
// first.
func functionTimes(file *speedscopeFile) []functionTime {
	times := make([]functionTime, len(file.Shared.Frames))
	for i, frame := range file.Shared.Frames {
		times[i].frame = frame
	}
	for _, profile := range file.Profiles {
		for i, stack := range profile.Samples {
			weight := profile.Weights[i]
			times[stack[len(stack)-1]].self += weight
			for j, frame := range stack {
				if !slices.Contains(stack[:j], frame) { // else it has called itself
					times[frame].total += weight
				}
			}
		}
	}
	slices.SortStableFunc(times, func(a, b functionTime) int {
		return cmp.Or(cmp.Compare(b.self, a.self), cmp.Compare(b.total, a.total))
	})
	return times
}

func printFunctions(out io.Writer, file *speedscopeFile) {
	all := 0.0
	for _, profile := range file.Profiles {
		all += profile.EndValue
	}
	if all == 0 {
		fmt.Fprintln(out, "No thread had work while the profile was taken.")
		return
	}
	table := textTable{
		head: []string{"SELF", "TOTAL", "FUNCTION", "WHERE"}, right: []bool{true, true, false, false}, keepEnd: true,
	}
	columns := sizeOf(out).columns
	for _, function := range functionTimes(file)[:min(len(file.Shared.Frames), topFunctions)] {
		name := function.frame.Name
		if columns > 0 {
			name = cutMiddle(name, columns/2)
		}
		table.add(fmt.Sprintf("%.0f %%", 100*function.self/all), fmt.Sprintf("%.0f %%", 100*function.total/all),
			name, fmt.Sprintf("%s:%d", shortPath(function.frame.File), function.frame.Line))
	}
	table.write(out, columns)
	busy := time.Duration(all * float64(time.Second)).Round(10 * time.Millisecond)
	fmt.Fprintf(out, "\n%s of work in all threads.\n", busy)
}

// shortPath returns a file with its folder.
func shortPath(file string) string {
	return filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
}
