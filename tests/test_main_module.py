"""`__main__` as an application finds it: that of a program in its own directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.caddyfile import python
from harness.health import Slack
from harness.plugin import Serve
from harness.tenants import write

MAIN = """
import json, multiprocessing, os, sys

with open(os.path.join(os.path.dirname(__file__), "runs"), "a") as runs:
    runs.write(f"{__name__}\\n")

def square(number):
    return number * number

def app(environ, start_response):
    main = sys.modules["__main__"]
    found = {"file": main.__file__, "name": main.__name__, "argv": sys.argv, "squares": []}
    method = environ["QUERY_STRING"]
    if method:
        with multiprocessing.get_context(method).Pool(1) as pool:
            found["squares"] = pool.map(square, [2, 3])
    start_response("200 OK", [])
    return [json.dumps(found).encode()]
"""


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("target", "file"), [("main:app", "main.py"), ("shop.web:app", "shop/web.py")]
)
def test_it_is_in_the_applications_directory(
    serve: Serve, tmp_path: Path, target: str, file: str
) -> None:
    write(tmp_path / "site", {"shop/__init__.py": "", file: MAIN})
    server = serve(python(target, folder=tmp_path / "site"))
    found = json.loads(server.get("/").body)
    expected = str(tmp_path / "site" / "__main__.py")
    assert found == {"file": expected, "name": "__main__", "argv": [expected], "squares": []}


@pytest.mark.smoke
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_do_not_run_it(serve: Serve, tmp_path: Path, method: str) -> None:
    write(tmp_path / "site", {"main.py": MAIN, "__main__.py": MAIN})
    server = serve(
        python("main:app", folder=tmp_path / "site"),
        slack=Slack(children=3, descriptors=12, python_threads=4),
    )
    assert json.loads(server.get(f"/?{method}").body)["squares"] == [4, 9]
    # The server, and the child that has to find the function.
    assert (tmp_path / "site" / "runs").read_text() == "main\nmain\n"
