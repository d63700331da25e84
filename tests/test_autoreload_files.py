"""Autoreload: which changes of files are seen, and how often they cause a reload (T08)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.plugin import Serve
from harness.server import Server
from harness.source import ASGI, EAGER, WSGI, Source, await_reloads, await_version, put, reloads

pytestmark = pytest.mark.conformance("T08")

# With the usual debounce, for what is not done at once.
PATIENT: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def server(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    # At the baseline it has an app with a loop.
    return serve_module(Source(tmp_path_factory.mktemp("site"), ASGI).block())


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "site")


def sees_nothing_of(server: Server, source: Source) -> None:
    """Whatever was done before has caused no reload: the next one is caused by this edit alone."""
    before = len(reloads(server))
    source.write("seen")
    record = await_reloads(server, before + 1)
    assert (record.fields["changed"], record.fields["files"]) == ("edited.py", 1)
    assert len(reloads(server)) == before + 1


def rename_over(source: Source) -> None:
    source.write("2")


def in_place(source: Source) -> None:
    source.main.write_text(source.code("2"))


def like_vim(source: Source) -> None:
    os.rename(source.main, source.folder / "edited.py~")
    source.write("2")
    (source.folder / "edited.py~").unlink()


def by_sed(source: Source) -> None:
    subprocess.run(["sed", "-i", "s/'1'/'2'/", source.main], check=True)


def delete_and_write(source: Source) -> None:
    source.main.unlink()
    source.write("2")


@pytest.mark.smoke
@pytest.mark.parametrize("template", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("edit", [in_place, rename_over, like_vim, by_sed, delete_and_write])
def test_editors(server: Server, tmp_path: Path, template: str, edit: object) -> None:
    source = Source(tmp_path / "site", template)
    server.configure(source.block(autoreload=PATIENT))
    before = len(reloads(server))
    assert server.get("/").text == "1"
    edit(source)  # type: ignore[operator]
    await_version(server, "2")
    record = await_reloads(server, before + 1)
    assert record.fields["app"] == "edited:app"
    assert record.fields["changed"] == "edited.py"
    assert record.fields["duration"] > 0


def test_twenty_rapid_edits_cause_one_reload(serve: Serve, source: Source) -> None:
    server = serve(source.block(autoreload=("debounce 1s",)))
    for number in range(20):
        source.write(f"edit {number}")
    await_version(server, "edit 19")
    assert len(reloads(server)) == 1
    sees_nothing_of(server, source)


def test_edits_of_the_same_length_within_a_second(serve: Serve, source: Source) -> None:
    """Python takes bytecode for that of the source when seconds and sizes are the same."""
    server = serve(source.block())
    for version in "23456789":
        source.write(version)
        await_version(server, version)


def test_a_new_package_and_what_is_edited_in_it(serve: Serve, source: Source) -> None:
    server = serve(source.block())
    package = source.folder / "package" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("VERSION = 'new package'\n")
    put(source.main, source.code("").replace("VERSION = ''", "from package.inner import VERSION"))
    await_version(server, "new package")
    put(package / "__init__.py", "VERSION = 'edited in it'\n")
    await_version(server, "edited in it")


def test_a_package_that_is_moved_in_and_out(serve: Serve, source: Source, tmp_path: Path) -> None:
    server = serve(source.block())
    put(
        source.main,
        source.code("").replace(
            "VERSION = ''",
            "try:\n    from moved import VERSION\nexcept ImportError:\n    VERSION = 'none'",
        ),
    )
    await_version(server, "none")
    outside = tmp_path / "moved"
    outside.mkdir()
    (outside / "__init__.py").write_text("VERSION = 'moved in'\n")
    outside.rename(source.folder / "moved")
    await_version(server, "moved in")
    (source.folder / "moved").rename(outside)
    await_version(server, "none")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_checkout_of_five_hundred_files(serve: Serve, source: Source) -> None:
    many = source.folder / "many"
    for branch in ("one", "two"):
        for number in range(500):
            file = many / f"package_{number % 20}" / f"module_{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"BRANCH = {branch!r}\n")
        source.write(branch)
        if branch == "one":
            git(source.folder, "init", "-q", "-b", "one")
        else:
            git(source.folder, "checkout", "-q", "-b", "two")
        git(source.folder, "add", ".")
        git(source.folder, "commit", "-q", "-m", branch)
    git(source.folder, "checkout", "-q", "one")
    server = serve(source.block(autoreload=("debounce 1s",)))
    git(source.folder, "checkout", "-q", "two")
    await_version(server, "two")
    assert await_reloads(server, 1).fields["files"] == 501
    assert len(reloads(server)) == 1


@pytest.mark.parametrize("parents", [0, 1, 2])
def test_a_directory_that_is_deleted_and_created_again(
    serve: Serve, tmp_path: Path, parents: int
) -> None:
    source = Source(tmp_path / "a" / "b" / "site")
    server = serve(source.block())
    server.allow_log(".")  # A reload may begin while nothing is there.
    gone = [source.folder, *source.folder.parents][parents]
    shutil.rmtree(gone)
    source.folder.mkdir(parents=True)
    source.write("again")
    await_version(server, "again")
    source.write("and edited")
    await_version(server, "and edited")


def test_a_directory_that_another_takes_the_place_of(
    serve: Serve, source: Source, tmp_path: Path
) -> None:
    server = serve(source.block())
    server.allow_log(".")
    Source(tmp_path / "next").write("next")
    source.folder.rename(tmp_path / "last")
    (tmp_path / "next").rename(source.folder)
    await_version(server, "next")
    source.write("edited")
    await_version(server, "edited")
    (tmp_path / "last" / "edited.py").write_text("no code")
    sees_nothing_of(server, source)


@pytest.mark.parametrize("parents", [0, 1, 2])
def test_a_release_that_is_renamed_into_place(serve: Serve, tmp_path: Path, parents: int) -> None:
    current, following = (Source(tmp_path / name / "src" / "site") for name in ("now", "next"))
    following.write("next release")
    server = serve(current.block())
    server.allow_log(".")  # A reload may begin while nothing is there.
    old, new = ([each.folder, *each.folder.parents][parents] for each in (current, following))
    old.rename(tmp_path / "last")
    new.rename(old)
    await_version(server, "next release")
    current.write("and edited")
    await_version(server, "and edited")


@pytest.mark.smoke
@pytest.mark.parametrize("below", ["", "app"])
def test_a_link_that_is_pointed_elsewhere(serve: Serve, tmp_path: Path, below: str) -> None:
    first, second = (Source(tmp_path / "releases" / name / below) for name in ("1", "2"))
    second.write("second")
    link = tmp_path / "current"
    link.symlink_to("releases/1")
    server = serve(first.block(folder=str(link / below)))
    first.write("edited behind the link")
    await_version(server, "edited behind the link")
    new = tmp_path / "new"
    new.symlink_to(tmp_path / "releases" / "2")
    new.rename(link)
    await_version(server, "second")
    second.write("edited behind the new link")
    await_version(server, "edited behind the new link")
    first.write("nobody looks")
    sees_nothing_of(server, second)


def test_a_linked_package(serve: Serve, source: Source, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").write_text("VERSION = 'linked'\n")
    (source.folder / "linked").symlink_to(tmp_path / "elsewhere")
    (source.folder / "loop").symlink_to(source.folder)
    put(source.main, source.code("").replace("VERSION = ''", "from linked import VERSION"))
    server = serve(source.block())
    assert server.get("/").text == "linked"
    put(tmp_path / "elsewhere" / "__init__.py", "VERSION = 'edited'\n")
    await_version(server, "edited")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").write_text("VERSION = 'pointed elsewhere'\n")
    (source.folder / "new").symlink_to(tmp_path / "other")
    (source.folder / "new").rename(source.folder / "linked")
    await_version(server, "pointed elsewhere")


def test_a_linked_file(serve: Serve, source: Source, tmp_path: Path) -> None:
    source.main.rename(tmp_path / "elsewhere.py")
    source.main.symlink_to(tmp_path / "elsewhere.py")
    server = serve(source.block(autoreload=PATIENT))
    (tmp_path / "elsewhere.py").write_text(source.code("2"))
    await_version(server, "2")
    assert await_reloads(server, 1).fields["changed"] == "edited.py"


IGNORED = [
    "notes.txt",
    "template.html",
    ".hidden.py",
    ".#edited.py",
    "edited.pyc",
    "__pycache__/edited.cpython-313.pyc",
    "__pycache__/odd.py",
    ".git/hook.py",
    ".idea/x.py",
    "node_modules/tool/gyp.py",
    ".venv/lib/x.py",
    "an_environment/lib/python3/x.py",
    "lib/python3/site-packages/x.py",
    "generated/x.py",
    "deep/inside/generated/x.py",
    "deep/inside/skipped.py",
    "tools/build/x.py",
]


@pytest.mark.smoke
@pytest.mark.parametrize("exists", [True, False], ids=["existing", "new"])
def test_what_is_ignored(serve: Serve, source: Source, exists: bool) -> None:
    environment = source.folder / "an_environment"
    exclude = "exclude generated skipped.py tools/**/x.py"

    def write_all() -> None:
        environment.mkdir(exist_ok=True)
        (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
        for name in IGNORED:
            (source.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (source.folder / name).write_text("x")

    if exists:
        write_all()
    server = serve(source.block(autoreload=(*EAGER, exclude)))
    write_all()
    os.utime(source.main)
    source.main.chmod(0o640)
    sees_nothing_of(server, source)


@pytest.mark.parametrize("name", ["page.html", "deep/inside/page.html", ".env", "conf/x/y/a.toml"])
def test_what_is_included(serve: Serve, source: Source, name: str) -> None:
    (source.folder / "deep" / "inside").mkdir(parents=True)
    (source.folder / "conf" / "x" / "y").mkdir(parents=True)
    server = serve(
        source.block(autoreload=(*EAGER, "include *.html .env", "include conf/**/*.toml"))
    )
    (source.folder / name).write_text("changed")
    assert await_reloads(server, 1).fields["changed"] == name


def test_two_apps_in_different_directories(serve: Serve, tmp_path: Path) -> None:
    one, two = Source(tmp_path / "one"), Source(tmp_path / "two")
    server = serve(f"handle /two {{\n{two.block()}\n}}\nhandle {{\n{one.block()}\n}}")
    one.write("only one")
    await_version(server, "only one")
    assert len(reloads(server)) == 1
    assert server.get("/two").text == "1"
    two.write("now two")
    await_version(server, "now two", "/two")
    assert len(reloads(server)) == 2
    assert server.get("/").text == "only one"


def test_identical_blocks_are_one_app_and_one_reload(serve: Serve, source: Source) -> None:
    block = source.block()
    server = serve(f"handle /two {{\n{block}\n}}\nhandle {{\n{block}\n}}")
    source.write("2")
    await_version(server, "2")
    assert server.get("/two").text == "2"
    sees_nothing_of(server, source)


def test_nothing_is_watched_for_an_app_that_is_gone(serve: Serve, source: Source) -> None:
    server = serve(source.block())
    assert server.load('respond "nothing here"').status == 200
    put(source.main, "broken(")
    server.allow_log(".")
    assert server.load(source.block()).status == 400
    source.write("2")
    assert server.load(source.block()).status == 200
    sees_nothing_of(server, source)
