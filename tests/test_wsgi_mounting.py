"""Where an app is mounted and what Caddy made of the path before: SCRIPT_NAME and PATH_INFO."""

from __future__ import annotations

import pytest

from harness.caddyfile import wsgi
from harness.environs import environ
from harness.plugin import Serve
from harness.server import Server

APP = wsgi("wsgi_request:app")


def site(*routes: str) -> str:
    return "\n".join([*routes, f"handle {{\n{APP}\n}}"])


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    return serve_module(
        site(
            f"handle_path /below/* {{\n{APP}\n}}",
            f"handle_path /exact* {{\n{APP}\n}}",
            f"handle_path /outer/* {{\nhandle_path /inner/* {{\n{APP}\n}}\n}}",
            f"handle_path /caf%C3%A9/* {{\n{APP}\n}}",
            f"handle /stripped* {{\nuri strip_prefix /stripped\n{APP}\n}}",
            f"handle /replaced/* {{\nrewrite * /new{{path}}?added=1&{{query}}\n{APP}\n}}",
            f"handle /suffix/* {{\nuri strip_suffix .html\n{APP}\n}}",
        ),
        probe="/",
    )


@pytest.mark.conformance("W06")
@pytest.mark.parametrize(
    ("target", "script", "path"),
    [
        ("/", "", "/"),
        ("/below/x/y", "/below", "/x/y"),
        ("/below/", "/below", "/"),
        ("/below/a%20b", "/below", "/a b"),
        ("/below/a%2Fb", "/below", "/a/b"),
        ("/below/below/x", "/below", "/below/x"),
        ("/BELOW/x", "/BELOW", "/x"),
        ("/%62elow/x", "/below", "/x"),
        ("/exact/x", "/exact", "/x"),
        ("/outer/inner/x", "/outer/inner", "/x"),
        ("/caf%C3%A9/%C3%A9", "/caf\u00c3\u00a9", "/\u00c3\u00a9"),
        ("/stripped/x?q=1", "/stripped", "/x"),
    ],
)
def test_what_caddy_strips_is_the_script_name_and_the_rest_the_path(
    server: Server, target: str, script: str, path: str
) -> None:
    found = environ(server.get(target))
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script, path)
    assert found["REQUEST_URI"] == target


@pytest.mark.conformance("W06")
@pytest.mark.parametrize("target", ["/exact", "/stripped", "/stripped?q=1"])
def test_a_request_for_the_prefix_itself_still_knows_its_script_name(
    server: Server, target: str
) -> None:
    """Caddy makes `/` of the empty rest, and PEP 3333 allows both."""
    found = environ(server.get(target))
    assert found["SCRIPT_NAME"] == target.partition("?")[0]
    assert found["PATH_INFO"] in ("", "/")


@pytest.mark.conformance("W06")
@pytest.mark.parametrize("rest", ["/a/../b", "/a/./b", "/./a/b"])
def test_dots_in_the_path_do_not_move_the_mount(server: Server, rest: str) -> None:
    """Caddy removes them where it strips a prefix; who asks must not get a say in SCRIPT_NAME."""
    found = environ(server.get(f"/below{rest}"))
    assert found["SCRIPT_NAME"] == "/below"
    assert found["REQUEST_URI"] == f"/below{rest}"


@pytest.mark.conformance("W06", "M08")
def test_a_rewritten_path_is_nobodys_script_name(server: Server) -> None:
    found = environ(server.get("/replaced/x?q=1"))
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/new/replaced/x")
    assert found["QUERY_STRING"] == "added=1&q=1"
    assert found["REQUEST_URI"] == "/replaced/x?q=1"


@pytest.mark.conformance("W06", "M08")
def test_a_stripped_suffix_is_no_script_name(server: Server) -> None:
    found = environ(server.get("/suffix/page.html"))
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/suffix/page")


@pytest.mark.conformance("W04")
@pytest.mark.parametrize(
    ("target", "path"),
    [("/a/../b;c=%7e?q=1&q=%zz", "/a/../b;c=~"), ("/./x", "/./x"), ("/x//y/", "/x//y/")],
)
def test_caddy_neither_cleans_nor_merges_the_path(server: Server, target: str, path: str) -> None:
    found = environ(server.get(target))
    assert found["PATH_INFO"] == path
    assert found["REQUEST_URI"] == found["RAW_URI"] == target


@pytest.mark.conformance("W04", "W17")
def test_a_target_in_absolute_form_names_host_and_path(server: Server) -> None:
    """RFC 9112 section 3.2.2: the target's host counts, not that of the Host header."""
    target = f"http://chosen.test:{server.port}/a%20b?q=1"
    found = environ(server.get(target))
    assert found["PATH_INFO"] == "/a b"
    assert found["QUERY_STRING"] == "q=1"
    assert found["HTTP_HOST"] == f"chosen.test:{server.port}"
    assert found["SERVER_NAME"] == "chosen.test"
    assert found["REQUEST_URI"] == target
