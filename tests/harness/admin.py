"""The endpoints of Caddy's admin API that show and steer applications."""

from __future__ import annotations

import json
from typing import Any

from harness import http1
from harness.server import Server


def call(server: Server, method: str, target: str) -> http1.Response:
    return http1.request(server.admin, method, f"/python/{target}", timeout=60)


def show(server: Server, what: str) -> list[dict[str, Any]]:
    response = call(server, "GET", what)
    assert response.status == 200, response.text
    assert response.get("content-type") == "application/json"
    found: list[dict[str, Any]] = json.loads(response.body)
    return found


def apps(server: Server, name: str) -> list[dict[str, Any]]:
    return [app for app in show(server, "apps") if app["name"] == name]


def app(server: Server, name: str) -> dict[str, Any]:
    (found,) = apps(server, name)
    return found


def requests(server: Server, name: str) -> list[dict[str, Any]]:
    return [request for request in show(server, "requests") if request["name"] == name]
