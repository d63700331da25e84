package caddysnake

// Autoreload: an app's code is loaded anew when its files have changed and then
// stayed as they are for a moment.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// changes are what an app is reloaded for.
type changes struct {
	first string
	files int
}

// reloader reloads one app, never twice at once.
type reloader struct {
	app      *App
	tree     *tree
	debounce time.Duration
	wake     chan struct{} // capacity 1: it is time to reload

	mu    sync.Mutex // what has changed since the last reload began
	seen  map[string]struct{}
	first string
	timer *time.Timer
}

// startWatching watches an app's files. It comes before loading, so that no
// change is missed.
func (a *App) startWatching() error {
	config := a.config.Autoreload
	r := &reloader{
		app: a, debounce: config.Debounce, wake: make(chan struct{}, 1), seen: map[string]struct{}{},
	}
	r.timer = time.AfterFunc(r.debounce, func() { notify(r.wake) })
	r.timer.Stop()
	r.tree = &tree{
		path:    a.config.WorkingDir,
		filter:  fileFilter{include: config.Include, exclude: config.Exclude},
		changed: r.note,
		logger:  a.logger.Load,
	}
	if err := watcher.watch(r.tree); err != nil {
		return fmt.Errorf("autoreload of %s: %w", a.config.WorkingDir, err)
	}
	a.reloader = r
	return nil
}

// note is told of a changed file.
func (r *reloader) note(rel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		r.first = rel
	}
	r.seen[rel] = struct{}{}
	r.timer.Reset(r.debounce)
}

func (r *reloader) take() changes {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := changes{first: r.first, files: len(r.seen)}
	clear(r.seen)
	return taken
}

// run reloads the app until ctx ends.
func (r *reloader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			if changed := r.take(); changed.files > 0 && ctx.Err() == nil {
				r.app.logger.Load().Info("python app has changed",
					zap.String("app", r.app.config.Module),
					zap.String("changed", changed.first), zap.Int("files", changed.files))
				r.app.reload(ctx, changed)
			}
		}
	}
}

func (r *reloader) stop() {
	watcher.unwatch(r.tree)
	r.timer.Stop()
}
