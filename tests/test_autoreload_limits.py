"""Autoreload at the limits of the kernel's inotify (T08)."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.server import Server
from harness.settings import BINARY
from harness.source import Source, await_reloads, await_version, put

pytestmark = pytest.mark.conformance("T08")

HINT = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances"
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "site")


def limited(what: str, number: int) -> tuple[str, ...]:
    """A launcher that starts the server in a user namespace with a limit of its own."""
    script = f'echo {number} > /proc/sys/user/max_inotify_{what} && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", str(BINARY))


def test_the_limit_of_watches_is_reported(serve: Serve, source: Source) -> None:
    for number in range(40):
        (source.folder / f"package_{number}").mkdir()
    watches = len(source.folder.resolve().parts) + 20
    server = serve(source.block(), launcher=limited("watches", watches))
    said = server.expect_app_log(
        "^autoreload does not see all changes: the limit of inotify watches"
    )
    server.check()
    (record,) = said.records
    assert HINT in record.fields["hint"]
    assert record.fields["directory"].startswith(str(source.folder / "package_"))
    source.write("2")  # What is watched is seen all the same.
    await_version(server, "2")
    (source.folder / "package_new").mkdir()
    source.write("3")
    await_version(server, "3")


def test_the_limit_of_instances_is_an_error(unstarted: Serve, source: Source) -> None:
    server: Server = unstarted(source.block(), launcher=limited("instances", 0))
    said = server.run_in_vain()
    assert "the limit of inotify instances or descriptors is reached" in said
    assert HINT in said


def test_changes_that_the_kernel_did_not_tell_of_are_found(serve: Serve, source: Source) -> None:
    """It keeps some thousand events, and the server reads none of them while they come."""
    server = serve(source.block())
    server.pause()
    with (source.folder / "one").open("wb", 0) as one, (source.folder / "two").open("wb", 0) as two:
        for _ in range(int(QUEUE.read_text()) // 2 + 100):
            one.write(b"x")  # The same event twice in a row counts once.
            two.write(b"x")
    package = source.folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("VERSION = 'not told of'\n")
    put(source.main, source.code("").replace("VERSION = ''", "from package import VERSION"))
    server.resume()
    await_version(server, "not told of")
    assert await_reloads(server, 1).fields["changed"] == "."
    put(package / "__init__.py", "VERSION = 'and edited'\n")
    await_version(server, "and edited")
