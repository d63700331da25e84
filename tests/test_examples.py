"""Each folder of examples/ does what its README says, and what its application is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from prometheus_client.parser import text_string_to_metric_families

from harness import http1
from harness.activation import activated
from harness.dynamic import ask
from harness.example import EXAMPLES, Example, Step, copy_example, steps_of
from harness.health import EXECUTORS, LATE_APPS, Slack
from harness.http1 import Response
from harness.plugin import Serve
from harness.ports import HOST
from harness.settings import BINARY, REPOSITORY, VENV
from harness.waiting import wait_for
from harness.websocket import WebSocket

FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

CONTAINERS = {"compose", "kubernetes"}
# The image has the packages in the server's own Python.
PACKAGES = {"PYTHONPATH": str(next(VENV.glob("lib/python3.*/site-packages")))}
OPTIONS: dict[str, dict[str, Any]] = {
    "compose": {"env": PACKAGES},
    "django": {"slack": EXECUTORS},
    "fastapi": {"slack": EXECUTORS},
    "kubernetes": {"env": PACKAGES, "slack": Slack(children=4, descriptors=40, threads=24)},
    "monitoring": {"slack": Slack(children=4, descriptors=40, threads=24)},
    "workers": {"slack": Slack(children=4, descriptors=40, threads=24)},
    "tenants-by-path": {"slack": LATE_APPS},
    "tenants-by-subdomain": {"slack": LATE_APPS},
    "tenants-with-autoreload": {"slack": LATE_APPS},
}


def serve_example(serve: Serve, name: str) -> Example:
    server = serve(name, kind=Example, **OPTIONS.get(name, {}))
    assert isinstance(server, Example)
    return server


@pytest.fixture
def example(request: pytest.FixtureRequest, serve: Serve) -> Example:
    """The one that the test's marker names."""
    marker = request.node.get_closest_marker("example")
    return serve_example(serve, *marker.args)


@pytest.fixture
def browser(example: Example) -> Iterator[httpx.Client]:
    """It keeps cookies and follows redirects."""
    base_url = f"http://localhost:{example.port}"
    options: dict[str, Any] = {"timeout": 30, "follow_redirects": True, "trust_env": False}
    with httpx.Client(base_url=base_url, **options) as client:
        yield client


# All of them


def test_every_folder_has_a_test_of_its_own() -> None:
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", [])]
    assert sorted({mark.args[0] for mark in marks if mark.name == "example"}) == FOLDERS


@pytest.mark.parametrize(
    ("written", "printed", "allowed"),
    [
        ("one\ntwo\n", "one\ntwo\n", True),
        ("one\ntwo\n", "one\ntwo", True),  # a shell shows the prompt behind it
        ("one\n", "one\ntwo\n", False),
        ("one\ntwo\n", "one\n", False),
        ('{"n":…}\n', '{"n":12}\n', True),
        ('{"n":…}\n', '{"n":1\n2}\n', False),
        ("one\n…\nfour\n", "one\ntwo\nthree\nfour\n", True),
        ("one\n…\n", "one\n", True),
        ("one\n…\nfour\n", "one\ntwo\nthree\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_is_compared_as_it_is_written(written: str, printed: str, allowed: bool) -> None:
    assert Step("", written).allows(printed) is allowed


@pytest.mark.parametrize("name", FOLDERS)
def test_the_commands_of_the_readme_print_what_it_says(serve: Serve, name: str) -> None:
    assert list(serve_example(serve, name).follow_readme())


@pytest.mark.parametrize("name", FOLDERS)
def test_the_readme_says_how_to_start_it_and_what_to_install(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text()
    example = "" if name == "hello" else f" EXAMPLE={name}"
    assert name in CONTAINERS or f"make run{example}" in text
    assert name in {*CONTAINERS, "hello"} or "pip install -r requirements.txt" in text
    assert any("curl" in step.command for step in steps_of(EXAMPLES / name / "README.md"))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_caddyfile_is_formatted_and_causes_no_warning(name: str) -> None:
    done = subprocess.run(
        [BINARY, "adapt"], cwd=EXAMPLES / name, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert '"level":"warn"' not in done.stderr


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/requirements.txt")), ids=str)
def test_the_packages_that_are_tried_are_those_of_the_readme(file: Path) -> None:
    for line in file.read_text().splitlines():
        requirement = Requirement(line)
        assert version(requirement.name) in requirement.specifier


def test_the_documentation_lists_every_folder() -> None:
    page = (REPOSITORY / "docs" / "examples.md").read_text()
    assert sorted(re.findall(r"^\| \[.+?\]\(\.\./examples/([\w-]+)\)", page, re.M)) == FOLDERS


# One by one


@pytest.mark.example("hello")
def test_hello_streams_its_countdown(example: Example) -> None:
    with example.connect() as connection:
        connection.request("GET", "/countdown")
        connection.head()
        assert list(connection.chunks())[:3] == [b"3\n", b"2\n", b"1\n"]


@pytest.mark.example("flask")
def test_the_page_of_flask_lists_links_that_lead_on(
    example: Example, browser: httpx.Client
) -> None:
    target = "http://127.0.0.1:1/?a=1&b=2"
    page = browser.post("/", data={"url": target})
    assert (page.status_code, len(page.history)) == (200, 1)
    assert "http://127.0.0.1:1/?a=1&amp;b=2" in page.text
    (short,) = re.findall(r'<a href="(.+)">', page.text)
    assert short == f"http://localhost:{example.port}/1"
    for _ in range(2):
        hop = browser.get(short, follow_redirects=False)
        assert (hop.status_code, hop.headers["Location"]) == (302, target)
    assert browser.get("/links").json()[0]["clicks"] == 2
    assert browser.get("/2").status_code == 404
    assert browser.post("/", data={"url": "javascript:alert(1)"}).status_code == 400


def submit(browser: httpx.Client, url: str, **fields: str) -> httpx.Response:
    """Fills in a form of Django's with the token that came with it."""
    form = browser.get(url)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token is not None, form.text
    data = {"csrfmiddlewaretoken": token[1], **fields}
    return browser.post(form.url, data=data, headers={"Referer": str(form.url)})


@pytest.mark.example("django")
def test_django_has_a_working_admin_with_static_files(
    example: Example, browser: httpx.Client
) -> None:
    for step in example.follow_readme():
        if "createsuperuser" in step.command:
            break
    manage = ".venv/bin/python manage.py"
    example.run(f"{manage} migrate --check && {manage} makemigrations --check")

    assert "add a book" in browser.get("/").text
    home = submit(browser, "/admin/", username="bob", password="hiccup")
    assert "Site administration" in home.text
    sheets = re.findall(r'<link rel="stylesheet" href="(/static/[^"]+)"', home.text)
    assert "/static/admin/css/base.css" in sheets
    for sheet in sheets:
        answer = browser.get(sheet)
        assert answer.status_code == 200
        assert answer.headers["ETag"]  # Caddy's own answer: Django would give none.
    book = {"title": "Emma", "author": "Jane Austen", "price": "9.90"}
    assert "was added successfully" in submit(browser, "/admin/books/book/add/", **book).text
    assert browser.get("/books.json").json() == {"books": [book]}
    assert "<b>Emma</b>" in browser.get("/").text
    assert browser.get("/", headers={"Host": "elsewhere.example"}).status_code == 400


@pytest.mark.example("fastapi")
def test_fastapi_validates_and_describes_itself(example: Example, browser: httpx.Client) -> None:
    stored = browser.post("/items", json={"name": "tea", "price": 4.5})
    assert stored.status_code == 201
    assert browser.get("/items/2").json() == stored.json()
    assert browser.get("/items/3").status_code == 404
    assert browser.post("/items", json={"name": "tea"}).status_code == 422
    assert set(browser.get("/openapi.json").json()["paths"]) == {
        "/items",
        "/items/{number}",
        "/upload",
    }
    assert "swagger" in browser.get("/docs").text


@pytest.mark.example("fastapi")
def test_fastapi_does_not_start_without_its_startup(example: Example) -> None:
    main = example.folder / "main.py"
    main.write_text(main.read_text().replace("    yield\n", "    1 / 0\n    yield\n"))
    done = example.validate()
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr


def heard(member: WebSocket) -> dict[str, Any]:
    return json.loads(member.receive().payload)


@pytest.mark.example("chat")
def test_members_of_the_chat_hear_each_other(example: Example) -> None:
    with WebSocket(example, "/chat/?name=Ada") as ada:
        assert heard(ada) == {"online": ["Ada"]}
        ada.text("Anybody here?")
        assert heard(ada) == {"from": "Ada", "text": "Anybody here?"}
        with WebSocket(example, "/chat/?name=Bob") as bob:
            assert heard(bob) == {"from": "Ada", "text": "Anybody here?"}
            assert heard(bob) == heard(ada) == {"online": ["Ada", "Bob"]}
            assert example.get("/chat/online").text == '["Ada","Bob"]'
            bob.text("  <b>Yes</b> ")
            assert heard(ada) == heard(bob) == {"from": "Bob", "text": "<b>Yes</b>"}
        assert heard(ada) == {"online": ["Ada"]}
        ada.text("x" * 5000)
        assert ada.receive().code == 1009
    with WebSocket(example, "/chat/?name=+") as nobody:
        assert nobody.refusal is not None
        assert nobody.refusal.status == 403


@pytest.mark.example("chat")
def test_the_page_of_the_chat_is_complete(example: Example) -> None:
    page = example.get("/")
    assert page.get("content-type") == "text/html; charset=utf-8"
    for file in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert example.get(f"/{file}").status == 200
    # Neither the code nor the configuration is in the public folder.
    assert example.get("/chat.py").status == example.get("/Caddyfile").status == 404


@pytest.mark.example("server-sent-events")
def test_each_event_is_sent_at_once_even_if_it_is_compressed(example: Example) -> None:
    # A step takes until the test says so.
    jobs = example.folder / "jobs.py"
    work = "while not os.path.exists(step):\n                await asyncio.sleep(0.01)"
    code = jobs.read_text().replace("await asyncio.sleep(0.5)", work)
    jobs.write_text(code.replace("import asyncio\n", "import asyncio\nimport os\n"))
    example.stop()
    example.start()

    events = json.loads(example.request("POST", "/jobs").body)["events"]
    with example.connect() as connection:
        connection.request("GET", events, [("Accept-Encoding", "gzip")])
        gzip = zlib.decompressobj(wbits=31)
        for number, step in enumerate(["fetch", "unpack", "convert", "store"], 1):
            (example.folder / step).touch()
            if number == 1:
                head = connection.head()
                assert head.get("content-type") == "text/event-stream; charset=utf-8"
                assert head.get("content-encoding") == "gzip"
                chunks = connection.chunks()
            event = ""
            while not event.endswith("\n\n"):
                event += gzip.decompress(next(chunks)).decode()
            assert event.startswith(f"id: {number}\ndata: {step} ({number}/4)\n\n")
    assert example.get("/jobs/2/events").status == 404
    assert "EventSource" in example.get("/").text


def site(example: Example, name: str, target: str = "/") -> Response:
    return ask(example, f"{name}.localhost:{example.port}", target)


@pytest.mark.example("tenants-by-subdomain")
def test_a_tenant_is_a_folder_and_nothing_else_is(example: Example) -> None:
    assert site(example, "shop").text == '{"coffee":3.2,"tea":2.8}\n'
    assert site(example, "SHOP").text == '{"coffee":3.2,"tea":2.8}\n'
    assert site(example, "news").status == 404
    blog = example.folder / "sites" / "blog"
    shutil.copytree(blog, blog.with_name("news"))
    assert site(example, "news").text == f"Welcome to news.localhost:{example.port}\n"
    # A folder beside `sites` has the module, too.
    shutil.copytree(blog, example.folder / "secret")
    for name in ("..", "", ".", "..%2fsecret", "../secret", "shop/../../secret", "%2e%2e"):
        assert site(example, name).status in {400, 404}, name
    assert len(example.log.find("^python app loaded$")) == 2  # `blog` was never asked


@pytest.mark.example("tenants-by-path")
def test_tenants_by_path_have_their_own_data_and_nobody_elses(example: Example) -> None:
    (example.folder / "secret.env").write_text("TITLE=secret\n")
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    for name in ("acme", "globex"):
        for number in (1, 2):
            body = f"text={name}+{number}".encode()
            added = example.request("POST", f"/{name}/", form, body)
            assert (added.status, added.text) == (201, f"/{name}/{number}\n")
        assert example.get(f"/{name}/2").text == f"{name} 2\n"
    paths = [
        "/../secret/",
        "/%2e%2e/secret/",
        "/..%2fsecret/",
        "/acme%2f..%2f..%2fsecret/",
        "/acme/../../secret/",
        "/tenants%2facme/",
        "/.env/",
        "//",
    ]
    for path in paths:
        assert example.get(path).status == 404, path
    assert len(example.log.find("^python app loaded$")) == 2


@pytest.mark.example("tenants-with-autoreload")
def test_an_edit_shows_up_and_disturbs_no_other_site(example: Example) -> None:
    assert "<h1>Hello from Ada</h1>" in site(example, "ada", "/page").text
    assert "<h1>Hello from Grace</h1>" in site(example, "grace", "/page").text
    page = example.folder / "sites" / "ada" / "templates" / "page.html"
    page.write_text("<h1>{{ greeting }}!</h1>")
    wait_for(
        lambda: site(example, "ada", "/page").text == "<h1>Hello from Ada!</h1>",
        lambda: f"the new page; {site(example, 'ada', '/page').text}",
    )
    main = page.parent.parent / "main.py"
    main.write_text("import nothing_of_this_name\n")
    example.allow_log("nothing_of_this_name|could not be loaded")
    html = ["Accept: text/html"]
    host = f"ada.localhost:{example.port}"
    wait_for(
        lambda: "nothing_of_this_name" in ask(example, host, "/page", html).text, "the traceback"
    )
    assert "<h1>Hello from Grace</h1>" in site(example, "grace", "/page").text
    shutil.copy(EXAMPLES / example.name / "sites" / "ada" / "main.py", main)
    wait_for(lambda: site(example, "ada", "/page").status == 200, "the mended page")


@pytest.mark.example("several-applications")
def test_several_applications_share_a_site(example: Example, browser: httpx.Client) -> None:
    assert browser.get("/wiki").text == browser.get("/wiki/start").text
    edited = browser.post("/wiki/tea", data={"text": "Best with milk"})
    assert str(edited.url).endswith("/wiki/tea")
    assert "Best with milk" in edited.text
    assert 'href="/wiki/start"' in edited.text
    assert "/api/openapi.json" in browser.get("/api/docs").text
    assert browser.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]
    for page in ("/", "/wiki/tea", "/nowhere"):
        assert '<link rel="stylesheet" href="/site.css">' in browser.get(page).text
    assert browser.get("/site.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert browser.get("/nowhere").status_code == 404
    # An application answers its own 404.
    assert browser.get("/api/nowhere").json() == {"detail": "Not Found"}


@pytest.mark.example("workers")
def test_workers_are_processes_and_one_that_dies_has_a_successor(example: Example) -> None:
    def ask_some(_: int) -> list[int]:
        def ask_one(_: int) -> int:
            return json.loads(example.get("/primes/100000").body)["worker"]

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(ask_one, range(8)))

    seen: set[int] = set()
    wait_for(lambda: seen.update(ask_some(0)) or len(seen) == 4, lambda: f"4 workers: {seen}", 30)
    victim = seen.pop()
    example.expect_app_log("worker")
    os.kill(victim, signal.SIGKILL)
    now: set[int] = set()
    wait_for(lambda: now.update(ask_some(0)) or len(now - {victim}) == 4, lambda: str(now), 30)
    assert seen <= now


@pytest.mark.example("authentication")
def test_the_diary_opens_to_its_user_only(example: Example, browser: httpx.Client) -> None:
    assert browser.get("/").text == "Everybody may read this.\n"
    for path in ("/diary", "/diary/", "//diary", "/%64iary", "/x/../diary", "/DIARY", "/%2fdiary"):
        assert example.get(path).status == 401, path
    assert browser.get("/diary", auth=("alice", "hiccup")).status_code == 401
    assert browser.post("/diary", data={"text": "mine"}).status_code == 401
    written = browser.post("/diary", data={"text": "mine"}, auth=("alice", "wonderland"))
    assert written.json() == {"user": "alice", "diary": ["mine"]}
    forged = {"Remote-User": "alice", "REMOTE_USER": "alice", "X-Remote-User": "alice"}
    bobs = browser.get("/diary", auth=("bob", "hiccup"), headers=forged)
    assert bobs.json() == {"user": "bob", "diary": []}


def end_takes_at_most(name: str) -> int:
    """By the documentation, if `grace_period` is 5 seconds or more."""
    match = re.search(r"^\tgrace_period (\d+)s$", (EXAMPLES / name / "Caddyfile").read_text(), re.M)
    assert match is not None
    return 2 * int(match[1]) + 25


def instructions(file: Path) -> list[tuple[str, str]]:
    return [(step["instruction"], step["value"]) for step in DockerfileParser(str(file)).structure]


@pytest.mark.example("compose")
def test_compose_agrees_with_the_images(example: Example) -> None:
    compose = yaml.safe_load((example.folder / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    base = dict(instructions(REPOSITORY))
    own = instructions(example.folder)
    assert ("FROM", "caddysnake") in own
    readme = (example.folder / "README.md").read_text()
    assert "docker build --tag caddysnake ../.." in readme

    (port,) = service["ports"]
    host, published, inside = port.split(":")
    assert (host, published) == ("127.0.0.1", "9080")
    assert inside in base["EXPOSE"].split()
    assert f"\n:{inside} {{\n" in (EXAMPLES / "compose" / "Caddyfile").read_text()

    volumes = dict(volume.split(":") for volume in service["volumes"])
    assert set(volumes) == set(compose["volumes"])
    data = service["environment"]["DATA"]
    # An engine gives a new volume the owner of the folder that the image has there.
    assert ("RUN", "mkdir data") in own
    assert data == f"{base['WORKDIR']}/data"
    assert set(volumes.values()) == {*base["VOLUME"].split(), data}
    assert int(service["stop_grace_period"].removesuffix("s")) > end_takes_at_most("compose")

    copied = [value.split() for name, value in own if name == "COPY"]
    assert {source for source, _ in copied} == {"Caddyfile", "guestbook.py", "requirements.txt"}
    assert dict(copied)["Caddyfile"] in base["CMD"]
    assert service["build"] == "."


@pytest.mark.example("compose")
def test_the_container_is_healthy_while_its_guestbook_can_be_read(example: Example) -> None:
    compose = yaml.safe_load((example.folder / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    url = service["environment"]["HEALTH_URL"].replace(":8080", f":{example.port}")
    check = [sys.executable, str(REPOSITORY / "packaging" / "docker" / "healthcheck.py")]
    env = {**os.environ, "HEALTH_URL": url}
    assert subprocess.run(check, env=env, timeout=30, capture_output=True).stdout == b"204\n"
    (example.folder / "guestbook.sqlite3").write_bytes(b"no database" * 1000)
    example.allow_log("file is not a database|handled request")
    assert subprocess.run(check, env=env, timeout=30, capture_output=True).returncode == 1


def scraped(port: int) -> dict[str, list[float]]:
    """The values of each metric."""
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(http1.request(port, "GET", "/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


@pytest.mark.example("monitoring")
def test_each_query_of_the_dashboard_has_data(example: Example) -> None:
    for target in ("/", "/live/stock"):
        assert example.get(target).status == 200
    dashboard = json.loads((example.folder / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for query in queries for name in re.findall(r"caddysnake_\w+", query)}
    assert len(names) >= 15
    assert {name for name in names if name not in scraped(example.port)} == set()
    by = {
        label
        for query in queries
        for part in re.findall(r"by \(([\w, ]+)\)", query)
        for label in part.split(", ")
    }
    assert by == {"app", "code", "le", "state"}


@pytest.mark.example("monitoring")
def test_requests_that_wait_are_seen(example: Example) -> None:
    with ThreadPoolExecutor(6) as pool:
        slow = [pool.submit(example.get, "/slow?seconds=3") for _ in range(6)]
        wait_for(lambda: sum(scraped(example.port)["caddysnake_queue_depth"]) == 2, "the queue")
        found = scraped(example.port)
        assert sum(found["caddysnake_busy_threads"]) == sum(found["caddysnake_threads"]) == 4
        assert {each.result().status for each in slow} == {200}


@pytest.mark.example("kubernetes")
def test_the_manifests_agree_with_the_caddyfile(example: Example) -> None:
    manifests = list(yaml.safe_load_all((example.folder / "site.yaml").read_text()))
    deployment, service, scaler = manifests
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    caddyfile = (EXAMPLES / "kubernetes" / "Caddyfile").read_text()
    assert re.findall(r"^:(\d+) \{$", caddyfile, re.M) == [str(port) for port in ports.values()]
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container[kind]["httpGet"]
        assert probe["port"] == "inner"
        assert http1.request(example.inner, "GET", probe["path"]).status == 200
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["inner"])
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels == pod["metadata"]["labels"] == service["spec"]["selector"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    delay = re.search(r"^\tshutdown_delay (\d+)s$", caddyfile, re.M)
    assert delay is not None
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    assert grace > end_takes_at_most("kubernetes") + int(delay[1])
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]

    rules = yaml.safe_load((example.folder / "adapter.yaml").read_text())["rules"]
    (metric,) = scaler["spec"]["metrics"]
    assert [rule["name"]["as"] for rule in rules] == [metric["pods"]["metric"]["name"]]
    example.get("/")
    names = set(re.findall(r"caddysnake_\w+", rules[0]["metricsQuery"]))
    assert names <= set(scraped(example.inner))


@pytest.mark.example("kubernetes")
def test_a_pod_that_ends_is_not_ready_but_answers(example: Example) -> None:
    os.kill(example.pid, signal.SIGTERM)

    def is_unready() -> bool:
        return http1.request(example.inner, "GET", "/ready").status == 503

    wait_for(is_unready, "the pod to say so")
    assert example.get("/").status == 200


class Service:
    """What systemd would do with the units: the command, its environment, socket, notifications."""

    def __init__(self, directory: Path) -> None:
        self.folder = copy_example("systemd", directory)
        unit = (self.folder / "guestbook.service").read_text()
        self.state, self.runtime = directory / "state", directory / "run"
        for folder in (self.state, self.runtime):
            folder.mkdir()
        for path, here in [
            ("/usr/local/bin/caddy", str(BINARY)),
            ("/srv/guestbook", str(self.folder)),
            ("/var/lib/guestbook", str(self.state)),
            ("/run/guestbook", str(self.runtime)),
        ]:
            assert path in unit
            unit = unit.replace(path, here)
        self.unit = directory / "guestbook.service"
        self.unit.write_text(unit)
        self.log = directory / "log"
        self.socket = socket.create_server((HOST, 0))
        self.port = self.socket.getsockname()[1]
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.settimeout(30)
        assigned = [pair for line in self.all("Environment") for pair in line.split()]
        self.env = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(directory / "notify"),
            "STATE_DIRECTORY": str(self.state),
            **dict(pair.split("=", 1) for pair in assigned),
        }

    def all(self, key: str) -> list[str]:
        lines = self.unit.read_text().splitlines()
        return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]

    def command(self, key: str) -> list[str]:
        (command,) = self.all(key)
        return command.split()

    @contextmanager
    def running(self) -> Iterator[None]:
        """From the service's start to its orderly end."""
        (folder,) = self.all("WorkingDirectory")
        command = activated(self.command("ExecStart"), [self.socket])
        with (
            self.log.open("ab") as output,
            subprocess.Popen(**command, stderr=output, cwd=folder, env=self.env) as process,
        ):
            try:
                self.await_notice("READY=1")
                yield
            finally:
                process.terminate()
            self.await_notice("STOPPING=1")
            assert process.wait(30) == 0, self.log.read_text()

    def reload(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("ExecReload"),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def await_notice(self, state: str) -> None:
        while state not in self.notices.recv(4096).decode().splitlines():
            pass

    def request(self, method: str, body: bytes | None = None) -> str:
        form = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
        return http1.request(self.port, method, "/", form, body).text

    def close(self) -> None:
        self.socket.close()
        self.notices.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path)) as service:
        yield service


@pytest.mark.example("systemd")
def test_the_units_are_in_order_and_agree(service: Service) -> None:
    units = service.unit.parent
    shutil.copy(service.folder / "guestbook.socket", units)
    if shutil.which("systemd-analyze"):
        for check in (
            ["verify", "guestbook.service", "guestbook.socket"],
            ["security", "--offline=true", "--threshold=20", "--no-pager", "guestbook.service"],
        ):
            done = subprocess.run(
                ["systemd-analyze", *check], cwd=units, capture_output=True, text=True, timeout=60
            )
            assert (done.returncode, done.stderr) == (0, "")
    text = (units / "guestbook.socket").read_text()
    assert re.findall(r"^Listen\w+=(.+)$", text, re.M) == [f"{HOST}:9080"]
    assert "ADDRESS=fd/3" in service.all("Environment")
    assert service.all("Type") == ["notify"]
    (limit,) = service.all("TimeoutStopSec")
    assert int(limit.removesuffix("s")) > end_takes_at_most("systemd")


@pytest.mark.example("systemd")
def test_the_unit_starts_reloads_and_stops_the_service(service: Service) -> None:
    with service.running():
        assert service.request("POST", b"name=Ada") == '["Ada"]\n'
        assert (service.state / "guestbook.sqlite3").is_file()
        # Nobody but the service's user can send it a configuration.
        assert (service.runtime / "admin.sock").stat().st_mode & 0o077 == 0

        module = service.folder / "guestbook.py"
        module.write_text(module.read_text().replace("return [name for", "return [2 for"))
        done = service.reload()
        assert done.returncode == 0, done.stderr
        service.await_notice("RELOADING=1")
        service.await_notice("READY=1")
        assert service.request("GET") == "[2]\n"

        module.write_text("1 / 0\n")
        done = service.reload()
        assert done.returncode != 0
        assert "ZeroDivisionError" in done.stderr
        assert service.request("GET") == "[2]\n"


@pytest.mark.example("systemd")
def test_clients_that_come_while_the_service_is_down_are_answered(service: Service) -> None:
    with ExitStack() as stack:

        def clients() -> list[http1.Connection]:
            """They have sent a request to a socket on which no service accepts connections."""
            made = [stack.enter_context(http1.Connection(service.port)) for _ in range(8)]
            for client in made:
                client.request("GET", "/")
            return made

        waiting = clients()
        with service.running():
            assert [client.response().text for client in waiting] == ["[]\n"] * 8
            service.request("POST", b"name=Ada")
        waiting = clients()
        with service.running():
            assert [client.response().text for client in waiting] == ['["Ada"]\n'] * 8
