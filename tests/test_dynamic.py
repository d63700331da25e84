"""Apps that requests name: placeholders in each option, sharing, and reloads of the configuration.

What requests may not name is in test_dynamic_hostile.py, how apps are loaded in
test_dynamic_loading.py, how many there may be in test_dynamic_limits.py.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from harness.board import Board
from harness.dynamic import INTERFACES, LABEL, Tenants, ask, ask_tenant, host, send, text
from harness.health import LATE_APPS
from harness.http1 import Connection
from harness.http2 import Connection2
from harness.plugin import Serve
from harness.ports import HOST
from harness.server import Server
from harness.settings import VENV
from harness.tenants import install, make_venv, write
from harness.waiting import wait_for

QUERY = "{http.request.uri.query.q}"


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module("", slack=LATE_APPS)


@pytest.fixture(params=INTERFACES)
def tenants(request: pytest.FixtureRequest, tmp_path: Path, board: Board) -> Tenants:
    return Tenants(tmp_path / "sites", board, request.param, "one", "two")


@pytest.mark.smoke
@pytest.mark.conformance("T01")
def test_each_host_has_its_app(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    assert [text(server, name) for name in ("one", "two", "one")] == ["one", "two", "one"]
    assert text(server, "one", "/id") != text(server, "two", "/id")
    assert sorted(tenants.board.lines("imported")) == ["one", "two"]


@pytest.mark.conformance("T01")
def test_http_2_names_apps_as_http_1_does(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    for name in ("one", "two"):
        with Connection2(server.port, host=host(name)) as connection:
            assert connection.request("GET", "/id").body.decode() == text(server, name, "/id")
    with Connection2(server.port, host=host("none")) as connection:
        assert connection.request("GET", "/id").status == 404


def test_nothing_is_loaded_before_the_first_request(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    assert tenants.noted("imported") == 0
    assert text(server, "one") == "one"
    assert tenants.noted("imported") == 1


@pytest.mark.conformance("T02")
def test_the_case_of_a_host_does_not_matter(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    assert text(server, "ONE", "/id") == text(server, "one", "/id")
    assert tenants.noted("imported") == 1


def test_a_module_may_be_named(server: Server, tenants: Tenants) -> None:
    tenants.add("both")
    for name in ("first", "second"):
        (tenants.root / "both" / f"{name}.py").write_text("from main import app as app\n")
    server.configure(tenants.block(target=f"{LABEL}:app", working_dir="both"))
    assert text(server, "first") == text(server, "second") == "both"
    assert text(server, "first", "/id") != text(server, "second", "/id")
    assert ask_tenant(server, "third").status == 404


def test_env_var_and_env_file_may_be_named(server: Server, tenants: Tenants) -> None:
    write(tenants.root, {f"{name}.env": f"FILE=file of {name}\n" for name in ("one", "two")})
    options = [f'env_var VALUE "<{LABEL}>"', f'env_file "{tenants.root}/{LABEL}.env"']
    server.configure(tenants.block(*options, working_dir="one"))
    for name in ("one", "two"):
        assert text(server, name, "/env?VALUE") == f"<{name}>"
        assert text(server, name, "/env?FILE") == f"file of {name}"
    assert ask_tenant(server, "none").status == 404
    assert text(server, "one") == text(server, "two") == "one"


def test_a_venv_may_be_named(server: Server, tenants: Tenants, tmp_path: Path) -> None:
    for name in ("one", "two"):
        venv = make_venv(tmp_path / "venvs" / name, behind=[VENV])
        install(venv, "dyntool", "1", {"dyntool.py": f'VERSION = "{name}"\n'})
        main = tenants.root / name / "main.py"
        main.write_text(main.read_text() + "\nimport common, dyntool\ncommon.ID = dyntool.VERSION")
    server.configure(tenants.block(f'venv "{tmp_path}/venvs/{LABEL}"'))
    assert [text(server, name, "/id") for name in ("one", "two")] == ["one", "two"]


@pytest.mark.parametrize(
    ("placeholder", "target", "headers"),
    [
        ("{http.request.header.X-Tenant}", "/name", ["X-Tenant: one"]),
        ("{header.X-Tenant}", "/name", ["X-Tenant: one"]),
        ("{query.q}", "/name?q=one", []),
        ("{http.vars.tenant}", "/name", []),
    ],
)
def test_placeholders_of_all_kinds(
    server: Server, tenants: Tenants, placeholder: str, target: str, headers: list[str]
) -> None:
    server.configure(f"vars tenant one\n{tenants.block(working_dir=placeholder)}")
    assert ask(server, "any", target, headers).text == "one"


def test_values_with_slashes_lead_further_down(server: Server, tenants: Tenants) -> None:
    (tenants.root / "deep").mkdir()
    tenants.add("deep/three")
    server.configure(tenants.block(working_dir=QUERY))
    assert ask(server, "any", "/name?q=deep/three").text == "three"


def test_unknown_placeholders_name_no_app(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block(working_dir="{no.such.placeholder}"))
    assert ask_tenant(server, "one").status == 404
    assert tenants.noted("imported") == 0


def test_env_placeholders_are_fixed_when_the_configuration_loads(
    serve: Serve, tenants: Tenants
) -> None:
    block = tenants.block("env_var VALUE {env.DYN_VALUE}", working_dir="{env.DYN_TENANT}")
    server = serve(block, env={"DYN_TENANT": "two", "DYN_VALUE": "set"}, slack=LATE_APPS)
    assert tenants.noted("imported") == 1, "a static app is loaded with the configuration"
    assert text(server, "one") == "two"
    assert text(server, "one", "/env?VALUE") == "set"


@pytest.mark.parametrize("placeholder", ["{file./etc/hostname}", "{file.{env.HOME}}"])
@pytest.mark.parametrize("option", ["working_dir", "venv", "env_file", "env_var"])
def test_files_are_not_read_for_requests(
    unstarted: Serve, tenants: Tenants, option: str, placeholder: str
) -> None:
    name = "X " if option == "env_var" else ""
    if option == "working_dir":
        block = tenants.block(working_dir=placeholder)
    else:
        block = tenants.block(f'{option} {name}"{placeholder}"')
    assert "file." in unstarted(block).run_in_vain()


def test_errors_go_through_caddys_error_routes(server: Server, tenants: Tenants) -> None:
    routes = 'handle_errors {\nrespond "routed {err.status_code}"\n}'
    server.configure(f"{tenants.block(working_dir=QUERY)}\n{routes}")
    for query, status in (("none", 404), ("..", 400)):
        answer = ask(server, "any", f"/name?q={query}")
        assert (answer.status, answer.text) == (status, f"routed {status}")


# Sharing and reloads


def test_a_static_app_with_the_same_settings_is_the_same(server: Server, tenants: Tenants) -> None:
    static = tenants.block(working_dir="one", matcher="/*")
    dynamic = tenants.block()
    site = f"@static header X-Static *\nhandle @static {{\n{static}\n}}\nhandle {{\n{dynamic}\n}}"
    server.configure(site)
    assert ask(server, "any", "/id", ["X-Static: 1"]).text == text(server, "one", "/id")
    assert text(server, "two", "/id") != text(server, "one", "/id")
    assert tenants.noted("imported") == 2


@pytest.mark.conformance("T11")
def test_a_reload_keeps_the_apps_of_an_unchanged_handler(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    before = [text(server, name, "/id") for name in ("one", "two")]
    assert server.load(f"header X-New yes\n{tenants.block()}").status == 200
    assert ask_tenant(server, "one").get("x-new") == "yes"
    assert [text(server, name, "/id") for name in ("one", "two")] == before
    assert tenants.noted("imported") == 2
    assert tenants.noted("shutdown") == 0


@pytest.mark.conformance("T11")
def test_a_changed_handler_loads_its_apps_anew(server: Server, tenants: Tenants) -> None:
    server.configure(tenants.block())
    before = text(server, "one", "/id")
    assert server.load(tenants.block("env_var CHANGED yes")).status == 200
    assert text(server, "one", "/id") != before
    assert text(server, "one", "/env?CHANGED") == "yes"


@pytest.mark.conformance("T11")
@pytest.mark.parametrize("change", ["max_apps 5", "env_var CHANGED yes"])
def test_a_change_of_the_handler_while_an_app_is_loaded_fails_no_request(
    server: Server, tenants: Tenants, change: str
) -> None:
    tenants.stop("import", "one")
    server.configure(tenants.block())
    with send(server, host("one")) as before:
        tenants.board.wait("imported")
        assert server.load(tenants.block(change)).status == 200
        with send(server, host("one")) as after:
            tenants.go("import", "one")
            assert [each.response().text for each in (before, after)] == ["one", "one"]


@pytest.mark.conformance("T11")
def test_a_removed_handler_unloads_its_apps(serve: Serve, tmp_path: Path, board: Board) -> None:
    tenants = Tenants(tmp_path / "sites", board, "asgi")
    tenants.add("one", "two")
    server = serve(tenants.block())
    for name in ("one", "two"):
        text(server, name)
    assert server.load("respond gone").status == 200
    wait_for(lambda: tenants.noted("shutdown") == 2, "both lifespans to end")
    # The check after the test sees threads and descriptors that stay.


# The Caddyfiles of the documentation

BY_MODULE = '"{http.request.host.labels.2}:app"'
BY_FOLDER = "main:app"
HTTP = "auto_https off\nadmin off\nhttp_port {port}"
HTTPS = "local_certs\nskip_install_trust\nauto_https disable_redirects\nadmin off"


def two_apps(folder: Path, interface: str, module: str, options: str, server: Server) -> None:
    """Starts it where there are app1 and app2, whose modules have these names or are `main`."""
    server.write_text(
        f"{{\n{options.format(port=server.port)}\n}}\n"
        f"*.example.com:{server.port} {{\n route /* {{\n python {{\n"
        f"module_{interface} {module}\n"
        'working_dir "{http.request.host.labels.2}/"\n } \n }\n}\n'
    )
    tenants = Tenants(folder, Board(folder / "notes"), interface)
    tenants.add("app1", "app2")
    for name in ("app1", "app2"):
        common = folder / name / "common.py"
        here = "os.path.dirname(__file__)"
        common.write_text(common.read_text().replace('os.environ["NOTES"]', here))
        if module == BY_MODULE:
            (folder / name / "main.py").rename(folder / name / f"{name}.py")
    server.start()


@pytest.mark.smoke
@pytest.mark.parametrize("module", [BY_MODULE, BY_FOLDER], ids=["by module", "by folder"])
@pytest.mark.parametrize("interface", INTERFACES)
def test_two_apps_from_one_block(
    unstarted: Serve, tmp_path: Path, interface: str, module: str
) -> None:
    server = unstarted("", canary=False, cwd=tmp_path)
    two_apps(tmp_path, interface, module, HTTP, server)
    assert [text(server, name) for name in ("app1", "app2")] == ["app1", "app2"]
    assert ask_tenant(server, "app3").status == 404


@pytest.mark.parametrize("module", [BY_MODULE, BY_FOLDER], ids=["by module", "by folder"])
def test_two_apps_from_one_block_over_https(unstarted: Serve, tmp_path: Path, module: str) -> None:
    server = unstarted("", canary=False, cwd=tmp_path)
    two_apps(tmp_path, "asgi", module, HTTPS, server)

    def has_certificate() -> bool:
        try:
            Connection(server.port, tls=True, server_name=host("app1")).close()
        except ssl.SSLError:
            return False
        return True

    wait_for(has_certificate, f"the certificate on {HOST}", 30)
    for name in ("app1", "app2"):
        with Connection(server.port, tls=True, server_name=host(name)) as connection:
            connection.send(f"GET /name HTTP/1.1\r\nHost: {host(name)}\r\n\r\n".encode())
            assert connection.response().text == name
        with Connection2(server.port, tls=True, host=host(name)) as connection2:
            assert connection2.request("GET", "/name").body.decode() == name
