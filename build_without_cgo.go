//go:build !cgo

package caddysnake

// Without cgo most files are left out of the build. This import fails before
// the compiler would complain about what they define.
import _ "github.com/caddysnake/caddysnake/internal/set_CGO_ENABLED_to_1_and_install_gcc_and_python3_dev"
