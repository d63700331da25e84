package caddysnake

// The deploy command: has a running Caddy serve a new release, or keep the old one.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "deploy",
		Usage: "[release]",
		Short: "Serves a new release of an application, or keeps the old one",
		Long: strings.ReplaceAll(`
Points a symbolic link at the directory of a new release, and has the running
Caddy load the code again. The link is what working_dir, venv or python_path
names in the configuration; by default it is called "current" and is beside the
directory that holds the releases:

	$ caddy deploy /srv/shop/releases/42    # /srv/shop/current

The new code is loaded beside the old, and must answer the probe if there is
one. Then it gets all requests, and the old code finishes its own. If it can't
be loaded, the link points at the old release again, the old code goes on
serving, and the exit code is 1.`,
			"$ caddy ", "$ "+cmp.Or(caddy.CustomBinaryName, "caddy")+" "),
		CobraFunc: func(cmd *cobra.Command) {
			d := new(deployment)
			cmd.Flags().StringVar(&d.link, "link", "", "The symbolic link (default: ../current, seen from the release's parent)")
			cmd.Flags().StringVar(&d.address, "address", "", "Address of the running Caddy's admin endpoint (default "+caddy.DefaultAdminListen+")")
			cmd.Args = cobra.ExactArgs(1)
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				d.release = args[0]
				return d.run()
			}
		},
	})
}

// deployment is one call of the command.
type deployment struct{ release, link, address string }

func (d *deployment) run() (err error) {
	if d.release, err = filepath.Abs(d.release); err != nil {
		return err
	}
	if info, err := os.Stat(d.release); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory", d.release)
	}
	d.link = cmp.Or(d.link, filepath.Join(filepath.Dir(filepath.Dir(d.release)), "current"))
	if d.link, err = filepath.Abs(d.link); err != nil {
		return err
	}
	d.address = cmp.Or(d.address, caddy.DefaultAdminListen)
	config, err := d.ask(http.MethodGet, "/config/", nil, nil)
	if err != nil {
		return err
	}
	if !usesLink(config, d.link) {
		return fmt.Errorf("no python application of the running configuration has %s in its working_dir, venv or python_path; --link names another link", d.link)
	}
	before, err := d.point(d.release)
	if err != nil {
		return err
	}
	forced := http.Header{"Cache-Control": {"must-revalidate"}, "Content-Type": {"application/json"}}
	if _, err := d.ask(http.MethodPost, "/load", forced, config); err != nil {
		return errors.Join(fmt.Errorf("the release is not served: %w", err), d.restore(before))
	}
	fmt.Printf("%s is served; %s was %s\n", d.release, d.link, before)
	return nil
}

// ask calls Caddy's admin API.
func (d *deployment) ask(method, path string, headers http.Header, body []byte) ([]byte, error) {
	response, err := caddycmd.AdminAPIRequest(d.address, method, path, headers, bytes.NewReader(body))
	if err != nil {
		var refusal struct {
			Error string `json:"error"`
		}
		if at := strings.Index(err.Error(), "{"); at >= 0 && json.Unmarshal([]byte(err.Error()[at:]), &refusal) == nil {
			err = errors.New(refusal.Error)
		}
		return nil, errors.New(reason(err))
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// usesLink tells whether a directory of an application leads through the link. That of a
// relative path can't be known here.
func usesLink(config []byte, link string) bool {
	var tree any
	if json.Unmarshal(config, &tree) != nil {
		return false
	}
	return anyHandler(tree, func(handler map[string]any) bool {
		paths := []any{handler["working_dir"], handler["venv"]}
		more, _ := handler["python_path"].([]any)
		for _, value := range append(paths, more...) {
			path, ok := value.(string)
			if !ok || path == "" {
				continue
			}
			if relative, err := filepath.Rel(link, path); !filepath.IsAbs(path) || err == nil && filepath.IsLocal(relative) {
				return true
			}
		}
		return false
	})
}

// anyHandler looks for a python handler in a configuration.
func anyHandler(tree any, fits func(handler map[string]any) bool) bool {
	switch node := tree.(type) {
	case map[string]any:
		if node["handler"] == "python" && fits(node) {
			return true
		}
		for _, child := range node {
			if anyHandler(child, fits) {
				return true
			}
		}
	case []any:
		for _, child := range node {
			if anyHandler(child, fits) {
				return true
			}
		}
	}
	return false
}

// point replaces the link at once. It returns where the link led before; "" if there was
// none.
func (d *deployment) point(target string) (before string, err error) {
	info, err := os.Lstat(d.link)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return "", err
	case info.Mode()&os.ModeSymlink == 0:
		return "", fmt.Errorf("%s is not a symbolic link", d.link)
	default:
		if before, err = os.Readlink(d.link); err != nil {
			return "", err
		}
	}
	fresh := fmt.Sprintf("%s.%d", d.link, os.Getpid())
	if err := os.Symlink(target, fresh); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, d.link); err != nil {
		return "", errors.Join(err, os.Remove(fresh))
	}
	return before, nil
}

// restore has the link lead where it led before.
func (d *deployment) restore(before string) error {
	if before == "" {
		return os.Remove(d.link)
	}
	_, err := d.point(before)
	return err
}
