"""WsgiDAV, a WebDAV server: methods of its own, XML both ways, locks, uploads, whole URLs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.caddyfile import wsgi
from harness.http1 import Header, Response
from harness.plugin import Serve
from harness.server import Server
from harness.ways import WAYS, ask

DAV = "{DAV:}"
LOCK = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>ada</D:owner></D:lockinfo>"
)
PROPPATCH = (
    b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:test"><D:set><D:prop>'
    b"<x:colour>blue</x:colour></D:prop></D:set></D:propertyupdate>"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dav")


@pytest.fixture(scope="module")
def server(serve_module: Serve, folder: Path) -> Server:
    app = wsgi("webdav_app:app", f"env_var DAV_FOLDER {folder}", folder="webdav_site")
    return serve_module(app, app, tls=True)


@pytest.fixture
def name(folder: Path, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own."""
    name = re.sub(r"\W", "-", request.node.name)
    (folder / name).mkdir()
    return name


def hrefs(response: Response) -> list[str]:
    assert (response.status, response.broken) == (207, None)
    return [str(found.text) for found in ElementTree.fromstring(response.body).iter(f"{DAV}href")]


def base(server: Server, way: str) -> str:
    tls = way.endswith("TLS")
    return f"http{'s' if tls else ''}://127.0.0.1:{server.ports[0 if tls else 1]}"


@pytest.mark.conformance("M09")
def test_options_tells_what_it_can_do(server: Server) -> None:
    response = server.request("OPTIONS", "/")
    assert response.status == 200
    assert "1,2" in (response.get("dav") or "")


@pytest.mark.conformance("M09", "W03", "W17")
@pytest.mark.parametrize("way", WAYS)
def test_files_are_put_listed_moved_copied_and_deleted(
    server: Server, folder: Path, name: str, way: str
) -> None:
    def do(method: str, target: str, headers: list[Header], body: bytes | None = None) -> Response:
        return ask(server, way, method, f"/{name}/{target}", headers, body)

    assert do("PUT", "a%20file.txt", [], b"content").status == 201
    assert do("GET", "a%20file.txt", []).body == b"content"
    assert do("PUT", "a%20file.txt", [], b"changed").status == 204
    assert do("MKCOL", "sub", []).status == 201
    assert do("MKCOL", "sub", []).status == 405
    url = f"{base(server, way)}/{name}"
    moved = do("MOVE", "a%20file.txt", [("Destination", f"{url}/sub/caf%C3%A9.txt")])
    assert moved.status == 201
    assert (folder / name / "sub" / "caf\u00e9.txt").read_bytes() == b"changed"
    assert do("GET", "a%20file.txt", []).status == 404
    assert do("COPY", "sub/caf%C3%A9.txt", [("Destination", f"{url}/copy.txt")]).status == 201
    listed = hrefs(do("PROPFIND", "", [("Depth", "1")]))
    assert sorted(listed) == [f"/{name}/", f"/{name}/copy.txt", f"/{name}/sub/"]
    assert hrefs(do("PROPFIND", "sub/", [("Depth", "1")]))[-1] == f"/{name}/sub/caf%C3%A9.txt"
    assert do("DELETE", "sub", []).status == 204
    assert [path.name for path in (folder / name).iterdir()] == ["copy.txt"]


@pytest.mark.conformance("M09")
@pytest.mark.parametrize("way", WAYS)
def test_a_locked_file_is_kept_from_others(
    server: Server, folder: Path, name: str, way: str
) -> None:
    target = f"/{name}/locked.txt"
    assert ask(server, way, "PUT", target, (), b"first").status == 201
    headers = [("Timeout", "Second-60"), ("Depth", "0"), ("Content-Type", "application/xml")]
    locked = ask(server, way, "LOCK", target, headers, LOCK)
    assert locked.status == 200
    token = locked.get("lock-token")
    assert token is not None
    assert ask(server, way, "PUT", target, (), b"intruder").status == 423
    assert ask(server, way, "DELETE", target).status == 423
    assert ask(server, way, "PUT", target, [("If", f"({token})")], b"owner").status == 204
    assert ask(server, way, "UNLOCK", target, [("Lock-Token", token)]).status == 204
    assert ask(server, way, "PUT", target, (), b"anybody").status == 204
    assert (folder / name / "locked.txt").read_bytes() == b"anybody"


@pytest.mark.conformance("M09")
def test_properties_are_set_and_found(server: Server, name: str) -> None:
    target = f"/{name}/"
    assert server.request("PROPPATCH", target, (), PROPPATCH).status == 207
    found = server.request("PROPFIND", target, [("Depth", "0")])
    assert "blue" in found.text


@pytest.mark.conformance("W06", "W17")
def test_under_a_prefix_all_urls_have_it(serve: Serve, folder: Path, name: str) -> None:
    settings = [f"env_var DAV_FOLDER {folder}", "env_var DAV_MOUNT /mounted"]
    app = wsgi("webdav_app:app", *settings, folder="webdav_site")
    server = serve(f"handle_path /mounted/* {{\n{app}\n}}")
    url = f"http://127.0.0.1:{server.port}/mounted/{name}"
    assert server.request("PUT", f"/mounted/{name}/a.txt", (), b"content").status == 201
    destination = [("Destination", f"{url}/b.txt")]
    assert server.request("MOVE", f"/mounted/{name}/a.txt", destination).status == 201
    assert (folder / name / "b.txt").read_bytes() == b"content"
    listed = hrefs(server.request("PROPFIND", f"/mounted/{name}/", [("Depth", "1")]))
    assert sorted(listed) == [f"/mounted/{name}/", f"/mounted/{name}/b.txt"]


@pytest.mark.conformance("I08", "S28", "S18")
@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_large_file_comes_back_as_it_went(server: Server, name: str, framing: str) -> None:
    data = os.urandom(5_000_000)
    pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
    body = data if framing == "sized" else pieces
    assert server.request("PUT", f"/{name}/large", (), body).status == 201
    assert server.get(f"/{name}/large").body == data
    part = server.get(f"/{name}/large", [("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (206, data[1000:2000])
    head = server.request("HEAD", f"/{name}/large")
    assert (head.body, head.get("content-length")) == (b"", "5000000")
