"""Three applications with the same module names: whatever way one takes to a module, it is its own.

The ways are the functions of `apps/isolation/tenant/*_checks.py`.
"""

from __future__ import annotations

import ast
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from _pytest.mark import ParameterSet

from harness import http1
from harness.health import Slack
from harness.plugin import Serve
from harness.server import Server
from harness.settings import VENV
from harness.tenants import ISOLATION, NAMES, block, install, make_venv, tenants

# They return something else than a tenant's name, or need to be asked for something.
HELPERS = {"spread_is_namespace", "shared_module", "finder_is_gone", "from_the_server"}
# True only of the modules and paths of a view.
OF_VIEWS = {"path_read_often", "replaced_directory"}


def checks() -> list[ParameterSet]:
    statements = [
        statement
        for path in sorted((ISOLATION / "tenant").glob("*_checks.py"))
        for statement in ast.parse(path.read_text()).body
    ]
    functions = [
        node for node in statements if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    names = [node.name for node in functions if node.name[0] != "_" and node.name not in HELPERS]
    view = pytest.mark.in_process("a worker has no views")
    return [pytest.param(name, marks=view if name in OF_VIEWS else ()) for name in names]


@pytest.fixture(scope="module", params=["module_wsgi", "module_asgi"])
def server(
    request: pytest.FixtureRequest,
    serve_module: Serve,
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    folder = tmp_path_factory.mktemp("tenants")
    venv = make_venv(folder / "venv", behind=[VENV])
    shared = {path.name: path.read_text() for path in (ISOLATION / "shared").glob("*.py")}
    install(venv, "shared", "1.0", shared)
    target = "main:" + request.param.removeprefix("module_")
    blocks = [
        block(tenant, target, interface=request.param, venv=venv) for tenant in tenants(folder)
    ]
    # The checks use executors, whose threads stay: the shared one, and that of each loop.
    slack = Slack(threads=40, python_threads=40, children=3, descriptors=12)
    return serve_module(*blocks, slack=slack, env={"FROM_OUTSIDE": "yes"})


def ask(server: Server, check: str) -> list[object]:
    """The answers of all tenants, who are asked at the same time."""

    def one(port: int) -> object:
        response = http1.request(port, "GET", f"/{check}", timeout=30)
        assert response.status == 200, (check, response.status)
        return json.loads(response.body)

    with ThreadPoolExecutor(len(NAMES)) as pool:
        return list(pool.map(one, server.ports))


@pytest.mark.smoke
@pytest.mark.parametrize("check", checks())
def test_each_application_finds_its_own(server: Server, check: str) -> None:
    assert ask(server, check) == list(NAMES)


@pytest.mark.in_process("a worker has one application, and nothing to isolate")
def test_the_standard_library_is_shared(server: Server) -> None:
    assert len(set(ask(server, "shared_module"))) == 1


def test_what_one_application_deletes_from_the_environment_others_keep(server: Server) -> None:
    deleted = http1.request(server.ports[0], "GET", "/deleted_from_the_server")
    assert json.loads(deleted.body) == "one"
    # The others may have done the same by now, but a variable that is new is nobody else's.
    http1.request(server.ports[0], "GET", "/changed_environment")
    other = http1.request(server.ports[1], "GET", "/from_the_server?NEVER_SET")
    assert json.loads(other.body) is None


def test_finders_of_an_application_leave_with_it(server: Server) -> None:
    assert ask(server, "finder") == list(NAMES)
    assert ask(server, "finder_is_gone") == [False] * 3
