"""Tenants of the same module and class names on the libraries that people use."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import http1
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.settings import VENV
from harness.tenants import ISOLATION, NAMES, block, copies

JSON = [("Content-Type", "application/json")]


def serve_tenants(serve: Serve, folder: Path, target: str, interface: str, *options: str) -> Server:
    blocks = [
        block(tenant, target, *options, interface=interface, venv=VENV)
        for tenant in copies(ISOLATION / "libraries", folder)
    ]
    # anyio keeps threads for functions that are not async; SQLite keeps files open.
    slack = Slack(threads=40, python_threads=12, descriptors=16)
    return serve(*blocks, slack=slack)


@pytest.mark.smoke
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_fastapi_pydantic_and_numpy(serve: Serve, tmp_path: Path, loop: str) -> None:
    server = serve_tenants(serve, tmp_path, "api:app", "module_asgi", f"loop {loop}")

    def ask(port: int) -> list[str]:
        body = json.dumps({"values": [1, 2.5]}).encode()
        response = http1.request(port, "POST", "/items", JSON, body)
        assert response.status == 200, response.text
        (item,) = json.loads(response.body)["items"]
        assert item["values"] == [2, 5]
        assert item["inner"]["values"] == [1, 2.5]
        title = json.loads(http1.request(port, "GET", "/openapi.json").body)["info"]["title"]
        return [item["owner"], item["inner"]["owner"], title]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, server.ports * 4))
    assert answers == [[name] * 3 for name in NAMES] * 4


def test_fastapi_refuses_what_does_not_fit_the_tenants_model(serve: Serve, tmp_path: Path) -> None:
    server = serve_tenants(serve, tmp_path, "api:app", "module_asgi")
    for port in server.ports:
        wrong = http1.request(port, "POST", "/items?factor=0", JSON, b'{"values": ["x"]}')
        assert wrong.status == 422


@pytest.mark.smoke
def test_flask_and_sqlalchemy(serve: Serve, tmp_path: Path) -> None:
    server = serve_tenants(serve, tmp_path, "shop:app", "module_wsgi")

    def ask(port: int) -> list[list[str]]:
        body = json.dumps({"customer": f"customer of {port}"}).encode()
        assert http1.request(port, "POST", "/orders", JSON, body).status == 201
        found: list[list[str]] = json.loads(http1.request(port, "GET", "/orders").body)
        return found

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, server.ports))
    assert answers == [
        [[name, f"customer of {port}"]] for name, port in zip(NAMES, server.ports, strict=True)
    ]
