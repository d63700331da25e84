package caddysnake

// The zygotes of the process: one for each environment, from the time that a worker
// has shown which packages its applications need.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// maxPreloadSize limits the names of the modules that a zygote imports, in bytes: they
// are sent in one message.
const maxPreloadSize = maxControlMessage / 2

// zygotePool holds the zygote of each environment.
type zygotePool struct {
	mu        sync.Mutex
	nurseries map[string]*nursery // by keyOf
}

// zygotes are the zygotes of all apps.
var zygotes = newZygotePool()

func newZygotePool() *zygotePool {
	return &zygotePool{nurseries: make(map[string]*nursery)}
}

// start starts a worker, from a zygote if there is one, and learns from the worker.
func (p *zygotePool) start(ctx context.Context, spec workerSpec) (*workerProcess, error) {
	environment := environmentOf(spec.Load.bridgeConfig)
	spec.Zygote = p.get(environment)
	w, err := startWorker(ctx, spec)
	if err == nil && (spec.Zygote == nil || !spec.Zygote.isRetired()) { // else it shows a part, of what may be old
		p.learn(environment, w.modules)
	}
	return w, err
}

// nursery is one environment.
type nursery struct {
	users   int           // apps whose workers are forked from it
	zygote  *zygote       // nil: there is none
	raising bool          // one is being started
	raised  chan struct{} // closed when that is over
	deaths  int           // of zygotes, since the last one that lived long
	resting bool          // none is started yet, since they keep dying
	round   int           // changes when what is being started is not wanted any more
	modules []string
	size    int             // of the names, in bytes
	wanted  map[string]bool // modules that a configuration names
	// leftOut are top-level packages that start threads.
	leftOut map[string]bool
}

// hold keeps the zygote of an environment until release is called as often.
func (p *zygotePool) hold(e pythonEnvironment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nursery(e).users++
}

// release ends the zygote of an environment that no app needs any more.
func (p *zygotePool) release(e pythonEnvironment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nursery(e)
	n.users--
	if n.users == 0 {
		n.retire()
		delete(p.nurseries, keyOf(e))
	}
}

// nursery returns that of an environment. The caller holds the lock.
func (p *zygotePool) nursery(e pythonEnvironment) *nursery {
	key := keyOf(e)
	if p.nurseries[key] == nil {
		p.nurseries[key] = &nursery{leftOut: make(map[string]bool), wanted: make(map[string]bool)}
	}
	return p.nurseries[key]
}

// retire ends the zygote, also one that is being started. The pool's lock is held.
func (n *nursery) retire() {
	n.round++
	if n.zygote != nil {
		n.zygote.retire()
		n.zygote = nil
	}
}

// get returns the zygote of an environment; nil if there is none. One whose packages
// have changed on disk is replaced in the background.
func (p *zygotePool) get(e pythonEnvironment) *zygote {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nurseries[keyOf(e)]
	if n == nil || n.zygote == nil || !n.zygote.alive() {
		return nil
	}
	if folder := n.zygote.changedFolder(); folder != "" {
		caddy.Log().Named(loggerName).Info("packages have changed: python workers get a new zygote", zap.String("folder", folder))
		n.retire()
		p.raiseInBackground(e, n)
		return nil
	}
	return n.zygote
}

// preload waits for a zygote that has imported these modules, as far as it can.
func (p *zygotePool) preload(ctx context.Context, e pythonEnvironment, names []string) {
	p.mu.Lock()
	n := p.nursery(e)
	isNew := false
	for _, name := range names {
		if !n.wanted[name] {
			n.wanted[name], isNew = true, true
			n.add(name)
		}
	}
	if isNew {
		n.retire()
		p.raiseInBackground(e, n)
	}
	raising, raised := n.raising, n.raised
	p.mu.Unlock()
	if raising {
		select {
		case <-raised:
		case <-ctx.Done():
		}
	}
}

// add adds a module to those of the next zygote.
func (n *nursery) add(name string) {
	if n.size+len(name) <= maxPreloadSize && !slices.Contains(n.modules, name) {
		n.modules = append(n.modules, name)
		n.size += len(name)
	}
}

// raiseInBackground starts a zygote, unless one is being started. The caller holds the
// lock.
func (p *zygotePool) raiseInBackground(e pythonEnvironment, n *nursery) {
	if n.raising || n.resting {
		return
	}
	n.raising, n.raised = true, make(chan struct{})
	go p.raise(e, n)
}

// learn adds the modules that a worker has imported, and starts a zygote in the
// background if the environment has none.
func (p *zygotePool) learn(e pythonEnvironment, modules []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nursery(e)
	for _, name := range modules {
		n.add(name)
	}
	if n.zygote == nil || !n.zygote.alive() {
		p.raiseInBackground(e, n)
	}
}

// raise starts the zygote of an environment, without the packages that start threads.
func (p *zygotePool) raise(e pythonEnvironment, n *nursery) {
	logger := caddy.Log().Named(loggerName)
	for {
		modules, round := p.selected(n)
		z, err := startZygote(e, modules)
		var threads errThreads
		if errors.As(err, &threads) {
			name, _, _ := strings.Cut(threads.module, ".")
			if p.leaveOut(n, name) {
				logger.Warn("python workers are forked without a package that starts threads when it is imported",
					zap.String("package", name), zap.String("module", threads.module), zap.String("venv", e.Venv))
				continue
			}
		}
		if err != nil {
			logger.Warn("python workers start without a zygote", zap.Error(err), zap.String("venv", e.Venv))
		}
		p.mu.Lock()
		if z != nil {
			n.warnOfMissing(z.missing, logger)
		}
		isWanted := n.round == round // else its code may be old, or no app needs it
		if isWanted {
			n.zygote = z
			if z != nil {
				go p.follow(e, n, z)
			}
		}
		// Without modules, the next worker that is ready starts one.
		again := !isWanted && n.users > 0 && len(n.modules) > 0
		if n.raising = again; !again {
			close(n.raised)
		}
		p.mu.Unlock()
		if !isWanted && z != nil {
			z.retire()
		}
		if !again {
			return
		}
	}
}

// follow replaces a zygote that has died; after a pause, if they keep dying.
func (p *zygotePool) follow(e pythonEnvironment, n *nursery, z *zygote) {
	begun := time.Now()
	<-z.dead
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.zygote != z { // it was to end
		return
	}
	n.zygote = nil
	if time.Since(begun) >= healthyAfter {
		n.deaths = 0
	}
	n.deaths++
	if n.deaths == 1 {
		p.raiseInBackground(e, n)
		return
	}
	n.resting = true
	time.AfterFunc(pauseAfter(n.deaths-2), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		n.resting = false
		if n.users > 0 && n.zygote == nil {
			p.raiseInBackground(e, n)
		}
	})
}

// warnOfMissing names modules of a configuration that a zygote could not import.
func (n *nursery) warnOfMissing(missing []string, logger *zap.Logger) {
	for _, name := range missing {
		if n.wanted[name] {
			logger.Warn("a package of preload is not installed or can't be imported: it is left to the application", zap.String("package", name))
		}
	}
}

func (p *zygotePool) selected(n *nursery) (modules []string, round int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range n.modules {
		top, _, _ := strings.Cut(name, ".")
		if !n.leftOut[top] {
			modules = append(modules, name)
		}
	}
	return modules, n.round
}

// leaveOut returns whether the package was not left out before.
func (p *zygotePool) leaveOut(n *nursery, name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := n.leftOut[name]
	n.leftOut[name] = true
	return !before
}

// forget retires all zygotes, and what they have learnt: the packages on disk have
// changed, or may have.
func (p *zygotePool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nurseries {
		n.retire()
		n.modules, n.size, n.leftOut = nil, 0, make(map[string]bool)
		for name := range n.wanted {
			n.add(name)
		}
	}
}
