package caddysnake

// appTemplate: the settings of a handler, before the placeholders in them have
// values.

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

type appTemplate struct {
	module     template
	workingDir template
	venv       template
	env        map[string]template
	envFiles   []template
	base       appConfig // the other settings
}

// Errors of resolve: what the request names can't be an application, or is none.
var (
	errBadValue = errors.New("the request can't name a python app")
	errNoApp    = errors.New("no such python app")
)

// placeholders returns the distinct names of all placeholders, sorted.
func (t *appTemplate) placeholders() []string {
	all := slices.Concat(t.module.names, t.workingDir.names, t.venv.names)
	for _, value := range t.env {
		all = append(all, value.names...)
	}
	for _, file := range t.envFiles {
		all = append(all, file.names...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// resolve returns the settings of the app that the values of the placeholders
// name, with absolute paths. Its error is an errBadValue or an errNoApp if the
// values are to blame.
func (t *appTemplate) resolve(values map[string]string) (appConfig, error) {
	config := t.base
	for name, value := range values {
		if strings.ContainsRune(value, 0) {
			return config, fmt.Errorf("%w: {%s} has a NUL character in it", errBadValue, name)
		}
	}
	config.Module = t.module.fill(values)
	if !modulePattern.MatchString(config.Module) {
		err := fmt.Errorf("'%s' does not name an application: it must look like package.module:variable", config.Module)
		if !t.module.isFixed() {
			err = fmt.Errorf("%w: %w", errNoApp, err)
		}
		return config, err
	}
	config.Env = make(map[string]string, len(t.env))
	for name, value := range t.env {
		config.Env[name] = value.fill(values)
	}
	err := errors.Join(
		absolute("working_dir", t.workingDir, values, &config.WorkingDir),
		absolute("venv", t.venv, values, &config.Venv))
	config.EnvFiles = make([]string, len(t.envFiles))
	for i, file := range t.envFiles {
		err = errors.Join(err, absolute("env_file", file, values, &config.EnvFiles[i]))
	}
	if err != nil || len(values) == 0 {
		return config, err
	}
	return config, t.find(config)
}

// absolute fills in a path; an empty venv stays empty.
func absolute(option string, path template, values map[string]string, target *string) error {
	text, err := path.fillPath(option, values)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadValue, err)
	}
	if text == "" && option == "venv" {
		return nil
	}
	if *target, err = filepath.Abs(text); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	return nil
}

// find checks that what a request names is there, before Python is asked: a
// module that it may choose must be in the working directory.
func (t *appTemplate) find(config appConfig) error {
	for _, dir := range []struct {
		path  template
		value string
	}{{t.workingDir, config.WorkingDir}, {t.venv, config.Venv}} {
		if dir.path.isFixed() {
			continue
		}
		if info, err := os.Stat(dir.value); err != nil || !info.IsDir() {
			return fmt.Errorf("%w: %s is no directory", errNoApp, dir.value)
		}
	}
	for i, file := range t.envFiles {
		if _, err := os.Stat(config.EnvFiles[i]); err != nil && !file.isFixed() {
			return fmt.Errorf("%w: %w", errNoApp, err)
		}
	}
	if !t.module.isFixed() && moduleFile(config) == "" {
		return fmt.Errorf("%w: there is no module for %s in %s", errNoApp, config.Module, config.WorkingDir)
	}
	return nil
}

// moduleFile returns the path in the working directory of the file or package
// that the first part of the module's name stands for, or "". Directories
// without __init__.py count only as far as a module is found in them: any module
// of that name elsewhere, such as one of the standard library, would win.
func moduleFile(config appConfig) string {
	module, _, _ := strings.Cut(config.Module, ":")
	path, isNamespace := config.WorkingDir, true
	for name := range strings.SplitSeq(module, ".") {
		if path, isNamespace = moduleIn(path, name); !isNamespace {
			return path
		}
	}
	return ""
}

// moduleIn returns what a module's name stands for in a directory, and whether
// that is a directory without __init__.py.
func moduleIn(dir, name string) (found string, isNamespace bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false
	}
	for _, entry := range entries {
		stem, suffix, _ := strings.Cut(entry.Name(), ".")
		if stem != name {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case info.IsDir() && suffix == "":
			if init, isDir := moduleIn(path, "__init__"); init != "" && !isDir {
				return path, false
			}
			found, isNamespace = path, true
		case !info.IsDir() && moduleSuffix.MatchString(suffix):
			return path, false
		}
	}
	return found, isNamespace
}

// moduleSuffix is what follows the name and a dot in files that Python imports.
var moduleSuffix = regexp.MustCompile(`^(py|pyc|((abi3|cpython-[^.]+)\.)?so)$`)

// parse fills the template from the options of a handler.
func (t *appTemplate) parse(h *Handler, module string) (err error) {
	parse := func(option, text string) template {
		parsed, problem := parseTemplate(option, text)
		err = errors.Join(err, problem)
		return parsed
	}
	t.module = parse("the module", module)
	t.workingDir = parse("working_dir", h.WorkingDir)
	t.venv = parse("venv", h.Venv)
	t.env = make(map[string]template, len(h.Env))
	for _, name := range slices.Sorted(maps.Keys(h.Env)) {
		t.env[name] = parse("env_var "+name, h.Env[name])
	}
	for _, file := range h.EnvFiles {
		t.envFiles = append(t.envFiles, parse("env_file", file))
	}
	return err
}
