"""Writes Caddyfiles: the `python` directive for the test apps, and whole files around sites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.ports import HOST
from harness.settings import APPS, CANARY, HOME, VENV

# An option for tests that see Caddy's patience with requests end.
BRIEF_GRACE = "grace_period 500ms"


def python(
    target: str,
    *options: str,
    interface: str = "module_wsgi",
    folder: str | Path = "bare",
    matcher: str = "",
    venv: Path | None = VENV,
) -> str:
    """A `python` block; `options` are further lines of it."""
    lines = [f"{interface} {target}", f"working_dir {APPS / folder}"]
    if venv is not None:
        lines.append(f"venv {venv}")
    if HOME == "workers" and not any(option.startswith("workers") for option in options):
        lines.append("workers 1")
    inside = "\n".join(f"    {line}" for line in [*lines, *options])
    return f"python {matcher} {{\n{inside}\n}}"


def wsgi(target: str, *options: str, folder: str | Path = "bare", matcher: str = "") -> str:
    return python(target, *options, folder=folder, matcher=matcher)


def asgi(target: str, *options: str, folder: str | Path = "bare", matcher: str = "") -> str:
    return python(target, *options, interface="module_asgi", folder=folder, matcher=matcher)


def canary_site() -> str:
    """Two trivial apps that must go on answering, whatever happens to the app under test."""
    return "\n".join(
        [
            wsgi("canary_wsgi:app", folder=CANARY, matcher="/wsgi"),
            asgi("canary_asgi:app", folder=CANARY, matcher="/asgi"),
        ]
    )


def caddyfile(
    sites: Sequence[tuple[int, str]],
    *,
    admin: int,
    tls: int | None = None,
    options: Sequence[str] = (),
    servers: Sequence[str] = (),
) -> str:
    """A Caddyfile with one site per (port, body); `tls` is the port that speaks TLS, if any.

    `options` are lines of the global block, `servers` lines of its `servers` block.
    """
    protocols = "protocols h1 h2 h2c" if tls is None else "protocols h1 h2 h2c h3"
    server_options = "".join(f"        {line}\n" for line in [protocols, *servers])
    globals_ = [
        f"admin {HOST}:{admin}",
        "persist_config off",
        "auto_https disable_redirects",
        "skip_install_trust",
        # It removes empty directories of a new home, also one that a certificate is about to go to.
        "storage_clean_interval off",
        "grace_period 5s",
        f"default_bind {HOST}",
        f"servers {{\n{server_options}    }}",
        *options,
    ]
    parts = ["{\n" + "\n".join(f"    {line}" for line in globals_) + "\n}"]
    for port, body in sites:
        if port == tls:
            address = f"https://localhost:{port}, https://{HOST}:{port}"
            parts.append(f"{address} {{\ntls internal\n{body}\n}}")
        else:
            parts.append(f"http://:{port} {{\n{body}\n}}")
    return "\n\n".join(parts) + "\n"
