package watch

// A tree: a directory, everything below it, and the targets of all links in it. Its
// Watcher's lock guards it.

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// Tree is a directory that is watched until Close.
type Tree struct {
	watcher *Watcher
	path    string // as given by the caller
	options Options

	root    string              // the directory that path resolves to; "" if none
	found   os.FileInfo         // of root, when it was read; nil if none
	dirs    map[string]string   // maps directories that matter to their relative paths
	anchors map[string]string   // from paths that affect root ("") or a link to that link's relative path
	held    map[string]struct{} // directories watched for this tree
	limited bool                // Limited has been called
}

// read finds the directories of a tree and watches them.
func (w *Watcher) read(t *Tree) {
	t.dirs, t.anchors = map[string]string{}, map[string]string{}
	t.found = nil
	if t.root = w.follow(t, t.path, ""); t.root != "" {
		t.found, _ = os.Stat(t.root) // nil if it was removed again
		w.scan(t, t.root, "", nil)
	}
}

// readAgain rereads a tree after changes that were not seen individually.
func (w *Watcher) readAgain(t *Tree) {
	w.dropAll(t)
	w.read(t)
	if t.root != "" {
		t.options.Changed(".")
	}
}

// isStale tells whether an event on the way to the root reports the creation of a
// path that the tree was read with: the kernel queued the event before the tree existed.
func (t *Tree) isStale(event fsnotify.Event) bool {
	if !event.Has(fsnotify.Create) || event.Has(fsnotify.Remove|fsnotify.Rename) || t.found == nil {
		return false
	}
	directory, _ := lookUp(t.path)
	now, err := os.Stat(directory)
	return err == nil && directory == t.root && os.SameFile(t.found, now)
}

// follow returns the directory that a path resolves to, "" if none, and watches
// every path that could change the result.
func (w *Watcher) follow(t *Tree, name, rel string) string {
	for {
		directory, anchors := lookUp(name)
		for _, anchor := range anchors {
			if _, known := t.anchors[anchor]; !known {
				t.anchors[anchor] = rel
			}
			w.hold(t, filepath.Dir(anchor))
		}
		// A second lookup finds changes made before the watches existed; later
		// changes cause events.
		if again, same := lookUp(name); again == directory && slices.Equal(anchors, same) {
			return directory
		}
	}
}

// seeAnchor handles an event for a path on the way to the root or to a link's
// target. It reports whether the tree must be read again.
func (w *Watcher) seeAnchor(t *Tree, event fsnotify.Event) bool {
	rel, ok := t.anchors[event.Name]
	if ok && rel != "" {
		t.options.Changed(rel)
	}
	return ok && !event.Has(fsnotify.Write) && (rel != "" || !t.isStale(event))
}

// see handles an event for a file or directory of a tree.
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

// scan watches a directory and every directory below it that matters. It calls
// found for the files there.
func (w *Watcher) scan(t *Tree, dir, rel string, found func(rel string)) {
	if _, known := t.dirs[dir]; known || t.options.skips(dir, rel) {
		return
	}
	t.dirs[dir] = rel
	w.hold(t, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it was removed again, or is not readable
	}
	for _, entry := range entries {
		below := path.Join(rel, entry.Name())
		isDirectory := w.enter(t, filepath.Join(dir, entry.Name()), below, entry.Type(), found)
		if !isDirectory && found != nil && t.options.wants(below) {
			found(below)
		}
	}
}

// enter scans name if it is a directory or a link to one, and reports whether it
// is. It also watches the targets of links to files.
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
			return true // removed again, or a parent of the tree
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

// leave stops watching a directory of a tree and everything below it.
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
