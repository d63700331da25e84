"""The pytest side: fixtures that start servers, and the check of every server after every test."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from harness.board import Board
from harness.example import OPTIONS, Example
from harness.server import Server
from harness.settings import PATIENCE

Serve = Callable[..., Server]

# A test that hangs must not hang the suite: every wait in the harness is shorter than this.
TEST_DEADLINE = 90

LIVE = pytest.StashKey[list[Server]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LIVE] = []
    config.addinivalue_line("markers", "conformance(id, ...): the conformance items a test covers")
    config.addinivalue_line("markers", "example(folder): drives the example in that folder")
    config.addinivalue_line("markers", "smoke: the fast subset that runs for each Python version")
    config.addinivalue_line(
        "markers", "in_process(reason): true only of apps in Caddy's process, not in workers"
    )
    config.addinivalue_line(
        "markers", "not_emulated(reason): not true of a server that QEMU runs (make smoke-aarch64)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_DEADLINE * PATIENCE))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for server in item.config.stash[LIVE]:
        if server.process is not None and not server.is_running:
            server.revive()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Checks each server while the test still counts, so that its own test fails, not the next."""
    servers = item.config.stash[LIVE]
    try:
        result = yield
    except BaseException:
        for server in servers:
            item.add_report_section("call", "caddy", server.health.since_last_check())
            problems = _problems(server)
            if problems:
                item.add_report_section("call", "health", problems)
        raise
    logs = [server.health.since_last_check() for server in servers]
    problems = "\n".join(filter(None, map(_problems, servers)))
    if problems:
        for log in logs:
            item.add_report_section("call", "caddy", log)
        pytest.fail(problems, pytrace=False)
    return result


def _problems(server: Server) -> str | None:
    try:
        server.health.check()
    except AssertionError as error:
        return str(error)
    return None


@pytest.fixture
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Makes servers that are configured but not started, for commands that end by themselves."""
    with ExitStack() as stack:

        def configure(*bodies: str, **options: Any) -> Server:
            server = Server(tmp_path_factory.mktemp("caddy"), bodies, **options)
            stack.callback(server.dispose)
            return server

        yield configure


def _servers(
    config: pytest.Config, factory: pytest.TempPathFactory
) -> Generator[Serve, None, None]:
    live = config.stash[LIVE]
    with ExitStack() as stack:

        def serve(*bodies: str, kind: type[Server] = Server, **options: Any) -> Server:
            server = kind(factory.mktemp("caddy"), bodies, **options)
            stack.callback(server.dispose)
            live.append(server)
            stack.callback(live.remove, server)
            return server.start()

        yield serve


@pytest.fixture
def serve(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Starts servers that live as long as the test: `serve(site_body, ..., **options)`."""
    yield from _servers(request.config, tmp_path_factory)


@pytest.fixture
def serve_example(serve: Serve) -> Callable[[str], Example]:
    """Starts the example in this folder."""

    def start(name: str) -> Example:
        server = serve(name, kind=Example, **OPTIONS.get(name, {}))
        assert isinstance(server, Example)
        return server

    return start


@pytest.fixture
def example(request: pytest.FixtureRequest, serve_example: Callable[[str], Example]) -> Example:
    """The one that the test's marker names."""
    marker = request.node.get_closest_marker("example")
    assert marker is not None
    return serve_example(*marker.args)


@pytest.fixture(scope="module")
def serve_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """The same for servers that the tests of one module share."""
    yield from _servers(request.config, tmp_path_factory)


@pytest.fixture
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A fresh board for the test and its app."""
    return Board(tmp_path_factory.mktemp("board") / "notes")
