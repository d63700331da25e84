package caddysnake

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Each file in testdata/caddyfile holds a Caddyfile, a line of dashes, and either
// the expected JSON or "error: " and a part of the error.
func TestCaddyfilesAdaptAsTheirFixturesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, expected, ok := strings.Cut(string(content), "\n----------\n")
			if !ok {
				t.Fatal("no line of dashes")
			}
			adapted, err := adapt(input)
			if message, wantsError := strings.CutPrefix(strings.TrimSpace(expected), "error: "); wantsError {
				if err == nil || !strings.Contains(err.Error(), message) {
					t.Fatalf("error is %v, should contain %q", err, message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := indented(t, adapted), indented(t, []byte(expected)); got != want {
				t.Errorf("adapted to\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func adapt(input string) ([]byte, error) {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	adapted, _, err := adapter.Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	return adapted, err
}

func indented(t *testing.T, document []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(document), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return out.String()
}
