"""Responses whose size does not fit into 32 bits."""

from __future__ import annotations

import pytest

from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve


@pytest.mark.timeout(300)
@pytest.mark.parametrize("site", [wsgi("large_bodies:wsgi_app"), asgi("large_bodies:asgi_app")])
def test_a_body_of_more_than_4_gib_in_one_piece_arrives(serve: Serve, site: str) -> None:
    size = 2**32 + 5
    with serve(site).connect(timeout=60) as connection:
        connection.request("GET", f"/{size}")
        assert connection.head().get("Content-Length") == str(size)
        assert sum(map(len, connection.chunks())) == size
