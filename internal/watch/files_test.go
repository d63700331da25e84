package watch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMatchGlob(t *testing.T) {
	for _, test := range []struct {
		glob, rel string
		want      bool
	}{
		{"*.html", "page.html", true},
		{"*.html", "a/b/page.html", true},
		{"*.html", "page.html.bak", false},
		{"a/*.toml", "a/x.toml", true},
		{"a/*.toml", "b/a/x.toml", false},
		{"a/*.toml", "a/b/x.toml", false},
		{"a/**/*.toml", "a/x.toml", true},
		{"a/**/*.toml", "a/b/c/x.toml", true},
		{"**/x.toml", "x.toml", true},
		{"a/**", "a/b/c", true},
		{"/static/", "static", true},
		{"static/", "other/static", false},
	} {
		if got := matchGlob(test.glob, test.rel); got != test.want {
			t.Errorf("matchGlob(%q, %q) = %v", test.glob, test.rel, got)
		}
	}
}

func TestWhatMatters(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "env", "pyvenv.cfg"), "")
	options := Options{Include: []string{"*.html", ".env"}, Exclude: []string{"test_*", "/build"}}
	for rel, want := range map[string]bool{
		"main.py": true, "a/b.py": true, "page.html": true, ".env": true, "data.db": false, "main.pyc": false,
		".#main.py": false, "test_main.py": false, "test_page.html": false,
	} {
		if got := options.wants(rel); got != want {
			t.Errorf("wants(%q) = %v", rel, got)
		}
	}
	for rel, want := range map[string]bool{
		"": false, "a": false, "a/build": false, "build": true, "a/test_b": true, ".git": true, "a/__pycache__": true,
		"node_modules": true, "lib/site-packages": true, "env": true,
	} {
		if got := options.skips(filepath.Join(base, rel), rel); got != want {
			t.Errorf("skips(%q) = %v", rel, got)
		}
	}
}

func TestLookUp(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(base, name) }
	if err := os.MkdirAll(at("releases/1/app"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"current": "releases/../releases/1", "loop": "loop", "dangling": "nowhere/at/all",
	} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, want string
		anchors    []string
	}{
		{at("releases/1"), at("releases/1"), []string{at("releases"), at("releases/1")}},
		{at("current/app"), at("releases/1/app"), []string{
			at("current"), at("releases"), at("releases"), at("releases/1"), at("releases/1/app"),
		}},
		{at("missing/app"), "", []string{at("missing")}},
		{at("dangling"), "", []string{at("dangling"), at("nowhere")}},
	} {
		got, anchors := lookUp(test.name)
		anchors = slices.DeleteFunc(anchors, func(name string) bool { return isBelow(base, name) })
		if got != test.want || !slices.Equal(anchors, test.anchors) {
			t.Errorf("lookUp(%q) = %q, %q; want %q, %q", test.name, got, anchors, test.want, test.anchors)
		}
	}
	if got, _ := lookUp(at("loop")); got != "" {
		t.Errorf("a loop leads to %q", got)
	}
}
