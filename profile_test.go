package caddysnake

// What a worker may say of a profile, and what becomes of it.

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// aProfile is a function main that calls work, on one thread.
func aProfile() *profileReport {
	return &profileReport{
		Seconds: 1,
		Frames:  []profileFrame{{"main", "app.py", 1}, {"work", "app.py", 9}},
		Nodes:   []int32{-1, 0, 0, 1},
		Threads: []profileTrack{{App: 7, Thread: "wsgi-1", Runs: []int64{1, 750_000, 0, 250_000}}},
	}
}

func TestProfileReportsAreChecked(t *testing.T) {
	if err := aProfile().check(); err != nil {
		t.Fatal(err)
	}
	deep := []int32{-1, 0}
	for i := range int32(maxProfileDepth) {
		deep = append(deep, i, 0)
	}
	for what, spoil := range map[string]func(*profileReport){
		"a negative time":           func(r *profileReport) { r.Seconds = -1 },
		"half a node":               func(r *profileReport) { r.Nodes = r.Nodes[:3] },
		"too many nodes":            func(r *profileReport) { r.Nodes = make([]int32, 2*maxProfileNodes+2) },
		"too many frames":           func(r *profileReport) { r.Frames = make([]profileFrame, maxProfileFrames+1) },
		"too many threads":          func(r *profileReport) { r.Threads = make([]profileTrack, maxProfileTracks+1) },
		"a long name":               func(r *profileReport) { r.Frames[0].Name = strings.Repeat("x", maxProfileText+1) },
		"a negative line":           func(r *profileReport) { r.Frames[0].Line = -1 },
		"a frame that is not there": func(r *profileReport) { r.Nodes[3] = 2 },
		"a negative frame":          func(r *profileReport) { r.Nodes[3] = -1 },
		"a caller that is not there": func(r *profileReport) {
			r.Nodes[2] = -2
		},
		"a node that calls itself": func(r *profileReport) { r.Nodes[2] = 1 },
		"a later caller":           func(r *profileReport) { r.Nodes[0] = 1 },
		"a deep stack":             func(r *profileReport) { r.Nodes = deep },
		"a long thread":            func(r *profileReport) { r.Threads[0].Thread = strings.Repeat("x", maxProfileText+1) },
		"half a run":               func(r *profileReport) { r.Threads[0].Runs = []int64{1} },
		"too many runs":            func(r *profileReport) { r.Threads[0].Runs = make([]int64, 2*maxProfileRuns+2) },
		"a node that is not there": func(r *profileReport) { r.Threads[0].Runs[0] = 2 },
		"a negative node":          func(r *profileReport) { r.Threads[0].Runs[0] = -1 },
		"a run before its start":   func(r *profileReport) { r.Threads[0].Runs[1] = -1 },
		"a run of a day":           func(r *profileReport) { r.Threads[0].Runs[1] = 86400e6 },
	} {
		r := aProfile()
		spoil(r)
		if err := r.check(); !errors.Is(err, errReport) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAProfileBecomesSpeedscopes(t *testing.T) {
	gen := &generation{id: 7, app: &App{id: "a", appName: appName{name: "shop"}}}
	of := map[uint32]*generation{7: gen}
	other := aProfile()
	other.Threads[0].App = 8 // a worker has one app, whatever it says
	file := speedscope([]processProfile{
		{of, 0, &profileReport{}, nil},
		{of, 2, other, nil},
		{of, 3, nil, errWorkerDied},
	})
	if got := file.Shared.Frames; !slices.Equal(got, aProfile().Frames) {
		t.Errorf("frames %v", got)
	}
	var names []string
	for _, profile := range file.Profiles {
		names = append(names, profile.Name)
	}
	if !slices.Equal(names, []string{"shop, worker 2, wsgi-1", "shop, idle", "shop, worker 3, " + errWorkerDied.Error()}) {
		t.Errorf("profiles %q", names)
	}
	busy, _ := json.Marshal(file.Profiles[0])
	const want = `{"type":"sampled","name":"shop, worker 2, wsgi-1","unit":"seconds","startValue":0,"endValue":1,` +
		`"samples":[[0,1],[0]],"weights":[0.75,0.25]}`
	if string(busy) != want {
		t.Errorf("got %s", busy)
	}
	times := functionTimes(file)
	if times[0] != (functionTime{profileFrame{"work", "app.py", 9}, 0.75, 0.75}) || times[1].self != 0.25 || times[1].total != 1 {
		t.Errorf("times %v", times)
	}
}

func TestOnlySealedMemoryIsRead(t *testing.T) {
	sealed, err := newMemoryFile("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	if got, err := readMemoryFile(int(sealed.Fd()), 7); err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := readMemoryFile(int(sealed.Fd()), 6); !errors.Is(err, errReport) {
		t.Errorf("a file that is too long: %v", err)
	}
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := readMemoryFile(fd, 7); !errors.Is(err, errReport) {
		t.Errorf("a file that may change: %v", err)
	}
	disk, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := readMemoryFile(int(disk.Fd()), 7); !errors.Is(err, errReport) {
		t.Errorf("a file on a disk: %v", err)
	}
}
