"""The command line: `python-server`, its short form, and what it says when something is wrong."""

from __future__ import annotations

import json
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import http1
from harness.python_server import PythonServer, run_in_vain
from harness.settings import APPS, BINARY, VENV
from harness.waiting import wait_for

SITE = APPS / "command_line"


def get_json(server: PythonServer, target: str = "/") -> Any:
    return json.loads(http1.request(server.port, "GET", target).body)


def test_the_short_form_serves_and_says_what_where_and_by_whom(tmp_path: Path) -> None:
    with PythonServer(tmp_path, "main:wsgi", cwd=SITE) as server:
        assert get_json(server, "/there")["path"] == "/there"
        assert f"Python {platform.python_version()})" in server.greeting
        assert "Caddy v2." in server.greeting
        assert "main:wsgi (WSGI)" in server.greeting
        assert server.greeting.endswith(f"http://127.0.0.1:{server.port}")


def test_an_asgi_app_is_detected(tmp_path: Path) -> None:
    with PythonServer(tmp_path, "python-server", "--app", "main:asgi", cwd=SITE) as server:
        assert http1.request(server.port, "GET", "/").text == "from ASGI"
        assert "main:asgi (ASGI)" in server.greeting


def test_a_given_interface_is_not_detected(tmp_path: Path) -> None:
    options = ["--server-type", "asgi", "--lifespan", "off"]
    with PythonServer(tmp_path, "main:asgi", *options, cwd=SITE) as server:
        assert "(ASGI)" in server.greeting


def test_the_options_reach_the_app(tmp_path: Path) -> None:
    env_file = tmp_path / "app.env"
    env_file.write_text("COLOR=teal\nSHAPE=square\n")
    options = ["--env-file", str(env_file), "--env-var", "SHAPE=round", "--threads", "3"]
    options += ["--working-dir", str(SITE), "--venv", sys.prefix]
    with PythonServer(tmp_path, "main:wsgi", *options, cwd=tmp_path) as server:
        seen = get_json(server)
        assert (seen["color"], seen["shape"], seen["prefix"]) == ("teal", "round", sys.prefix)


def test_an_activated_virtual_environment_is_used(tmp_path: Path) -> None:
    env = {"VIRTUAL_ENV": sys.prefix}
    with PythonServer(tmp_path, "main:wsgi", cwd=SITE, env=env) as server:
        assert get_json(server)["prefix"] == sys.prefix


def test_an_app_that_requests_name_has_no_interface_yet(tmp_path: Path) -> None:
    options = ["--working-dir", "/srv/{host}"]
    with PythonServer(tmp_path, "main:wsgi", *options, cwd=SITE) as server:
        assert "serves main:wsgi on http" in server.greeting


def test_requests_are_logged_on_demand(tmp_path: Path) -> None:
    with PythonServer(tmp_path, "main:wsgi", "--access-logs", cwd=SITE) as server:
        get_json(server, "/logged")
        wait_for(lambda: '"uri":"/logged"' in server.output, "the access log")


@pytest.mark.parametrize(("runtime", "workers"), [("process", 1), ("thread", 0)])
def test_runtimes_of_earlier_releases_still_mean_the_same(
    tmp_path: Path, runtime: str, workers: int
) -> None:
    with PythonServer(tmp_path, "main:wsgi", "--workers-runtime", runtime, cwd=SITE) as server:
        assert server.output.count('"workers":1') == workers


def test_saved_files_are_served_and_mistakes_are_shown(tmp_path: Path) -> None:
    code = (
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{}']\n"
    )
    main = tmp_path / "main.py"
    main.write_text(code.format("before"))
    with PythonServer(tmp_path, "main:app", "--autoreload", "--debug", cwd=tmp_path) as server:
        assert http1.request(server.port, "GET", "/").text == "before"
        main.write_text("planted = 1 / 0")
        wait_for(lambda: http1.request(server.port, "GET", "/").status == 500, "the failure")
        page = http1.request(server.port, "GET", "/", [("Accept", "text/html")])
        assert "ZeroDivisionError" in page.text
        main.write_text(code.format("after"))
        wait_for(lambda: http1.request(server.port, "GET", "/").text == "after", "the new code")


def test_the_admin_endpoint_is_there_on_demand_alone(tmp_path: Path) -> None:
    admin = tmp_path / "admin.sock"
    with PythonServer(tmp_path, "main:wsgi", "--admin", f"unix/{admin}", cwd=SITE):
        assert admin.is_socket()
    with PythonServer(tmp_path, "main:wsgi", cwd=SITE) as server:
        assert "admin endpoint disabled" in server.output


def test_metrics_are_those_of_the_app_too(tmp_path: Path) -> None:
    options = ["--metrics", "--admin", f"unix/{tmp_path / 'admin.sock'}"]
    environment = ["--env-var", f"NOTES={tmp_path}", "--venv", str(VENV)]
    site = APPS / "measured"
    with PythonServer(tmp_path, "measured:app", *options, *environment, cwd=site) as server:
        assert http1.request(server.port, "GET", "/").status == 200
        transport = httpx.HTTPTransport(uds=str(tmp_path / "admin.sock"))
        with httpx.Client(transport=transport) as client:
            text = client.get("http://localhost/metrics", headers={"Host": ""}).text
    assert 'planted_sizes_count{app="measured:app"} 1\n' in text
    assert 'caddysnake_apps{app="measured:app",state="loaded"} 1\n' in text


# Static files


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonServer]:
    directory = tmp_path_factory.mktemp("static")
    options = ["--static-path", "static", "--static-route", "/assets"]
    with PythonServer(directory, "main:wsgi", *options, cwd=SITE) as server:
        yield server


def test_static_files_come_with_an_etag_and_without_the_app(static: PythonServer) -> None:
    response = http1.request(static.port, "GET", "/assets/site.css")
    assert response.body == (SITE / "static" / "site.css").read_bytes()
    etag = response.get("ETag")
    assert etag
    again = http1.request(static.port, "GET", "/assets/site.css", [("If-None-Match", etag)])
    assert again.status == 304


def test_a_range_of_a_static_file_can_be_had(static: PythonServer) -> None:
    response = http1.request(static.port, "GET", "/assets/site.css", [("Range", "bytes=0-3")])
    assert (response.status, response.body) == (206, b"body")


def test_a_precompressed_static_file_is_preferred(static: PythonServer) -> None:
    headers = [("Accept-Encoding", "gzip")]
    response = http1.request(static.port, "GET", "/assets/site.css", headers)
    assert response.get("Content-Encoding") == "gzip"
    assert response.body == (SITE / "static" / "site.css.gz").read_bytes()


def test_a_missing_static_file_does_not_reach_the_app(static: PythonServer) -> None:
    assert http1.request(static.port, "GET", "/assets/absent.css").status == 404


def test_files_outside_of_the_directory_stay_there(static: PythonServer) -> None:
    for path in ("/assets/../main.py", "/assets/%2e%2e/main.py", "/assets//../../main.py"):
        assert b"import json" not in http1.request(static.port, "GET", path).body


def test_everything_else_reaches_the_app(static: PythonServer) -> None:
    assert get_json(static, "/assetsless")["path"] == "/assetsless"


# The end


def test_ctrl_c_lets_a_request_end(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    options = ["--env-var", f"GATE={gate}"]
    with PythonServer(tmp_path, "main:patient", *options, cwd=SITE) as server:
        with http1.Connection(server.port) as connection:
            connection.request("GET", "/")
            wait_for(Path(f"{gate}.waiting").exists, "the request")
            server.interrupt()
            wait_for(lambda: "shutting down" in server.output, "the end to begin")
            gate.touch()
            assert connection.response().text == "done"
        assert server.wait() == 0


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    options = ["--env-var", f"GATE={gate}"]
    with (
        PythonServer(tmp_path, "main:patient", *options, cwd=SITE) as server,
        http1.Connection(server.port) as connection,
    ):
        connection.request("GET", "/")
        wait_for(Path(f"{gate}.waiting").exists, "the request")
        server.interrupt()
        wait_for(lambda: "shutting down" in server.output, "the end to begin")
        server.interrupt()
        assert server.wait() == 2
        assert not gate.exists()


# Shells and the manual


def test_shells_complete_the_command_and_its_options() -> None:
    script = subprocess.run([BINARY, "completion", "bash"], capture_output=True, check=True).stdout
    subprocess.run(["bash", "-n"], input=script, check=True)
    # What the script asks for.
    for words, found in ((["python-"], "python-server"), (["python-server", "--li"], "--listen")):
        command = [BINARY, "__complete", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{found}\t") or f"\n{found}\t" in done.stdout


def test_the_manual_describes_the_command(tmp_path: Path) -> None:
    subprocess.run([BINARY, "manpage", "--directory", tmp_path], check=True)
    page = (tmp_path / "caddy-python-server.8").read_text()
    assert "\n$ caddy python-server main:app\n" in page
    assert "The application, as module:variable" in page


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["python-server"], "Error: which application? Name it as <module>:<variable>"),
        (["python-server", "main"], "Error: 'main' does not name an application"),
        (["main:wsgi", "--app", "main:asgi"], "Error: the application is given twice"),
        (["main:wsgi", "--bogus"], "Error: unknown flag: --bogus"),
        (["main:wsgi", "--server-type", "cgi"], "Error: --server-type must be wsgi or asgi"),
        (["main:wsgi", "--lifespan", "maybe"], "Error: lifespan must be one of"),
        (["main:wsgi", "--threads", "0"], "Error: --threads must be at least 1, not 0"),
        (["main:wsgi", "--workers", "many"], "Error: --workers must be auto or a number"),
        (["main:wsgi", "--workers-runtime", "magic"], "Error: --workers-runtime must be one of"),
        (["main:wsgi", "--env-var", "COLOR"], "Error: --env-var must be NAME=value, not 'COLOR'"),
        (["main.py"], "Error: 'main.py' does not name an application"),
        (["./main:wsgi"], "Error: './main:wsgi' does not name an application"),
        (["main:"], "Error: 'main:' does not name an application"),
        (["main:wsgi", "--domain", "a b"], "Error: --domain must be a host name"),
        (["main:wsgi", "--domain", "https://x.example"], "Error: --domain must be a host name"),
        (["main:wsgi", "--domain", "x.example:8443"], "Error: --domain must be a host name"),
        (["main:wsgi", "--listen", "127.0.0.1"], "Error: --listen 127.0.0.1: it has no port"),
        (["main:wsgi", "--metrics"], "Error: --metrics needs --admin"),
        (["main:wsgi", "--listen", "9080"], "Error: --listen 9080: it has no port; write it"),
        (["main:wsgi", "--static-path", "absent"], "Error: --static-path absent: no such dir"),
        (["main:wsgi", "--static-path", ".", "--static-route", "x"], "Error: --static-route must"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: list[str], message: str) -> None:
    error = run_in_vain(*arguments, cwd=SITE)
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_a_missing_variable_is_named_with_the_file_that_lacks_it() -> None:
    error = run_in_vain("main:absent", cwd=SITE)
    assert f"there is no 'absent' in {SITE / 'main.py'}" in error
    assert "Traceback" not in error


def test_an_app_that_does_not_load_ends_in_its_traceback() -> None:
    error = run_in_vain("broken:app", cwd=SITE)
    beginning = "Error: loading python app broken:app: Traceback (most recent call last):"
    assert error.startswith(beginning)
    assert error.rstrip().endswith("LookupError: no settings today")


def test_a_missing_module_is_named() -> None:
    error = run_in_vain("absent:app", cwd=SITE)
    assert error.startswith("Error: loading python app absent:app: absent:app: there is no module")
    assert "Traceback" not in error


def test_an_address_in_use_is_refused_rather_than_shared(tmp_path: Path) -> None:
    with PythonServer(tmp_path, "main:wsgi", cwd=SITE) as server:
        address = f"127.0.0.1:{server.port}"
        error = run_in_vain("main:wsgi", "--listen", address, cwd=SITE)
        assert f"another server listens on {address} already" in error


def test_a_unix_socket_in_use_is_refused_rather_than_taken_over(tmp_path: Path) -> None:
    address = f"unix/{tmp_path / 'app.sock'}"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "app.sock"))
        other.listen()
        error = run_in_vain("main:wsgi", "--listen", address, cwd=SITE)
        assert f"another server listens on {address} already" in error


def test_the_help_begins_with_python() -> None:
    done = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Caddy with Python in it")
    shown = re.findall(r"^\t\$ caddy (\w+)", done.stdout, re.MULTILINE)
    commands = set(re.findall(r"^  (\w[\w-]*) ", done.stdout, re.MULTILINE))
    assert (
        set(shown) - {"main", "status"} <= commands
    )  # short forms of python-server, python-status
    assert {"python-server", "python-status"} <= commands
