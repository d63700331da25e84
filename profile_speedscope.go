package caddysnake

// A profile in the format of speedscope,
// https://www.speedscope.app/file-format-schema.json.

import (
	"cmp"
	"fmt"
	"slices"
)

const speedscopeSchema = "https://www.speedscope.app/file-format-schema.json"

// speedscopeFile is a document for speedscope.
type speedscopeFile struct {
	Schema   string `json:"$schema"`
	Exporter string `json:"exporter"`
	Name     string `json:"name"`
	Shared   struct {
		Frames []profileFrame `json:"frames"`
	} `json:"shared"`
	Profiles []speedscopeProfile `json:"profiles"`
}

// speedscopeProfile is what one thread did.
type speedscopeProfile struct {
	Type       string    `json:"type"` // sampled
	Name       string    `json:"name"`
	Unit       string    `json:"unit"` // seconds
	StartValue float64   `json:"startValue"`
	EndValue   float64   `json:"endValue"`
	Samples    [][]int   `json:"samples"` // frames, the outermost first
	Weights    []float64 `json:"weights"` // of the samples
}

// speedscope makes one profile of each thread, the busiest first.
func speedscope(taken []processProfile) *speedscopeFile {
	file := &speedscopeFile{Schema: speedscopeSchema, Exporter: "caddysnake", Name: "Python applications"}
	file.Shared.Frames = []profileFrame{}
	file.Profiles = []speedscopeProfile{}
	numbers := map[profileFrame]int{}
	number := func(frame profileFrame) int {
		frame.Name, frame.File = cmp.Or(oneLine(frame.Name), "?"), oneLine(frame.File)
		known, ok := numbers[frame]
		if !ok {
			known = len(file.Shared.Frames)
			numbers[frame] = known
			file.Shared.Frames = append(file.Shared.Frames, frame)
		}
		return known
	}
	for _, process := range taken {
		file.Profiles = append(file.Profiles, process.profiles(number)...)
	}
	slices.SortStableFunc(file.Profiles, func(a, b speedscopeProfile) int {
		return cmp.Or(cmp.Compare(b.EndValue, a.EndValue), cmp.Compare(a.Name, b.Name))
	})
	return file
}

// profiles returns what the threads of a process did. number gives a frame its number in
// the file.
func (p *processProfile) profiles(number func(profileFrame) int) (profiles []speedscopeProfile) {
	idle := map[uint32]bool{}
	for id := range p.generations {
		idle[id] = true
	}
	if p.report == nil {
		for _, gen := range p.generations {
			profiles = append(profiles, newSpeedscopeProfile(p.name(gen, p.err.Error())))
		}
		return profiles
	}
	frames := make([]int, len(p.report.Frames))
	for i, frame := range p.report.Frames {
		frames[i] = number(frame)
	}
	stacks := map[int64][]int{}
	for _, track := range p.report.Threads {
		gen := p.generationOf(track.App)
		if gen == nil || len(track.Runs) == 0 {
			continue
		}
		idle[gen.id] = false
		name := oneLine(track.Thread)
		if p.report.Full {
			name += fmt.Sprintf(" (only %.1f s: too many different stacks)", p.report.Seconds)
		}
		profile := newSpeedscopeProfile(p.name(gen, name))
		for i := 0; i < len(track.Runs); i += 2 {
			node := track.Runs[i]
			if stacks[node] == nil {
				stack := p.report.stack(node)
				for i, frame := range stack {
					stack[i] = frames[frame]
				}
				stacks[node] = stack
			}
			profile.add(stacks[node], float64(track.Runs[i+1])/1e6)
		}
		profiles = append(profiles, profile)
	}
	for id, gen := range p.generations {
		if idle[id] {
			profiles = append(profiles, newSpeedscopeProfile(p.name(gen, "idle")))
		}
	}
	return profiles
}

// generationOf returns the generation with an id. A worker has one, whatever it says.
func (p *processProfile) generationOf(id uint32) *generation {
	if p.worker > 0 {
		for _, gen := range p.generations {
			return gen
		}
	}
	return p.generations[id]
}

// name returns the name of a profile.
func (p *processProfile) name(gen *generation, what string) string {
	if p.worker > 0 {
		return fmt.Sprintf("%s, worker %d, %s", gen.app.name, p.worker, what)
	}
	return fmt.Sprintf("%s, %s", gen.app.name, what)
}

func newSpeedscopeProfile(name string) speedscopeProfile {
	return speedscopeProfile{Type: "sampled", Name: name, Unit: "seconds", Samples: [][]int{}, Weights: []float64{}}
}

func (p *speedscopeProfile) add(stack []int, seconds float64) {
	p.Samples = append(p.Samples, stack)
	p.Weights = append(p.Weights, seconds)
	p.EndValue += seconds
}
