"""caddysnake_py.request_ids: an application may have put anything into its environ or scope."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest

from caddysnake_py import request_ids

ID = "0f6a1a8e-6e3c-4c3b-9b1c-0123456789ab"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def environ(**values: Any) -> dict[str, Any]:
    return {"wsgi.version": (1, 0), **values}


def scope(*headers: Any) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


@pytest.mark.parametrize(
    "request_",
    [
        environ(HTTP_X_REQUEST_ID=ID, HTTP_TRACEPARENT=PARENT),
        scope((b"x-request-id", ID.encode()), (b"traceparent", PARENT.encode())),
    ],
)
def test_the_ids_of_a_request(request_: dict[str, Any]) -> None:
    assert request_ids.of(request_) == f"{ID} {TRACE} {SPAN}"


@pytest.mark.parametrize("parent", ["", "00-1-2-01", PARENT + "\n", 7, None])
def test_a_parent_that_is_none(parent: Any) -> None:
    assert request_ids.of(environ(HTTP_X_REQUEST_ID=ID, HTTP_TRACEPARENT=parent)) == ID


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        {},
        environ(),
        environ(HTTP_X_REQUEST_ID="x"),
        environ(HTTP_X_REQUEST_ID=ID + "\n"),
        environ(HTTP_X_REQUEST_ID=ID.encode()),
        {"type": "lifespan"},
        {"headers": None},
        scope(7, (), (1, 2), (b"x-request-id", 7)),
    ],
)
def test_no_ids(request_: Any) -> None:
    assert request_ids.of(request_) == ""


def test_code_knows_its_request() -> None:
    assert request_ids.current() == ""
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> None:
        seen.append(request_ids.current())

    contextvars.copy_context().run(
        request_ids.wsgi(app), environ(HTTP_X_REQUEST_ID=ID), lambda *_: None
    )
    assert seen == [ID]
    assert request_ids.current() == ""
