"""Context variables of ASGI requests (conformance E30)."""

from __future__ import annotations

import json

import pytest

from harness.caddyfile import asgi
from harness.plugin import Serve


@pytest.mark.conformance("E30")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_a_request_sets_no_other_sees(serve: Serve, loop: str) -> None:
    """What the lifespan sets, requests don't see either: it runs in a context of its own."""
    server = serve(asgi("asgi_contexts:app", f"loop {loop}"))
    with server.connect() as connection:
        for path in ("/one", "/two"):
            connection.request("GET", path)
            assert json.loads(connection.response().body) == ["unset", path, path]
