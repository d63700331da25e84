"""A Python that is newer than all tested ones: what it lacks is said in one line."""

from __future__ import annotations

from pathlib import Path

from harness.caddyfile import python
from harness.expressions import ask, site
from harness.plugin import Serve
from harness.source import ASGI, Source

# Python imports it before there is a server. What else depends on the version does not look here.
PRETEND = "import sys\nsys.hexversion = 0x03630100\n"


def pretend(folder: Path, what_is_missing: str) -> dict[str, str]:
    """The environment in which the server's Python says that it is newer, and lacks something."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PRETEND + what_is_missing)
    return {"PYTHONPATH": str(folder)}


def test_without_what_keeps_applications_apart_none_is_loaded(
    unstarted: Serve, tmp_path: Path
) -> None:
    env = pretend(tmp_path / "newer", "import importlib._bootstrap as it\ndel it._exec\n")
    server = unstarted(python("absent:app", venv=None), env=env, canary=False)
    printed = server.run_in_vain()
    assert "Python 3.99.1 is newer" in printed
    assert "importlib._bootstrap._exec" in printed
    assert "no application is loaded: use an older Python" in printed


def test_what_can_be_done_without_is_a_warning(serve: Serve, tmp_path: Path) -> None:
    lacking = "import atexit\ndel atexit._run_exitfuncs\n"
    env = pretend(tmp_path / "newer", lacking)
    server = serve(site(tmp_path / "one", "import sys", venv=None), env=env, canary=False)
    server.expect_log(
        r"Python 3\.99\.1 is newer .* atexit\._run_exitfuncs; .* all else works", level="warn"
    )
    assert ask(server, "sys.hexversion") == [0x03630100]


RENAMED = """
from asyncio.selector_events import BaseSelectorEventLoop as Loop
Loop._make_pipe = Loop._make_self_pipe
del Loop._make_self_pipe
def missing(self, name):
    if name == "_make_self_pipe":
        return self._make_pipe
    raise AttributeError(name)
Loop.__getattr__ = missing
"""


def test_event_loops_that_are_built_in_another_way_are_used_as_they_are(
    serve: Serve, tmp_path: Path
) -> None:
    env = pretend(tmp_path / "newer", RENAMED)
    source = Source(tmp_path / "one", ASGI)
    server = serve(source.block("loop asyncio", autoreload=None), env=env, canary=False)
    server.expect_log(r"that event loops share the server's selector; all else", level="warn")
    assert [server.get("/").text for _ in range(3)] == ["1", "1", "1"]
