package caddysnake

// The watcher of the file system: one for the process, because the kernel allows
// few inotify instances, with one watch for each directory, however many apps
// look at it.

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

var watcher dirWatcher

type dirWatcher struct {
	mu   sync.Mutex // everything, trees included
	fs   *fsnotify.Watcher
	dirs map[string]map[*tree]struct{} // who looks at a directory
}

// tree is a working directory that an app looks at, with all below it.
type tree struct {
	path    string // as it is configured
	filter  fileFilter
	changed func(rel string) // is told of files; must not wait
	logger  func() *zap.Logger

	root    string            // what path names now; "" if nothing
	dirs    map[string]string // the directories below root that matter, and their relative paths
	anchors map[string]bool   // paths whose change may move root
	limited bool              // it has been reported that not all of it is watched
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
		w.fs, w.dirs = files, map[string]map[*tree]struct{}{}
		go w.run(files)
	}
	w.settle(t)
	return nil
}

// unwatch ends it.
func (w *dirWatcher) unwatch(t *tree) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropAll(t)
	if w.fs != nil && len(w.dirs) == 0 {
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
	for t := range w.trees() {
		w.dropAll(t)
		t.root = ""
		w.settle(t)
	}
}

func (w *dirWatcher) trees() map[*tree]struct{} {
	found := map[*tree]struct{}{}
	for _, trees := range w.dirs {
		for t := range trees {
			found[t] = struct{}{}
		}
	}
	return found
}

func (w *dirWatcher) handle(files *fsnotify.Watcher, event fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != files || !event.Has(fsnotify.Create|fsnotify.Write|fsnotify.Remove|fsnotify.Rename) {
		return // metadata only
	}
	isGone := event.Has(fsnotify.Remove | fsnotify.Rename)
	dir := filepath.Dir(event.Name)
	var moved []*tree
	for t := range w.dirs[dir] {
		if t.anchors[event.Name] && !event.Has(fsnotify.Write) {
			moved = append(moved, t)
		}
		if rel, ok := t.dirs[dir]; ok {
			w.see(t, event, path.Join(rel, filepath.Base(event.Name)))
		}
	}
	if isGone {
		moved = append(moved, w.forget(event.Name)...)
	}
	for _, t := range moved {
		w.settle(t)
	}
}

// see handles what has happened to a file or directory of a tree.
func (w *dirWatcher) see(t *tree, event fsnotify.Event, rel string) {
	if event.Has(fsnotify.Create) {
		if directory := asDirectory(event.Name); directory != "" {
			w.scan(t, directory, rel, t.changed)
			return
		}
		if dir := filepath.Dir(event.Name); path.Base(rel) == "pyvenv.cfg" && dir != t.root {
			w.leave(t, dir)
			return
		}
	}
	_, isDirectory := t.dirs[event.Name]
	if t.filter.wants(rel) || (isDirectory && event.Has(fsnotify.Rename)) {
		t.changed(rel)
	}
}

// settle finds out what a tree's path names, and watches that if it is new.
func (w *dirWatcher) settle(t *tree) {
	root, anchors := lookUp(t.path)
	isNew := root != t.root
	if _, known := t.dirs[root]; !known && root != "" {
		isNew = true // deleted and created again
	}
	isFirst := t.dirs == nil
	if isNew {
		w.dropAll(t)
		t.root, t.dirs = root, map[string]string{}
	}
	t.anchors = map[string]bool{}
	for _, anchor := range anchors {
		t.anchors[anchor] = true
		w.hold(t, filepath.Dir(anchor))
	}
	if isNew && root != "" {
		w.scan(t, root, "", nil)
		if !isFirst {
			t.changed(".")
		}
	}
}

// scan watches a directory and all below it that matters. found is told of the
// files there.
func (w *dirWatcher) scan(t *tree, dir, rel string, found func(rel string)) {
	if _, known := t.dirs[dir]; known || t.filter.skips(dir, rel) {
		return
	}
	t.dirs[dir] = rel
	w.hold(t, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it is gone again, or not for us to read
	}
	for _, entry := range entries {
		below := path.Join(rel, entry.Name())
		full := filepath.Join(dir, entry.Name())
		directory := ""
		if entry.IsDir() {
			directory = full
		} else if entry.Type()&fs.ModeSymlink != 0 {
			directory = asDirectory(full)
		}
		switch {
		case directory == "":
			if found != nil && t.filter.wants(below) {
				found(below)
			}
		case !isBelow(t.root, directory): // a link to what the tree is in
			w.scan(t, directory, below, found)
		}
	}
}

// asDirectory returns the directory that a path names, links followed; "" if it
// names none.
func asDirectory(name string) string {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return ""
	}
	directory, err := filepath.EvalSymlinks(name)
	if err != nil {
		return ""
	}
	return directory
}

func isBelow(name, directory string) bool {
	return strings.HasPrefix(name+"/", strings.TrimSuffix(directory, "/")+"/")
}

func (w *dirWatcher) hold(t *tree, dir string) {
	if w.dirs[dir] == nil {
		err := w.fs.Add(dir)
		if errors.Is(err, syscall.ENOSPC) && !t.limited {
			t.limited = true
			t.logger().Error("autoreload does not see all changes: the limit of inotify watches is reached",
				zap.String("directory", dir), zap.String("hint", limitHint))
		}
		if err != nil {
			return
		}
		w.dirs[dir] = map[*tree]struct{}{}
	}
	w.dirs[dir][t] = struct{}{}
}

func (w *dirWatcher) drop(t *tree, dir string) {
	delete(w.dirs[dir], t)
	if len(w.dirs[dir]) == 0 {
		delete(w.dirs, dir)
		_ = w.fs.Remove(dir)
	}
}

func (w *dirWatcher) dropAll(t *tree) {
	for dir, trees := range w.dirs {
		if _, ok := trees[t]; ok {
			w.drop(t, dir)
		}
	}
}

// leave stops watching a directory of a tree and all below it.
func (w *dirWatcher) leave(t *tree, directory string) {
	for dir := range t.dirs {
		if isBelow(dir, directory) {
			delete(t.dirs, dir)
			w.drop(t, dir)
		}
	}
}

// forget is told that a directory is no longer where it was. It returns the
// trees that had something to do with it other than its being a part of them.
func (w *dirWatcher) forget(directory string) []*tree {
	var moved []*tree
	for dir, trees := range w.dirs {
		if !isBelow(dir, directory) {
			continue
		}
		for t := range trees {
			if _, ok := t.dirs[dir]; !ok || dir == t.root {
				moved = append(moved, t)
			}
			delete(t.dirs, dir)
		}
		delete(w.dirs, dir)
		_ = w.fs.Remove(dir)
	}
	return moved
}
