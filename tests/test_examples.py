"""Each folder of examples/ does what its README says, and what its application is for.

Those that deploy an application are in test_examples_deployment.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement

from harness.dynamic import ask
from harness.example import EXAMPLES, Example, Step, steps_of
from harness.http1 import Response
from harness.settings import BINARY, REPOSITORY
from harness.waiting import wait_for
from harness.websocket import WebSocket

FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
CONTAINERS = {"compose", "kubernetes"}


@pytest.fixture
def browser(example: Example) -> Iterator[httpx.Client]:
    """It keeps cookies and follows redirects."""
    base_url = f"http://localhost:{example.port}"
    options: dict[str, Any] = {"timeout": 30, "follow_redirects": True, "trust_env": False}
    with httpx.Client(base_url=base_url, **options) as client:
        yield client


# All of them


def test_every_folder_has_a_test_of_its_own() -> None:
    files = Path(__file__).parent.glob("test_examples*.py")
    marks = [re.findall(r'^@pytest.mark.example\("(.+)"\)$', f.read_text(), re.M) for f in files]
    assert sorted({name for names in marks for name in names}) == FOLDERS


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
def test_the_commands_of_the_readme_print_what_it_says(
    serve_example: Callable[[str], Example], name: str
) -> None:
    assert list(serve_example(name).follow_readme())


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
