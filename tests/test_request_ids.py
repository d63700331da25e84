"""One id for a request, in Caddy's log and in the application's: `request_id`."""

from __future__ import annotations

import json
import uuid

import pytest

from harness.caddyfile import asgi, wsgi
from harness.health import ONE_THREAD
from harness.log import Record
from harness.plugin import Serve
from harness.server import Server
from harness.waiting import wait_for

KINDS = pytest.mark.parametrize("interface", ["wsgi", "asgi"])
PLACES = {
    "wsgi": ["called", "in a thread"],
    "asgi": ["called", "in a task", "in a thread"],
}
ACCESS = "^handled request$"


def block(interface: str, *options: str) -> str:
    kind = {"wsgi": wsgi, "asgi": asgi}[interface]
    return "log\n" + kind(f"main:{interface}", *options, folder="request_ids")


def record(server: Server, pattern: str) -> Record:
    return wait_for(lambda: server.log.find(pattern), pattern)[-1]


@pytest.mark.smoke
@KINDS
def test_one_id_is_in_all_logs_and_in_the_app(serve: Serve, interface: str) -> None:
    server = serve(block(interface, "request_id"), slack=ONE_THREAD)
    server.allow_log("^planted: ")
    forged = str(uuid.uuid4())
    found = json.loads(server.get("/", [("X-Request-Id", forged)]).text)
    assert str(uuid.UUID(found)) == found != forged
    for place in PLACES[interface]:
        assert record(server, f"^planted: {place}$").fields["request_id"] == found
    assert record(server, ACCESS).fields["uuid"] == found
    assert json.loads(server.get("/").text) != found
    for start in server.log.find("^planted: starting$"):
        assert "request_id" not in start.fields


@pytest.mark.smoke
@KINDS
def test_a_traceback_has_the_id_of_its_request(serve: Serve, interface: str) -> None:
    server = serve(block(interface, "request_id"), slack=ONE_THREAD)
    server.allow_log("^planted: |^handled request$")
    server.expect_failure("planted: failed")
    assert server.get("/fails").status == 500
    called = record(server, "^planted: called$")
    failed = record(server, "^exception in ")
    assert failed.fields["request_id"] == called.fields["request_id"]


@KINDS
def test_without_the_option_nobody_gets_an_id(serve: Serve, interface: str) -> None:
    server = serve(block(interface), slack=ONE_THREAD)
    server.allow_log("^planted: ")
    forged = str(uuid.uuid4())
    assert json.loads(server.get("/", [("X-Request-Id", forged)]).text) == forged
    assert "request_id" not in record(server, "^planted: called$").fields
    assert "uuid" not in record(server, ACCESS).fields


def test_a_trace_of_caddy_goes_on_in_the_app(serve: Serve) -> None:
    app = wsgi("traced:app", "request_id", folder="request_ids")
    server = serve(f"log\ntracing\n{app}", env={"OTEL_TRACES_EXPORTER": "none"})
    server.allow_log("planted: at work")
    assert server.get("/work").text == "done"
    access = record(server, ACCESS).fields
    (span,) = json.loads(server.get("/spans").text)
    assert span == {"name": "work", "trace": access["traceID"], "parent": access["spanID"]}
    logged = record(server, "planted: at work$").fields
    assert (logged["trace_id"], logged["span_id"]) == (access["traceID"], access["spanID"])
    assert logged["request_id"] == access["uuid"]
