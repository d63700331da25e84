"""How the tests call xcaddy: with this plugin and another, for the Caddy of go.mod."""

from __future__ import annotations

import re

from harness.settings import REPOSITORY

XCADDY = "github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5"
PLUGIN = "github.com/caddysnake/caddysnake"
OTHER = "github.com/mholt/caddy-l4@v0.1.2"


def build_arguments(checkout: str, binary: str) -> list[str]:
    """The arguments that make xcaddy build `binary` with the plugin from `checkout`."""
    caddy = re.search(r"caddyserver/caddy/v2 (v\S+)", (REPOSITORY / "go.mod").read_text())
    assert caddy is not None
    # With a version, even a wrong one, nobody is asked for the released ones.
    plugins = ["--with", f"{PLUGIN}@v0.0.0={checkout}", "--with", OTHER]
    return ["build", caddy[1], *plugins, "--output", binary]
