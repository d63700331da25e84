package caddysnake

// appTemplate: the settings of a handler, before the placeholders are filled in.

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
	pythonPath []template
	venv       template
	env        map[string]template
	envFiles   []template
	base       appConfig // the other settings
}

// placeholders returns the distinct names of all placeholders, sorted.
func (t *appTemplate) placeholders() []string {
	all := slices.Concat(t.module.names, t.workingDir.names, t.venv.names)
	for _, value := range t.env {
		all = append(all, value.names...)
	}
	for _, path := range slices.Concat(t.pythonPath, t.envFiles) {
		all = append(all, path.names...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// resolve returns the settings of the app that the placeholders' values select,
// with absolute paths. The error wraps errBadValue or errNoApp if the values caused
// it.
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
		resolvePath("working_dir", t.workingDir, values, "", &config.WorkingDir),
		resolvePath("venv", t.venv, values, "", &config.Venv))
	config.PythonPath = make([]string, len(t.pythonPath))
	for i, directory := range t.pythonPath {
		err = errors.Join(err, resolvePath("python_path", directory, values, "", &config.PythonPath[i]))
	}
	config.EnvFiles = make([]string, len(t.envFiles))
	for i, file := range t.envFiles {
		err = errors.Join(err, resolveEnvFile(file, values, config.WorkingDir, &config.EnvFiles[i]))
	}
	if err == nil && !t.module.isFixed() {
		err = findModule(config)
	}
	return config, err
}

// checkFixed finds a virtual environment of all apps that does not exist. The bridge would
// say so when it loads the first of them.
func (t *appTemplate) checkFixed() error {
	var venv string
	if !t.venv.isFixed() {
		return nil
	}
	if err := resolvePath("venv", t.venv, nil, "", &venv); err != nil || venv == "" {
		return err
	}
	if _, err := os.Stat(filepath.Join(venv, "pyvenv.cfg")); err != nil {
		return fmt.Errorf("venv %s: not a virtual environment (%w)", venv, err)
	}
	return nil
}

// resolveEnvFile is resolvePath for an env_file. A relative path is resolved in the
// application's working directory if such a file exists there, as in releases until
// 0.6; otherwise in Caddy's directory.
func resolveEnvFile(path template, values map[string]string, workingDir string, target *string) error {
	if workingDir != "" && resolvePath("env_file", path, values, workingDir, target) == nil {
		if info, err := os.Stat(*target); err == nil && !info.IsDir() {
			return nil
		}
	}
	return resolvePath("env_file", path, values, "", target)
}

// resolvePath fills in a path and makes it absolute; an empty venv stays empty.
// Relative paths are resolved in base, or in Caddy's directory if base is empty. A
// path that a request selects must exist before Python is asked.
func resolvePath(option string, path template, values map[string]string, base string, target *string) error {
	text, fixed, err := path.fillPath(option, values)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadValue, err)
	}
	if text == "" && option == "venv" {
		return nil
	}
	if base != "" && !filepath.IsAbs(text) {
		text = filepath.Join(base, text)
		if fixed != "" {
			fixed = filepath.Join(base, fixed)
		}
	}
	if *target, err = filepath.Abs(text); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if fixed == "" {
		return nil
	}
	info, err := os.Stat(*target)
	if err != nil || info.IsDir() == (option == "env_file") {
		return fmt.Errorf("%w: there is no %s %s", errNoApp, option, *target)
	}
	if !isWithin(fixed, *target) {
		return fmt.Errorf("%w: %s is a symbolic link that leads out of %s", errNoApp, *target, fixed)
	}
	return nil
}

// isWithin tells whether a path is in a directory after resolving all symbolic
// links.
func isWithin(dir, path string) bool {
	dir, err1 := filepath.Abs(dir)
	realDir, err2 := filepath.EvalSymlinks(dir)
	realPath, err3 := filepath.EvalSymlinks(path)
	if errors.Join(err1, err2, err3) != nil {
		return false
	}
	relative, err := filepath.Rel(realDir, realPath)
	return err == nil && filepath.IsLocal(relative)
}

// findModule checks that the working directory contains the module that a request
// selects, and all packages in its dotted name. Otherwise Python would import those
// packages before it fails.
func findModule(config appConfig) error {
	module, _, _ := strings.Cut(config.Module, ":")
	path, isNamespace := config.WorkingDir, true
	for name := range strings.SplitSeq(module, ".") {
		path, isNamespace = moduleIn(path, name)
		if path == "" || !isWithin(config.WorkingDir, path) {
			isNamespace = true
			break
		}
	}
	if isNamespace { // or the module was not found
		return fmt.Errorf("%w: there is no module for %s in %s", errNoApp, config.Module, config.WorkingDir)
	}
	return nil
}

// moduleFile returns the path in the working directory of the file or package for
// the first part of the module's name, or "". A directory without __init__.py
// counts only if the module is found in it: any other module of that name, such as
// one of the standard library, would take precedence.
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

// moduleIn returns the path of the module with this name in a directory, and
// whether it is a directory without __init__.py.
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

// moduleSuffix matches the suffixes, after the dot, of files that Python imports.
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
	for _, directory := range h.PythonPath {
		t.pythonPath = append(t.pythonPath, parse("python_path", directory))
	}
	t.venv = parse("venv", h.Venv)
	t.env = make(map[string]template, len(h.Env))
	for _, name := range slices.Sorted(maps.Keys(h.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			err = errors.Join(err, fmt.Errorf("env_var: %q is not a variable name", name))
		}
		t.env[name] = parse("env_var "+name, h.Env[name])
	}
	for _, file := range h.EnvFiles {
		t.envFiles = append(t.envFiles, parse("env_file", file))
	}
	return err
}
