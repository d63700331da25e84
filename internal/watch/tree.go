package watch

// A tree: a directory, everything below it, and everything that links in it
// lead to. The lock of its Watcher guards it.

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Tree is a directory that is being watched, until Close.
type Tree struct {
	watcher *Watcher
	path    string // as the caller has named it
	options Options

	root    string              // what path names now; "" if nothing
	dirs    map[string]string   // from the directories that matter to their relative paths
	anchors map[string]string   // paths that decide where root ("") or a link of the tree leads
	held    map[string]struct{} // the directories that are watched for it
	limited bool                // Limited has been called
}

// read finds out what a tree consists of, and watches that.
func (w *Watcher) read(t *Tree) {
	t.dirs, t.anchors = map[string]string{}, map[string]string{}
	if t.root = w.follow(t, t.path, ""); t.root != "" {
		w.scan(t, t.root, "", nil)
	}
}

// readAgain reads a tree after changes that were not seen one by one.
func (w *Watcher) readAgain(t *Tree) {
	w.dropAll(t)
	w.read(t)
	if t.root != "" {
		t.options.Changed(".")
	}
}

// follow returns the directory that a path leads to, "" if none, and watches
// whatever could change that.
func (w *Watcher) follow(t *Tree, name, rel string) string {
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
func (w *Watcher) seeAnchor(t *Tree, event fsnotify.Event) bool {
	rel, ok := t.anchors[event.Name]
	if ok && rel != "" {
		t.options.Changed(rel)
	}
	return ok && !event.Has(fsnotify.Write)
}

// see handles what has happened to a file or directory of a tree.
func (w *Watcher) see(t *Tree, event fsnotify.Event, rel string) {
	if event.Has(fsnotify.Create) {
		if entry, err := os.Lstat(event.Name); err == nil && w.enter(t, event.Name, rel, entry.Mode(), t.options.Changed) {
			return
		}
		if dir := filepath.Dir(event.Name); path.Base(rel) == "pyvenv.cfg" && dir != t.root {
			w.leave(t, dir)
			return
		}
	}
	_, isDirectory := t.dirs[event.Name]
	if t.options.wants(rel) || (isDirectory && event.Has(fsnotify.Rename)) {
		t.options.Changed(rel)
	}
}

// scan watches a directory and all below it that matters. found is told of the
// files there.
func (w *Watcher) scan(t *Tree, dir, rel string, found func(rel string)) {
	if _, known := t.dirs[dir]; known || t.options.skips(dir, rel) {
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
		if !isDirectory && found != nil && t.options.wants(below) {
			found(below)
		}
	}
}

// enter scans what is a directory, or a link to one, and reports whether it is.
// Of links it watches where they lead, to files too.
func (w *Watcher) enter(t *Tree, name, rel string, mode fs.FileMode, found func(rel string)) bool {
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
		if t.options.skips(name, rel) {
			return true
		}
		directory, err := filepath.EvalSymlinks(name)
		if err != nil || isBelow(t.root, directory) {
			return true // gone again, or what the tree is in
		}
	case err == nil && !t.options.wants(rel), path.Base(rel)[0] == '.' && !t.options.wants(rel):
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
func (w *Watcher) leave(t *Tree, directory string) {
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
