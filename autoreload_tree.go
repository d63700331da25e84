package caddysnake

// What an app looks at: its working directory, with all below it and what links
// there lead to. A tree belongs to dirWatcher, whose lock guards it.

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// tree is a working directory that an app looks at.
type tree struct {
	path    string // as it is configured
	filter  fileFilter
	changed func(rel string) // is told of files; must not wait
	logger  func() *zap.Logger

	root    string              // what path names now; "" if nothing
	dirs    map[string]string   // the directories that matter, and their relative paths
	anchors map[string]string   // paths that decide where root ("") or a link of the tree leads
	held    map[string]struct{} // the directories that are watched for it
	limited bool                // it has been reported that not all of it is watched
}

// read finds out what a tree consists of, and watches that.
func (w *dirWatcher) read(t *tree) {
	t.dirs, t.anchors = map[string]string{}, map[string]string{}
	if t.root = w.follow(t, t.path, ""); t.root != "" {
		w.scan(t, t.root, "", nil)
	}
}

// readAgain is the same after changes that were not seen one by one.
func (w *dirWatcher) readAgain(t *tree) {
	w.dropAll(t)
	w.read(t)
	if t.root != "" {
		t.changed(".")
	}
}

// follow returns the directory that a path leads to, "" if none, and watches
// whatever could change that.
func (w *dirWatcher) follow(t *tree, name, rel string) string {
	for {
		directory, anchors := lookUp(name)
		for _, anchor := range anchors {
			if _, known := t.anchors[anchor]; !known {
				t.anchors[anchor] = rel
			}
			w.hold(t, filepath.Dir(anchor))
		}
		// What changed before there was a watch shows here, what changes after it is an event.
		if again, same := lookUp(name); again == directory && slices.Equal(anchors, same) {
			return directory
		}
	}
}

// seeAnchor handles what has happened to a path that a link, or the way to the
// root, leads over. It reports whether the tree is to be read again.
func (w *dirWatcher) seeAnchor(t *tree, event fsnotify.Event) bool {
	rel, ok := t.anchors[event.Name]
	if ok && rel != "" {
		t.changed(rel)
	}
	return ok && !event.Has(fsnotify.Write)
}

// see handles what has happened to a file or directory of a tree.
func (w *dirWatcher) see(t *tree, event fsnotify.Event, rel string) {
	if event.Has(fsnotify.Create) {
		if entry, err := os.Lstat(event.Name); err == nil && w.enter(t, event.Name, rel, entry.Mode(), t.changed) {
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
		isDirectory := w.enter(t, filepath.Join(dir, entry.Name()), below, entry.Type(), found)
		if !isDirectory && found != nil && t.filter.wants(below) {
			found(below)
		}
	}
}

// enter scans what is a directory, or a link to one, and reports whether it is.
// Of links it watches where they lead, to files too.
func (w *dirWatcher) enter(t *tree, name, rel string, mode fs.FileMode, found func(rel string)) bool {
	if mode.IsDir() {
		w.scan(t, name, rel, found)
		return true
	}
	if mode&fs.ModeSymlink == 0 {
		return false
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		if t.filter.skips(name, rel) {
			return true
		}
		directory, err := filepath.EvalSymlinks(name)
		if err != nil || isBelow(t.root, directory) {
			return true // gone again, or what the tree is in
		}
	case err == nil && !t.filter.wants(rel), path.Base(rel)[0] == '.' && !t.filter.wants(rel):
		return false
	}
	directory := w.follow(t, name, rel)
	if directory == "" {
		return false
	}
	w.scan(t, directory, rel, found)
	return true
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

func isBelow(name, directory string) bool {
	return strings.HasPrefix(name+"/", strings.TrimSuffix(directory, "/")+"/")
}
