package caddysnake

// The watcher of the file system: one for the process, because the kernel allows
// few inotify instances, with one watch for each directory, however many apps
// look at it. What an app looks at is in autoreload_tree.go.

import (
	"errors"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

var watcher dirWatcher

type dirWatcher struct {
	mu    sync.Mutex // everything, trees included
	fs    *fsnotify.Watcher
	trees map[*tree]struct{}
	dirs  map[string]map[*tree]struct{} // who looks at a directory
}

const limitHint = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances (sysctl), " +
	"or exclude directories"

// watch starts to watch a tree.
func (w *dirWatcher) watch(t *tree) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs == nil {
		files, err := fsnotify.NewWatcher()
		if errors.Is(err, syscall.EMFILE) {
			return errors.New("the limit of inotify instances or descriptors is reached: " + limitHint)
		}
		if err != nil {
			return err
		}
		w.fs, w.trees, w.dirs = files, map[*tree]struct{}{}, map[string]map[*tree]struct{}{}
		go w.run(files)
	}
	w.trees[t] = struct{}{}
	t.held = map[string]struct{}{}
	w.read(t)
	return nil
}

// unwatch ends it.
func (w *dirWatcher) unwatch(t *tree) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropAll(t)
	delete(w.trees, t)
	if w.fs != nil && len(w.trees) == 0 {
		_ = w.fs.Close()
		w.fs = nil
	}
}

func (w *dirWatcher) run(files *fsnotify.Watcher) {
	for {
		select {
		case event, ok := <-files.Events:
			if !ok {
				return
			}
			w.handle(files, event)
		case err, ok := <-files.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.lostEvents(files)
			}
		}
	}
}

// lostEvents looks at everything again: the kernel had more to tell than its
// queue holds.
func (w *dirWatcher) lostEvents(files *fsnotify.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != files {
		return
	}
	for t := range w.trees {
		w.readAgain(t)
	}
}

func (w *dirWatcher) handle(files *fsnotify.Watcher, event fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != files || !event.Has(fsnotify.Create|fsnotify.Write|fsnotify.Remove|fsnotify.Rename) {
		return // metadata only
	}
	dir := filepath.Dir(event.Name)
	moved := map[*tree]struct{}{}
	for _, t := range slices.Collect(maps.Keys(w.dirs[dir])) {
		if w.seeAnchor(t, event) {
			moved[t] = struct{}{}
		}
		if rel, ok := t.dirs[dir]; ok {
			w.see(t, event, path.Join(rel, filepath.Base(event.Name)))
		}
	}
	if event.Has(fsnotify.Remove | fsnotify.Rename) {
		w.forget(event.Name, moved)
	}
	for t := range moved {
		w.readAgain(t)
	}
}

// hold has a directory watched for a tree.
func (w *dirWatcher) hold(t *tree, dir string) {
	if w.dirs[dir] == nil {
		err := w.fs.Add(dir)
		if errors.Is(err, syscall.ENOSPC) && !t.limited {
			t.limited = true
			t.logger().Error("autoreload does not see all changes: the limit of inotify watches is reached",
				zap.String("directory", dir), zap.String("hint", limitHint))
		}
		if err != nil {
			return // it is gone again, or not for us to read
		}
		w.dirs[dir] = map[*tree]struct{}{}
	}
	w.dirs[dir][t] = struct{}{}
	t.held[dir] = struct{}{}
}

func (w *dirWatcher) drop(t *tree, dir string) {
	if _, held := t.held[dir]; !held {
		return
	}
	delete(t.held, dir)
	delete(w.dirs[dir], t)
	if len(w.dirs[dir]) == 0 {
		delete(w.dirs, dir)
		_ = w.fs.Remove(dir)
	}
}

func (w *dirWatcher) dropAll(t *tree) {
	for dir := range t.held {
		w.drop(t, dir)
	}
}

// forget is told that what may have been a directory is no longer where it was.
// It adds the trees to moved that had something to do with it other than its
// being a part of them.
func (w *dirWatcher) forget(directory string, moved map[*tree]struct{}) {
	isPart := false
	for t := range w.dirs[filepath.Dir(directory)] {
		_, known := t.dirs[directory] // it may not have been possible to watch it
		isPart = isPart || known
	}
	if w.dirs[directory] == nil && !isPart {
		return // nor can there be anything below
	}
	for dir, trees := range w.dirs {
		if !isBelow(dir, directory) {
			continue
		}
		for t := range trees {
			delete(t.held, dir)
			if _, ok := t.dirs[dir]; !ok || dir == t.root {
				moved[t] = struct{}{}
			}
		}
		delete(w.dirs, dir)
		_ = w.fs.Remove(dir)
	}
	for t := range w.trees {
		for dir := range t.dirs {
			if isBelow(dir, directory) {
				delete(t.dirs, dir)
			}
		}
	}
}
