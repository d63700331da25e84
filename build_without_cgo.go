//go:build !cgo

package caddysnake

// Without cgo the build omits most files. This import fails first, before the
// compiler would report the missing definitions.
import _ "github.com/caddysnake/caddysnake/internal/set_CGO_ENABLED_to_1_and_install_gcc_and_python3_dev"
