package caddysnake

// Option values with placeholders, which each request fills in.

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// template is an option's value, split at its placeholders: literals has one
// element more than names.
type template struct {
	literals []string
	names    []string
}

// placeholderName matches the names of placeholders. Other text in braces, such as
// JSON, is kept as it is.
var placeholderName = regexp.MustCompile(`^[\p{L}\p{N}_.*?-]+$`)

var errUnset = errors.New("is not set")

// parseTemplate splits an option's value. It replaces placeholders that no request
// changes: {env.*} and {system.*}.
func parseTemplate(option, text string) (template, error) {
	if strings.ContainsRune(text, 0) {
		return template{}, fmt.Errorf("%s has a NUL character in it", option)
	}
	var names []string
	global := caddy.NewReplacer()
	cut, err := caddy.NewEmptyReplacer().ReplaceFunc(text, func(name string, _ any) (any, error) {
		switch {
		case strings.HasPrefix(name, "file."):
			return nil, fmt.Errorf("%s: {%s} can't be used here: files are not read for requests", option, name)
		case !placeholderName.MatchString(name):
			return "{" + name + "}", nil
		case strings.HasPrefix(name, "env."), strings.HasPrefix(name, "system."):
			value, known := global.GetString(name)
			if !known || value == "" {
				return nil, fmt.Errorf("%s: {%s} %w", option, name, errUnset)
			}
			return value, nil
		}
		names = append(names, name)
		return "\x00", nil
	})
	if err != nil {
		return template{}, err
	}
	return template{strings.Split(cut, "\x00"), names}, nil
}

// isFixed tells whether the template has no placeholders.
func (t template) isFixed() bool { return len(t.names) == 0 }

// fill returns the text with the placeholders' values.
func (t template) fill(values map[string]string) string {
	if t.isFixed() {
		return t.literals[0]
	}
	var b strings.Builder
	for i, name := range t.names {
		b.WriteString(t.literals[i])
		b.WriteString(values[name])
	}
	b.WriteString(t.literals[len(t.names)])
	return b.String()
}

// fillPath is fill for the path of a file or directory. It also returns fixed, the
// directory before the first request-controlled value. That value can only lead
// further down from there.
func (t template) fillPath(option string, values map[string]string) (path, fixed string, err error) {
	path = t.fill(values)
	for i, name := range t.names {
		if isOperators(name) {
			continue
		}
		// Empty segments would allow any number of spellings of one path, each with
		// its own entry in the table.
		value := values[name]
		if strings.ContainsRune(value, '\\') || strings.HasPrefix(value, "/") || strings.HasSuffix(value, "/") ||
			strings.Contains(value, "//") {
			return "", "", fmt.Errorf("%s: %q is no value for {%s}: it must be a relative path", option, value, name)
		}
		if fixed == "" {
			before := template{t.literals[:i+1], t.names[:i]}.fill(values)
			fixed = "./" + before[:strings.LastIndexByte(before, '/')+1]
			if strings.HasPrefix(before, "/") {
				fixed = fixed[2:]
			}
			for segment := range strings.SplitSeq(path[len(strings.TrimPrefix(fixed, "./")):], "/") {
				if segment == "." || segment == ".." {
					return "", "", fmt.Errorf("%s: %q is no path for an application: it has a segment '%s'", option, path, segment)
				}
			}
		}
	}
	return path, fixed, nil
}

// isOperators tells whether the configuration (the vars and root directives) sets a
// placeholder's value, not the request.
func isOperators(name string) bool {
	return strings.HasPrefix(name, "http.vars.")
}
