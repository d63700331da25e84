"""What requests say must not lead out of the operator's directories, nor import or create anything.

Each answer is a 4xx within a second, and however many come, nothing of them stays.
"""

from __future__ import annotations

import time

import pytest

from harness import proc
from harness.board import Board
from harness.dynamic import INTERFACES, Tenants, ask, host, text
from harness.health import Slack
from harness.http2 import Connection2
from harness.plugin import Serve
from harness.server import Server
from harness.tenants import write

QUERY = "{http.request.uri.query.q}"
SEGMENT = "{http.request.uri.path.0}"
LONG = "x" * 300
SLACK = Slack(threads=12, python_threads=8, descriptors=48)


@pytest.fixture(scope="module", params=INTERFACES)
def tenants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    top = tmp_path_factory.mktemp("top")
    found = Tenants(top / "sites", Board(top / "notes"), request.param)
    found.add("one")
    write(found.root, {"file.py": "", "one/os.txt": "", "one/html/data.txt": ""})
    found.add("dotted")
    noted = "from common import note\nnote('imported')\n"
    module = "from main import app\n"
    write(
        found.root / "dotted",
        {
            "pack/__init__.py": noted,
            "pack/mod.py": module,
            "pack/sub/data.txt": "",
            "space/mod.py": module,
            "space/deep/mod.py": module,
        },
    )
    outside = Tenants(top / "outside", found.board, request.param)
    outside.add("secret")
    (found.root / "linked").symlink_to(top / "outside" / "secret")
    (found.root / "current").symlink_to("one")
    (found.root / "dotted" / "linked").symlink_to(top / "outside" / "secret")
    return found


@pytest.fixture(scope="module")
def server(serve_module: Serve, tenants: Tenants) -> Server:
    """An app is named by the query, by the host, by the path, or its module by the query."""
    blocks = {
        "@header": tenants.block(working_dir="{http.request.header.X-Tenant}"),
        "@host": tenants.block(),
        "/name": tenants.block(working_dir=QUERY),
        "/whole": tenants.block(target=QUERY, working_dir="one"),
        "/module": tenants.block(target=f"{QUERY}:app", working_dir="one"),
        "/env_file": tenants.block(f'env_file "{tenants.root}/{QUERY}"', working_dir="one"),
        "/dotted": tenants.block(target=f"{QUERY}:app", working_dir="dotted"),
        "/value": tenants.block(f'env_var VALUE "{QUERY}"', working_dir="one"),
        "": tenants.block(working_dir=SEGMENT),
    }
    matchers = ["@header header X-Tenant *", "@host not host any"]
    routes = [f"handle {matcher} {{\n{block}\n}}" for matcher, block in blocks.items()]
    routes = [*matchers, "route {", *routes, "}"]
    return serve_module("\n".join(routes), slack=SLACK)


def refused(server: Server, tenants: Tenants, *request: str, headers: tuple[str, ...] = ()) -> int:
    """The status, once it is sure that nothing came of the request."""
    files = sorted(tenants.root.parent.rglob("*"))
    imported = tenants.noted("imported")
    begin = time.monotonic()
    answer = ask(server, *request, headers=headers)
    assert time.monotonic() - begin < 1
    assert 400 <= answer.status < 500, answer
    assert tenants.noted("imported") == imported
    assert sorted(tenants.root.parent.rglob("*")) == files
    return answer.status


FOLDERS = {
    "..": 400,
    "%2e%2e": 400,
    "../outside/secret": 400,
    "..%2foutside%2fsecret": 400,
    "one/../../outside/secret": 400,
    "one/..": 400,
    ".": 400,
    "./one": 400,
    "one/.": 400,
    "/etc": 400,
    "%2Fone": 400,
    "//one": 400,
    "one%00": 400,
    "%00": 400,
    "one%00/../../outside": 400,
    "one%5c": 400,
    "..%5coutside": 400,
    "c:%5cone": 400,
    "one/": 400,
    "one//": 400,
    "a//b": 400,
    "": 404,
    LONG: 404,
    f"one/{LONG}": 404,
    "x/" * 3000 + "x": 404,
    "none": 404,
    "file.py": 404,
    "file.py/one": 404,
    "ONE": 404,
    "one%20": 404,
    "one%0a": 404,
    "%20": 404,
    "...": 404,
    "%252e%252e": 404,
    "%c3%bcn%c3%af": 404,
    "%ff%fe": 404,
    "%e2%80%ae": 404,
    "%ef%bc%8e%ef%bc%8e": 404,
    "~": 404,
    "$HOME": 404,
    "*": 404,
    "{env.HOME}": 404,
    "{file./etc/hostname}": 404,
}


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(("query", "status"), FOLDERS.items(), ids=lambda value: str(value)[:30])
def test_folders_that_a_query_names(
    server: Server, tenants: Tenants, query: str, status: int
) -> None:
    assert refused(server, tenants, "any", f"/name?q={query}") == status


@pytest.mark.conformance("T02")
def test_no_query_names_no_app(server: Server, tenants: Tenants) -> None:
    assert refused(server, tenants, "any", "/name") == 404


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "label",
    [
        "..",
        ".",
        "",
        "one.",
        "../outside/secret",
        "%2e%2e",
        "%2e%2e%2foutside%2fsecret",
        "/etc",
        "..\\outside\\secret",
        "one\x00",
        LONG,
        "none",
        "os",
        "ünï",
        "xn--n-vga",
        "one one",
        "*",
        "one:80",
        "{env.HOME}",
    ],
    ids=lambda label: repr(label[:30]),
)
def test_folders_that_a_host_names(server: Server, tenants: Tenants, label: str) -> None:
    refused(server, tenants, host(label))


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "authority",
    ["", "com", "example.com", "[::1]", "127.0.0.1", "a..b", "..", "...", ".a.b", "one"],
)
def test_hosts_with_too_few_labels(server: Server, tenants: Tenants, authority: str) -> None:
    refused(server, tenants, authority)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "authority",
    [
        "x.one.example.",
        "x.one.example.:80",
        "one.example.com.",
        "one..com",
        ".one.example",
        "one.a.b.c.",
    ],
)
def test_hosts_with_empty_labels_name_no_app(
    server: Server, tenants: Tenants, authority: str
) -> None:
    assert refused(server, tenants, authority) == 404


@pytest.mark.conformance("T02")
@pytest.mark.parametrize("label", ["..", "%2e%2e", "../outside/secret", LONG, "os", "", "a\\b"])
def test_folders_that_an_authority_of_http_2_names(
    server: Server, tenants: Tenants, label: str
) -> None:
    imported = tenants.noted("imported")
    with Connection2(server.port, host=host(label)) as connection:
        stream = connection.request("GET", "/name-by-host")
    assert stream.reset is not None or 400 <= (stream.status or 0) < 500
    assert tenants.noted("imported") == imported


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "target",
    [
        "/..",
        "/../outside/secret",
        "/%2e%2e/outside/secret",
        "/%2e%2e%2foutside%2fsecret",
        "/..%2foutside%2fsecret",
        "//outside",
        "/%2fetc",
        "/one%00",
        "/one%5c..",
        "/.",
        "/%2e",
        "/",
        f"/{LONG}",
        "/none",
        "/file.py",
        "/%ff",
        "*",
    ],
    ids=lambda target: target[:30],
)
def test_folders_that_a_path_names(server: Server, tenants: Tenants, target: str) -> None:
    refused(server, tenants, "any", target)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    ("value", "status"),
    [("..", 400), ("/etc", 400), ("../outside/secret", 400), ("a\\b", 400), ("none", 404)],
)
def test_folders_that_a_header_names(
    server: Server, tenants: Tenants, value: str, status: int
) -> None:
    headers = (f"X-Tenant: {value}",)
    assert refused(server, tenants, "any", "/x", headers=headers) == status


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "module",
    [
        *("os", "sys", "json", "html", "builtins", "__main__", "logging", "asyncio"),
        *(
            "_caddysnake",
            "caddysnake_py",
            "pip",
            "pytest",
            "flask",
            "os.path",
            "xml.dom",
            "one",
            "none",
        ),
        *("", ".main", "..main", "main.", "main..x", "/main", "main/x", "main-x", "1main"),
        *(
            "main%20",
            "main%0a",
            "MAIN",
            "m%c3%a4in",
            "%ff",
            "main:app%23",
            "main;x",
            "main%5c",
            "..%2fmain",
        ),
        *(LONG, "%2e%2e%2foutside%2fsecret%2fmain", "file", "main%5bapp%5d"),
    ],
    ids=lambda module: module[:30],
)
def test_modules_that_are_not_in_the_folder(server: Server, tenants: Tenants, module: str) -> None:
    assert refused(server, tenants, "any", f"/module?q={module}") == 404


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "module",
    [
        "main.x",
        "pack.none",
        "pack.sub.none",
        "pack.sub",
        "space.none",
        "space",
        "pack.mod.x",
        "linked.x",
    ],
)
def test_dotted_names_that_lead_nowhere_import_no_parent(
    server: Server, tenants: Tenants, module: str
) -> None:
    assert refused(server, tenants, "any", f"/dotted?q={module}") == 404


@pytest.mark.conformance("T02")
@pytest.mark.parametrize("module", ["pack.mod", "space.mod", "space.deep.mod"])
def test_dotted_names_that_lead_to_a_module(server: Server, module: str) -> None:
    assert ask(server, "any", f"/dotted?q={module}").status == 200


@pytest.mark.conformance("T02")
@pytest.mark.parametrize("module", ["main%00", "%00", "os%00"])
def test_modules_with_nul(server: Server, tenants: Tenants, module: str) -> None:
    assert refused(server, tenants, "any", f"/module?q={module}") in (400, 404)


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    "name",
    [
        *("os:system", "os:getcwd()", "subprocess:run", "html:escape", "builtins:exec", "main"),
        *("main:", ":app", "main:app:app", "main:app(1)", "main:app[0]", "main:app()()"),
        *("main :app", "os:system()"),
    ],
)
def test_apps_that_are_not_in_the_folder(server: Server, tenants: Tenants, name: str) -> None:
    assert refused(server, tenants, "any", f"/whole?q={name.replace(' ', '%20')}") == 404


@pytest.mark.conformance("T02")
@pytest.mark.parametrize(
    ("query", "status"),
    [("..%2fenv", 400), ("/etc/passwd", 400), ("x%00", 400), ("x%5cy", 400), ("none", 404)],
)
def test_env_files_that_a_query_names(
    server: Server, tenants: Tenants, query: str, status: int
) -> None:
    assert refused(server, tenants, "any", f"/env_file?q={query}") == status


@pytest.mark.conformance("T02")
def test_a_variable_with_nul_is_refused(server: Server, tenants: Tenants) -> None:
    assert refused(server, tenants, "any", "/value?q=a%00b") == 400


@pytest.mark.conformance("T02")
def test_a_variable_may_hold_anything_else(server: Server) -> None:
    for query, value in (("..", ".."), ("/a%5cb", "/a\\b"), ("%c3%bc=%20", "ü= ")):
        assert ask(server, "any", f"/value?q={query}").text == value


@pytest.mark.conformance("T02")
def test_links_lead_nowhere_out_of_what_is_fixed(server: Server, tenants: Tenants) -> None:
    assert refused(server, tenants, "linked") == 404
    assert refused(server, tenants, "any", "/name?q=linked") == 404


@pytest.mark.conformance("T02")
def test_links_that_stay_below_are_followed(server: Server) -> None:
    assert ask(server, "any", "/name?q=current").text == "one"  # where the link leads


# Many


def bogus(server: Server, requests: list[tuple[str, str]]) -> set[int]:
    """The statuses of requests for these hosts and targets, on one connection."""
    statuses = set()
    with server.connect() as connection:
        for authority, target in requests:
            connection.send(f"GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            statuses.add(connection.response().status)
    return statuses


@pytest.mark.conformance("T03")
def test_10_000_bogus_hosts_leave_nothing(server: Server, tenants: Tenants) -> None:
    imported = tenants.noted("imported")

    def hosts(count: int) -> list[tuple[str, str]]:
        return [(host(f"none{number}"), "/x") for number in range(count)]

    assert bogus(server, hosts(2000)) == {404}
    before = proc.rss(server.pid)
    threads = len(proc.thread_names(server.pid))
    descriptors = len(proc.descriptors(server.pid))
    begin = time.monotonic()
    assert bogus(server, hosts(10_000)) == {404}
    assert time.monotonic() - begin < 30, "some milliseconds each"
    assert proc.rss(server.pid) - before < 8 << 20
    assert len(proc.thread_names(server.pid)) <= threads + 4
    assert len(proc.descriptors(server.pid)) <= descriptors + 4
    assert tenants.noted("imported") == imported


@pytest.mark.conformance("T03")
def test_many_spellings_of_a_folder_leave_nothing(server: Server) -> None:
    def spellings(first: int, count: int) -> list[tuple[str, str]]:
        return [("any", f"/name?q=one{'/' * number}") for number in range(first, first + count)]

    bogus(server, spellings(0, 1000))
    before = proc.rss(server.pid)
    assert bogus(server, spellings(1000, 3000)) == {400}
    assert proc.rss(server.pid) - before < 8 << 20


def test_case_folding_is_for_hosts_only(server: Server) -> None:
    assert text(server, "ONE") == "one"
    assert ask(server, "any", "/name?q=ONE").status == 404
