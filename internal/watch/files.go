package watch

// Decides which files and directories of a tree matter, and resolves paths.

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// wants reports whether a change of the file matters.
func (o *Options) wants(rel string) bool {
	if matchesAny(o.Exclude, rel) {
		return false
	}
	name := path.Base(rel)
	return matchesAny(o.Include, rel) || (strings.HasSuffix(name, ".py") && name[0] != '.')
}

// skips reports whether nothing in the directory matters.
func (o *Options) skips(dir, rel string) bool {
	if rel == "" {
		return false
	}
	switch name := path.Base(rel); name {
	case "__pycache__", "node_modules", "site-packages":
		return true
	default:
		if name[0] == '.' || matchesAny(o.Exclude, rel) {
			return true
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "pyvenv.cfg"))
	return err == nil // a virtual environment
}

func matchesAny(globs []string, rel string) bool {
	for _, glob := range globs {
		if matchGlob(glob, rel) {
			return true
		}
	}
	return false
}

// matchGlob matches a glob without a slash against the name, and one with a slash
// against the whole path, in which ** matches any directories.
func matchGlob(glob, rel string) bool {
	if !strings.Contains(glob, "/") {
		ok, _ := path.Match(glob, path.Base(rel))
		return ok
	}
	return matchParts(strings.Split(strings.Trim(glob, "/"), "/"), strings.Split(rel, "/"))
}

func matchParts(globs, parts []string) bool {
	for len(globs) > 0 {
		if globs[0] == "**" {
			for i := range len(parts) + 1 {
				if matchParts(globs[1:], parts[i:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, _ := path.Match(globs[0], parts[0]); !ok {
			return false
		}
		globs, parts = globs[1:], parts[1:]
	}
	return len(parts) == 0
}

// lookUp resolves a path to a directory; "" if there is none. anchors are the paths
// on the way: a change of any of them may change the result.
func lookUp(name string) (directory string, anchors []string) {
	directory = "/"
	rest := strings.Split(strings.Trim(filepath.Clean(name), "/"), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			directory = filepath.Dir(directory)
			continue
		}
		full := filepath.Join(directory, part)
		anchors = append(anchors, full)
		info, err := os.Lstat(full)
		if err != nil {
			return "", anchors
		}
		if info.Mode()&os.ModeSymlink == 0 {
			directory = full
			continue
		}
		target, err := os.Readlink(full)
		if links++; err != nil || links > 40 {
			return "", anchors
		}
		if filepath.IsAbs(target) {
			directory = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if info, err := os.Stat(directory); err != nil || !info.IsDir() {
		return "", anchors
	}
	return directory, anchors
}
