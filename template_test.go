package caddysnake

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTemplatesAreCutAtPlaceholders(t *testing.T) {
	t.Setenv("CADDYSNAKE_TEST", "from the environment")
	for text, want := range map[string]struct {
		names []string
		full  string // the result with "v" for each value
	}{
		"":                          {nil, ""},
		"plain":                     {nil, "plain"},
		"{a}":                       {[]string{"a"}, "v"},
		"x{a.b-1}y{a.b-1}z":         {[]string{"a.b-1", "a.b-1"}, "xvyvz"},
		`{"json": {"is": "kept"}}`:  {nil, `{"json": {"is": "kept"}}`},
		`\{escaped\}`:               {nil, "{escaped}"},
		"{unclosed":                 {nil, "{unclosed"},
		"{env.CADDYSNAKE_TEST}/{a}": {[]string{"a"}, "from the environment/v"},
	} {
		parsed, err := parseTemplate("option", text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		values := map[string]string{}
		for _, name := range want.names {
			values[name] = "v"
		}
		if got := parsed.fill(values); got != want.full || len(parsed.names) != len(want.names) {
			t.Errorf("%q: names %q, filled %q, want %q", text, parsed.names, got, want.full)
		}
	}
}

func TestTemplatesThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00b":                   "NUL",
		"{file./etc/passwd}":       "files are not read",
		"{env.CADDYSNAKE_NO_SUCH}": "is not set",
	} {
		if _, err := parseTemplate("working_dir", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestWhatARequestMayPutIntoAPath(t *testing.T) {
	for _, c := range []struct {
		text, value string
		allowed     bool
	}{
		{"../sites/{a}", "shop", true},
		{"/srv/{a}/app", "shop", true},
		{"/srv/{a}", "some/where", true},
		{"/srv/{a}", "..shop", true},
		{"{a}", "/etc", false},
		{"/srv/{a}", "/etc", false},
		{"/srv/{a}", "..", false},
		{"/srv/{a}", ".", false},
		{"/srv/{a}", "x/../../etc", false},
		{"/srv/{a}{a}", ".", false},
		{"/srv/.{a}", ".", false},
		{"/srv/{a}.", ".", false},
		{"/srv/{a}", `x\y`, false},
		{"/srv/{a}", "shop/", false},
		{"/srv/{a}/", "a//b", false},
		{"{http.vars.root}", "/srv/shop", true},
		{"{http.vars.root}", "/srv/..", true}, // set by the operator
		{"{http.vars.root}/{a}", "/srv", false},
		{"{http.vars.root}", "/srv//shop/", true},
	} {
		parsed, err := parseTemplate("working_dir", c.text)
		if err != nil {
			t.Fatal(err)
		}
		path, _, err := parsed.fillPath("working_dir", map[string]string{"a": c.value, "http.vars.root": c.value})
		if (err == nil) != c.allowed {
			t.Errorf("%q with %q: path %q, error %v", c.text, c.value, path, err)
		}
	}
}

func TestAModuleThatARequestChoosesIsInTheWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"shop.py", "native.cpython-313-x86_64-linux-gnu.so", "noise.d", "plain", "os.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"package/__init__.py", "package/module.py", "namespace/module.py", "html/data.txt"} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	template := new(appTemplate)
	if err := template.parse(&Handler{WorkingDir: dir}, "{name}:app"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"shop": nil, "package.module": nil, "native": nil, "namespace.module": nil,
		"package.other": errNoApp, "package.module.deeper": errNoApp, "namespace.other": errNoApp, "missing.module": errNoApp,
		"namespace": errNoApp, "html": errNoApp, "html.parser": errNoApp,
		"os": errNoApp, "plain": errNoApp, "sho": errNoApp, "shop:os": errNoApp, "../shop": errNoApp,
		"sh\x00op": errBadValue,
	} {
		if _, err := template.resolve(map[string]string{"name": name}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

func TestSymbolicLinksStayWithinWhatIsFixed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sites/shop", "sites/releases/42", "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"current": "releases/42", "out": "../outside", "up": ".."} {
		if err := os.Symlink(target, filepath.Join(dir, "sites", name)); err != nil {
			t.Fatal(err)
		}
	}
	template := new(appTemplate)
	if err := template.parse(&Handler{WorkingDir: dir + "/sites/{name}"}, "main:app"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"shop": nil, "current": nil, "out": errNoApp, "up": errNoApp, "up/outside": errNoApp, "none": errNoApp,
	} {
		if _, err := template.resolve(map[string]string{"name": name}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

// FuzzKeys checks that a key can be decoded to its values, so different values have
// different keys.
func FuzzKeys(f *testing.F) {
	f.Add("shop", "main", "")
	f.Add("\x01a", "\x00", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, one, two, three string) {
		d := &tenants{names: []string{"one", "two", "three"}}
		key := appendValue(appendValue(appendValue(nil, one), two), three)
		values, err := d.values(string(key))
		if err != nil {
			t.Fatal(err)
		}
		if values["one"] != one || values["two"] != two || values["three"] != three {
			t.Errorf("%q %q %q came back as %q", one, two, three, values)
		}
		// An invalid key is refused, or gives no more text than it contains.
		values, err = d.values(one)
		if err == nil && len(values["one"])+len(values["two"])+len(values["three"]) > len(one) {
			t.Errorf("%q gave %q", one, values)
		}
	})
}
