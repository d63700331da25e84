"""Responses whose size does not fit into 32 bits."""

from __future__ import annotations

import pytest

from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve

# Python holds its lock while it makes the body: for longer than a silent worker may take.
SITES = [kind(f"large_bodies:{kind.__name__}_app", "blocked_loop off") for kind in (wsgi, asgi)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("site", SITES)
def test_a_body_of_more_than_4_gib_in_one_piece_arrives(serve: Serve, site: str) -> None:
    size = 2**32 + 5
    with serve(site).connect(timeout=60) as connection:
        connection.request("GET", f"/{size}")
        assert connection.head().get("Content-Length") == str(size)
        assert sum(map(len, connection.chunks())) == size
