// Package watch reports which files below directories have changed, through links
// and across renames of every directory on the way.
package watch

// The watcher: one inotify instance, with one watch per directory, even if several
// trees contain it. tree.go defines the contents of a tree.

import (
	"errors"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Watcher watches any number of trees. The kernel allows few inotify instances, so
// a process should have one Watcher. The zero value is ready to use. Without trees
// it holds no descriptors.
type Watcher struct {
	mu    sync.Mutex // guards everything, including the trees
	fs    *fsnotify.Watcher
	trees map[*Tree]struct{}
	dirs  map[string]map[*Tree]struct{} // the trees for which a directory is watched
}

// Options define the files that matter in a tree, and the functions to call. Both
// functions are required.
type Options struct {
	// Include lists globs of files that matter besides *.py. A glob without a slash
	// matches names in any directory; a glob with a slash matches paths relative to
	// the tree, in which ** matches any number of directories.
	Include []string

	// Exclude lists globs of files and directories to ignore, in the form of
	// Include. Hidden directories, __pycache__, node_modules, site-packages and
	// virtual environments are always ignored.
	Exclude []string

	// Changed is called with the path of a changed file, relative to the tree; "."
	// if other changes may have been missed. The Watcher is locked during the call:
	// Changed must neither block nor call the Watcher or a Tree.
	Changed func(rel string)

	// Limited is called at most once per tree, with the first directory that the
	// kernel's watch limit leaves unwatched, and a hint for the user. It must not
	// call the Watcher or a Tree either.
	Limited func(directory, hint string)
}

const limitHint = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances (sysctl), " +
	"or exclude directories"

// Watch starts watching a directory and everything below it that matters. The
// directory need not exist yet.
func (w *Watcher) Watch(directory string, options Options) (*Tree, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs == nil {
		files, err := fsnotify.NewWatcher()
		if errors.Is(err, syscall.EMFILE) {
			return nil, errors.New("the limit of inotify instances or descriptors is reached: " + limitHint)
		}
		if err != nil {
			return nil, err
		}
		w.fs, w.trees, w.dirs = files, map[*Tree]struct{}{}, map[string]map[*Tree]struct{}{}
		go w.run(files)
	}
	t := &Tree{watcher: w, path: directory, options: options, held: map[string]struct{}{}}
	w.trees[t] = struct{}{}
	w.read(t)
	return t, nil
}

// Close stops watching the tree. After it returns, Changed and Limited are not
// called any more.
func (t *Tree) Close() {
	w := t.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropAll(t)
	delete(w.trees, t)
	if w.fs != nil && len(w.trees) == 0 {
		_ = w.fs.Close()
		w.fs = nil
	}
}

// run handles fsnotify's events until files is closed.
func (w *Watcher) run(files *fsnotify.Watcher) {
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

// lostEvents rereads all trees after an overflow of the kernel's event queue.
func (w *Watcher) lostEvents(files *fsnotify.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != files {
		return
	}
	for t := range w.trees {
		w.readAgain(t)
	}
}

func (w *Watcher) handle(files *fsnotify.Watcher, event fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != files || !event.Has(fsnotify.Create|fsnotify.Write|fsnotify.Remove|fsnotify.Rename) {
		return // metadata only
	}
	dir := filepath.Dir(event.Name)
	moved := map[*Tree]struct{}{}
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

// hold watches a directory for a tree.
func (w *Watcher) hold(t *Tree, dir string) {
	if w.dirs[dir] == nil {
		err := w.fs.Add(dir)
		if errors.Is(err, syscall.ENOSPC) && !t.limited {
			t.limited = true
			t.options.Limited(dir, limitHint)
		}
		if err != nil {
			return // it was removed again, or is not readable
		}
		w.dirs[dir] = map[*Tree]struct{}{}
	}
	w.dirs[dir][t] = struct{}{}
	t.held[dir] = struct{}{}
}

// drop stops watching a directory for a tree.
func (w *Watcher) drop(t *Tree, dir string) {
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

func (w *Watcher) dropAll(t *Tree) {
	for dir := range t.held {
		w.drop(t, dir)
	}
}

// forget drops a removed path, which may have been a directory, and everything
// below it. It adds trees whose root or links led through it to moved, but not
// trees that merely contain it.
func (w *Watcher) forget(directory string, moved map[*Tree]struct{}) {
	isPart := false
	for t := range w.dirs[filepath.Dir(directory)] {
		_, known := t.dirs[directory] // known even if watching it failed
		isPart = isPart || known
	}
	if w.dirs[directory] == nil && !isPart {
		return // then nothing below it is watched either
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
