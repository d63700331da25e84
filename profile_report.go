package caddysnake

// What the bridge and workers say of a profile that caddysnake_py/profiles.py has taken.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Limits of a report: those of profiles.py, and room for its last sample.
const (
	maxProfile       = 8 << 20 // bytes, as JSON
	maxProfileDepth  = 200
	maxProfileFrames = 5_000 + maxProfileDepth
	maxProfileNodes  = 20_000 + maxProfileDepth
	maxProfileRuns   = 50_000 + maxProfileTracks
	maxProfileTracks = 1_000
	maxProfileText   = 4_000 // bytes
)

// profileOrder says what is to be sampled.
type profileOrder struct {
	Apps    []uint32 `json:"apps,omitempty"` // ids of generations; not to workers, which have one
	Seconds float64  `json:"seconds"`
	Rate    float64  `json:"rate"`
}

// profileReady says that a profile is in the file beside it.
type profileReady struct {
	Question uint32         `json:"question"`
	report   *profileReport // in the file
}

func (*profileReady) check() error { return nil }

// profileReport is a profile of one process.
type profileReport struct {
	Seconds float64        `json:"seconds"` // that it took
	Full    bool           `json:"full"`    // it ended at a limit
	Frames  []profileFrame `json:"frames"`
	Nodes   []int32        `json:"nodes"` // the tree of calls: node of the caller (-1: none), frame; and so on
	Threads []profileTrack `json:"threads"`
}

// profileFrame is a function. It is a frame in speedscope's format, too.
type profileFrame struct {
	Name string `json:"name"`
	File string `json:"file,omitempty"`
	Line int32  `json:"line,omitempty"` // of its beginning
}

// profileTrack is what a thread did.
type profileTrack struct {
	App    uint32  `json:"app"` // the generation's id
	Thread string  `json:"thread"`
	Runs   []int64 `json:"runs"` // node, microseconds; and so on
}

func (r *profileReport) check() error {
	refuse := func(what string) error { return fmt.Errorf("%w: a profile with %s", errReport, what) }
	if r.Seconds < 0 || len(r.Frames) > maxProfileFrames || len(r.Nodes) > 2*maxProfileNodes ||
		len(r.Nodes)%2 != 0 || len(r.Threads) > maxProfileTracks {
		return refuse("other lengths")
	}
	for _, frame := range r.Frames {
		if len(frame.Name)+len(frame.File) > maxProfileText || frame.Line < 0 {
			return refuse("a wrong frame")
		}
	}
	depths := make([]int, len(r.Nodes)/2)
	for i := range depths {
		caller, frame := r.Nodes[2*i], r.Nodes[2*i+1]
		if caller < -1 || int(caller) >= i || frame < 0 || int(frame) >= len(r.Frames) {
			return refuse("a wrong call")
		}
		if depths[i] = 1; caller >= 0 {
			depths[i] += depths[caller]
		}
		if depths[i] > maxProfileDepth {
			return refuse("too deep a stack")
		}
	}
	runs := 0
	for _, track := range r.Threads {
		runs += len(track.Runs) / 2
		if len(track.Thread) > maxProfileText || len(track.Runs)%2 != 0 || runs > maxProfileRuns {
			return refuse("a wrong thread")
		}
		for i := 0; i < len(track.Runs); i += 2 {
			node, spent := track.Runs[i], track.Runs[i+1]
			if node < 0 || int(node) >= len(depths) || spent < 0 || spent > int64(time.Hour/time.Microsecond) {
				return refuse("a wrong sample")
			}
		}
	}
	return nil
}

// readProfile returns the profile in a worker's file.
func readProfile(fd int) (*profileReport, error) {
	content, err := readMemoryFile(fd, maxProfile)
	if err != nil {
		return nil, err
	}
	report := new(profileReport)
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(report); err != nil {
		return nil, fmt.Errorf("%w: %w", errReport, err)
	}
	return report, report.check()
}

// stack returns the frames of a node, the outermost first.
func (r *profileReport) stack(node int64) []int {
	depth := 0
	for at := int32(node); at >= 0; at = r.Nodes[2*at] {
		depth++
	}
	stack := make([]int, depth)
	for at := int32(node); at >= 0; at = r.Nodes[2*at] {
		depth--
		stack[depth] = int(r.Nodes[2*at+1])
	}
	return stack
}

// profileBridge has the bridge take a profile of apps in Caddy's process. The bridge ends
// it early when ctx is over.
func profileBridge(ctx context.Context, number uint32, order profileOrder) (*profileReport, error) {
	found, err := ask(ctx, command{Op: "profile", ID: number, Profile: &order})
	if ctx.Err() != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stacksTimeout)
		defer cancel()
		_, _ = ask(ending, command{Op: "end_profile", ID: number}) // else the profile ends later
	}
	if err != nil {
		return nil, err
	}
	if found.Profile == nil {
		return nil, errBridgeLost
	}
	return found.Profile, found.Profile.check()
}

// profileWorker is the same for a worker.
func (w *workerProcess) profileWorker(ctx context.Context, order profileOrder) (*profileReport, error) {
	var asked uint32
	report, err := w.profile.ask(ctx, w.died, func(number uint32) error {
		asked = number
		return w.control.send(struct {
			Op       string `json:"op"`
			Question uint32 `json:"question"`
			profileOrder
		}{"profile", number, order})
	})
	if ctx.Err() != nil && asked > 0 {
		_ = w.control.send(struct { // without it the profile ends later
			Op       string `json:"op"`
			Question uint32 `json:"question"`
		}{"end_profile", asked})
	}
	return report, err
}

// Interface guard
var _ workerReport = (*profileReady)(nil)
