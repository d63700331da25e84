"""A FastAPI site: validation, threads, dependencies, and an upload of 100 MiB."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness import proc
from harness.board import Board
from harness.caddyfile import asgi
from harness.health import Slack
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    # anyio keeps the threads of its pool for a while.
    slack = Slack(threads=50, python_threads=40)
    return serve_module(asgi("fastapi_app:app", folder="fastapi_site"), probe="/", slack=slack)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        yield client


@pytest.mark.smoke
@pytest.mark.conformance("A09")
def test_a_lifespan_leaves_state_for_requests(client: httpx.Client) -> None:
    assert client.get("/").json() == {"greeting": "hello"}


@pytest.mark.smoke
def test_a_pydantic_body_is_validated(client: httpx.Client) -> None:
    item = {"name": "caf\u00e9", "price": 2.5, "tags": ["a"]}
    answer = client.post("/items", json=item)
    assert (answer.status_code, answer.json()) == (201, item)
    refused = client.post("/items", json={"name": "x", "price": -1})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "price"]
    assert client.post("/items", content=b"{broken").status_code == 422


@pytest.mark.smoke
def test_sync_endpoints_and_dependencies_work(client: httpx.Client) -> None:
    assert client.get("/sync/7").json() == {"number": 7}
    assert client.get("/sync/x").status_code == 422
    assert client.get("/dependency?start=3").json() == {"start": 3}


def test_many_sync_requests_at_once_are_answered(server: Server) -> None:
    clients = [server.connect() for _ in range(100)]
    for number, client in enumerate(clients):
        client.request("GET", f"/sync/{number}")
    for number, client in enumerate(clients):
        assert client.response().text == f'{{"number":{number}}}'
        client.close()


def test_background_tasks_run_after_the_answer(client: httpx.Client, board: Board) -> None:
    assert client.get("/background", params={"note": str(board.folder / "note")}).is_success
    assert board.wait("note") == ["done"]


def test_fastapi_answers_for_the_errors_it_knows(client: httpx.Client) -> None:
    assert client.get("/missing").json() == {"detail": "not here"}
    assert client.get("/known").status_code == 409
    assert client.get("/nowhere").status_code == 404


def test_an_unknown_error_is_answered_and_logged_once(server: Server, client: httpx.Client) -> None:
    # Starlette answers with a 500 of its own and then raises the error on to the server.
    server.expect_app_log("planted: in an endpoint")
    assert client.get("/boom").status_code == 500


def test_openapi_and_its_page_are_served(client: httpx.Client) -> None:
    assert "/items" in client.get("/openapi.json").json()["paths"]
    assert "swagger" in client.get("/docs").text


@pytest.mark.conformance("E06", "E07")
def test_an_upload_of_100_mib_arrives_whole_through_flat_memory(server: Server) -> None:
    piece = bytes(range(256)) * 4096
    head = (
        b"--frontier\r\n"
        b'Content-Disposition: form-data; name="file"; filename="big.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--frontier--\r\n"
    headers = [("Content-Type", "multipart/form-data; boundary=frontier")]

    def form(count: int) -> tuple[Iterator[bytes], int]:
        parts = (part for part in (head, *[piece] * count, tail))
        return watched(parts), len(head) + count * len(piece) + len(tail)

    def watched(parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            peaks.append(proc.rss(server.pid))
            yield part

    peaks: list[int] = []
    for count in (3, 100):  # The first fills caches and arenas.
        before = proc.rss(server.pid)
        peaks.clear()
        body, length = form(count)
        answer = server.request("POST", "/upload", headers, body, length=length, timeout=80)
        assert answer.status == 200
    digest = hashlib.sha256(piece * 100).hexdigest()
    assert f'"size":{100 * MIB}' in answer.text
    assert digest in answer.text
    assert max(peaks) - before < 40 * MIB


# Websockets


def websocket(server: Server, path: str) -> ClientConnection:
    return connect(f"ws://{HOST}:{server.port}{path}")


@pytest.mark.smoke
@pytest.mark.conformance("K06", "A09")
def test_those_in_a_chat_hear_each_other_come_talk_and_leave(server: Server) -> None:
    with websocket(server, "/chat?name=Ada") as ada:
        assert [ada.recv(), ada.recv()] == ["hello", "Ada came"]
        with websocket(server, "/chat?name=Bob") as bob:
            assert [bob.recv(), bob.recv(), ada.recv()] == ["hello", "Bob came", "Bob came"]
            for speaker, name in ((ada, "Ada"), (bob, "Bob")):
                speaker.send("gr\u00fc\u00df")
                assert ada.recv() == bob.recv() == f"{name}: gr\u00fc\u00df"
        assert ada.recv() == "Bob left"


@pytest.mark.conformance("K02")
@pytest.mark.parametrize("query", ["", "?name=" + "x" * 21])
def test_a_dependency_may_refuse_a_websocket(server: Server, query: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        websocket(server, f"/chat{query}")
    assert caught.value.response.status_code == 403


@pytest.mark.conformance("K04")
def test_an_error_in_a_websocket_closes_it_with_1011(server: Server) -> None:
    server.expect_app_log("invalid literal")
    with websocket(server, "/sums") as client:
        for number, total in ((1, 1), (-3, -2)):
            client.send(str(number))
            assert client.recv() == f'{{"total":{total}}}'
        client.send("seven")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1011
