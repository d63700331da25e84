"""Caddy's other handlers around an app, which change, replace or pass on what it says."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import pytest

from harness.caddyfile import asgi, wsgi
from harness.plugin import Serve
from harness.server import Server


@dataclass(frozen=True)
class App:
    """The blocks of the app, and of one that raises for every request."""

    block: str
    that_raises: str


WSGI = App(wsgi("wsgi_hygiene:app"), wsgi("wsgi_hygiene:raises"))
ASGI = App(
    asgi("asgi_hygiene:app", "lifespan off"), asgi("asgi_hygiene:always_raises", "lifespan off")
)


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    # At the baseline there are as many loops as any test has.
    return serve_module(ASGI.block, ASGI.that_raises)


@pytest.fixture(params=[WSGI, ASGI], ids=["wsgi", "asgi"])
def app(request: pytest.FixtureRequest) -> App:
    found: App = request.param
    return found


@pytest.mark.conformance("M08")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_compression_replaces_the_length(server: Server, app: App, method: str) -> None:
    server.configure(f"encode gzip\n{app.block}")
    for target in ("/long_text", "/nothing", "/hello"):
        response = server.request(method, target, [("Accept-Encoding", "gzip")])
        assert response.broken is None
        if target == "/long_text" and method == "GET":
            assert response.get("content-encoding") == "gzip"
            assert response.get("content-length") in (None, str(len(response.body)))
            assert gzip.decompress(response.body) == b"text" * 10_000
        assert response.status == (204 if target == "/nothing" else 200)


@pytest.mark.conformance("M08")
def test_header_directives_change_what_the_app_said(server: Server, app: App) -> None:
    server.configure(
        f"header >Content-Type text/x\nheader X-Added yes\nheader -Server\n{app.block}"
    )
    for target in ("/hello", "/lost"):
        response = server.get(target)
        assert (response.get("content-type"), response.get("x-added")) == ("text/x", "yes")
        assert response.get("server") is None


@pytest.mark.conformance("M08")
def test_error_routes_are_for_failures_and_not_for_the_apps_own_errors(
    server: Server, app: App
) -> None:
    server.configure(f'{app.block}\nhandle_errors {{\nrespond "sorry: {{err.status_code}}"\n}}')
    server.expect_failure_or_abort("planted: raises")
    assert server.get("/raises").text == "sorry: 500"
    response = server.get("/own_error")
    assert (response.status, response.text) == (503, "the app's own page")
    assert response.get("retry-after") == "7"
    assert server.get("/lost").text == "the app's own 404"


@pytest.mark.conformance("M08")
def test_an_app_may_make_the_error_page_of_another(server: Server, app: App) -> None:
    page = f"handle_errors {{\nrewrite * /error_page\n{app.block}\n}}"
    server.configure(f"{app.that_raises}\n{page}")
    server.expect_app_log("planted: raises", times=2)
    for body in (None, b"x" * 100_000):
        response = server.request("POST", "/any", (), body)
        assert (response.status, response.text) == (500, "an error page made by an app")


@pytest.mark.conformance("M08")
def test_intercept_replaces_responses_of_the_app(server: Server, app: App) -> None:
    # Caddy leaves the length of the original to whoever replaces it.
    replaced = 'header -Content-Length\nrespond "replaced" 410'
    routes = f"intercept {{\n@lost status 404\nhandle_response @lost {{\n{replaced}\n}}\n}}"
    server.configure(f"{routes}\n{app.block}")
    with server.connect() as connection:
        for target, status, text in [
            ("/lost", 410, "replaced"),
            ("/hello", 200, "hello"),
            ("/lost", 410, "replaced"),
        ]:
            connection.request("GET", target)
            response = connection.response()
            assert (response.status, response.text) == (status, text)


@pytest.mark.conformance("M08")
def test_templates_work_on_what_the_app_made(server: Server, app: App) -> None:
    server.configure(f"templates\n{app.block}")
    response = server.get("/templated")
    assert (response.status, response.text, response.broken) == (200, "1 + 2 = 3", None)


@pytest.mark.conformance("M08")
def test_matchers_and_fallbacks_share_a_site_with_the_app(server: Server, app: App) -> None:
    server.configure(f'respond /before "before"\nhandle /x* {{\n{app.block}\n}}\nrespond "after"')
    assert server.get("/before").text == "before"
    assert server.request("POST", "/x", (), b"app").text == "app"
    assert server.get("/other").text == "after"


@pytest.mark.conformance("M08")
def test_a_proxy_in_front_of_the_app_changes_nothing(server: Server, app: App) -> None:
    server.configure(f"reverse_proxy 127.0.0.1:{server.ports[1]}", app.block)
    with server.connect() as connection:
        for method, target, status, body in [
            ("GET", "/hello", 200, b"hello"),
            ("HEAD", "/long_text", 200, b""),
            ("GET", "/nothing", 204, b""),
            ("GET", "/own_error", 503, b"the app's own page"),
            ("GET", "/long_text", 200, b"text" * 10_000),
        ]:
            connection.request(method, target)
            response = connection.response()
            assert (response.status, response.body) == (status, body)
        connection.request("POST", "/x", (), [b"in ", b"pieces"])
        assert connection.response().text == "in pieces"
