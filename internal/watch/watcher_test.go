package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watching is a separate watcher with one tree.
type watching struct {
	t       *testing.T
	watcher *Watcher
	tree    *Tree
	changes chan string
}

func watch(t *testing.T, name string) *watching {
	t.Helper()
	w := &watching{t: t, watcher: new(Watcher), changes: make(chan string, 1000)}
	w.tree = w.another(name)
	return w
}

// another watches another tree until the test ends.
func (w *watching) another(name string) *Tree {
	w.t.Helper()
	tree, err := w.watcher.Watch(name, Options{
		Changed: w.note,
		Limited: func(directory, hint string) { w.t.Errorf("%s is not watched: %s", directory, hint) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(tree.Close)
	return tree
}

func (w *watching) note(rel string) {
	select {
	case w.changes <- rel:
	default: // the test does not need that many
	}
}

// sees waits for a change of the file, or of everything.
func (w *watching) sees(what, rel string) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-w.changes:
			if got == rel || got == "." {
				return
			}
		case <-deadline:
			w.t.Fatalf("no change of %s was seen after: %s", rel, what)
		}
	}
}

// settle waits until changes stop, and discards them.
func (w *watching) settle() {
	for {
		select {
		case <-w.changes:
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryIsFoundWhoeverIsFaster(t *testing.T) {
	base := t.TempDir()
	for i := range 60 {
		top := filepath.Join(base, strings.Repeat("x", i%7+1))
		file := filepath.Join(top, "a", "b", "site", "main.py")
		created := make(chan struct{})
		go func() {
			defer close(created)
			time.Sleep(time.Duration(i) * time.Microsecond)
			_ = os.MkdirAll(filepath.Dir(file), 0o755)
		}()
		w := watch(t, filepath.Dir(file))
		<-created
		w.settle()
		write(t, file, "")
		w.sees("creating its directory while it was looked for", "main.py")
		w.tree.Close()
		if err := os.RemoveAll(top); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADirectoryThatComesAndGoesIsWatchedWhenItStays(t *testing.T) {
	base := t.TempDir()
	w := watch(t, base)
	sub := filepath.Join(base, "sub")
	for range 20 {
		for range 20 {
			_ = os.Mkdir(sub, 0o755)
			_ = os.Remove(sub)
		}
		write(t, filepath.Join(sub, "x.py"), "")
		w.sees("writing it", "sub/x.py")
		w.settle()
		write(t, filepath.Join(sub, "x.py"), "again")
		w.sees("editing it", "sub/x.py")
		if err := os.RemoveAll(sub); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
}

func TestNothingIsHeldForATreeThatIsGone(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "one", "a", "x.py"), "")
	write(t, filepath.Join(base, "two", "x.py"), "")
	w := watch(t, filepath.Join(base, "one"))
	other := w.another(filepath.Join(base, "two"))
	w.tree.Close()
	if len(w.tree.held) > 0 {
		t.Errorf("%v are still held", w.tree.held)
	}
	for dir, trees := range w.watcher.dirs {
		if _, held := trees[w.tree]; held || isBelow(dir, filepath.Join(base, "one")) {
			t.Errorf("%s is still watched", dir)
		}
	}
	write(t, filepath.Join(base, "two", "x.py"), "edited")
	w.sees("the end of the other tree", "x.py")
	other.Close()
	if w.watcher.fs != nil {
		t.Error("the watcher is still open")
	}
}

func TestLinksAreFollowed(t *testing.T) {
	for _, test := range []struct {
		name  string
		links map[string]string // link to target, both relative to base
		event func(at func(string) string) error
		rel   string
	}{
		{
			"a link to a directory that is removed", map[string]string{"site/link": "elsewhere"},
			func(at func(string) string) error { return os.Remove(at("site/link")) }, "link",
		},
		{
			"a link that is changed to another directory", map[string]string{"site/link": "elsewhere"},
			func(at func(string) string) error { return relink(at("other"), at("site/link")) }, "link",
		},
		{
			"a link on the way that is changed to another directory", map[string]string{"site/link": "way", "way": "elsewhere"},
			func(at func(string) string) error { return relink(at("other"), at("way")) }, "link",
		},
		{
			"the target of a link is created again", map[string]string{"site/link": "elsewhere"},
			func(at func(string) string) error {
				if err := os.RemoveAll(at("elsewhere")); err != nil {
					return err
				}
				return os.Mkdir(at("elsewhere"), 0o755)
			}, "link",
		},
		{
			"the target of a link is created after the link", map[string]string{"site/link": "later/on"},
			func(at func(string) string) error { return os.MkdirAll(at("later/on"), 0o755) }, "link",
		},
		{
			"a linked file that is edited", map[string]string{"site/linked.py": "elsewhere/x.py"},
			func(at func(string) string) error { return os.WriteFile(at("elsewhere/x.py"), []byte("2"), 0o644) }, "linked.py",
		},
		{
			"a linked file that is replaced by another file", map[string]string{"site/linked.py": "elsewhere/x.py"},
			func(at func(string) string) error { return os.Rename(at("other/y.py"), at("elsewhere/x.py")) }, "linked.py",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := t.TempDir()
			at := func(name string) string { return filepath.Join(base, name) }
			write(t, at("site/main.py"), "")
			write(t, at("elsewhere/x.py"), "")
			write(t, at("other/y.py"), "")
			for link, target := range test.links {
				if err := os.Symlink(at(target), at(link)); err != nil {
					t.Fatal(err)
				}
			}
			w := watch(t, at("site"))
			if err := test.event(at); err != nil {
				t.Fatal(err)
			}
			w.sees(test.name, test.rel)
			w.settle()
			if directory, err := filepath.EvalSymlinks(at("site/link")); err == nil {
				write(t, filepath.Join(directory, "new.py"), "")
				w.sees(test.name, "link/new.py")
			}
		})
	}
}

// relink points a link elsewhere atomically, as deployments do.
func relink(target, name string) error {
	if err := os.Symlink(target, name+".new"); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func TestLinksThatDontMatter(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	write(t, at("site/main.py"), "")
	write(t, at("elsewhere/data.db"), "")
	for link, target := range map[string]string{
		"site/data.db": at("elsewhere/data.db"), "site/.#main.py": "user@host.1", "site/up": base, "site/round": "round",
	} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, at("site"))
	write(t, at("elsewhere/data.db"), "2")
	write(t, at("user@host.1"), "")
	write(t, at("site/main.py"), "2")
	if got := <-w.changes; got != "main.py" {
		t.Errorf("a change of %s was seen", got)
	}
}

func TestTheCreationOfADirectoryBeforeItWasWatchedIsNoChange(t *testing.T) {
	root := filepath.Join(t.TempDir(), "site")
	write(t, filepath.Join(root, "main.py"), "")
	w := watch(t, root)
	// The kernel may have queued this event for another tree.
	w.watcher.handle(w.watcher.fs, fsnotify.Event{Name: root, Op: fsnotify.Create})
	select {
	case rel := <-w.changes:
		t.Errorf("a change of %s was reported", rel)
	default:
	}
	if err := os.Rename(root, root+"~"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "main.py"), "new")
	w.sees("replacing the directory", ".")
}
