"""The standalone archive: `make test-archive` builds it and runs these.

It is unpacked, moved to a folder with spaces in its path, and used from there. What must not lean
on this machine's Python runs in a root without one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import pytest

from harness import http1
from harness.background import start_reload_and_stop
from harness.bare_root import BareRoot
from harness.caddyfile import python
from harness.plugin import Serve
from harness.python_server import PythonServer
from harness.settings import REPOSITORY
from harness.venvs import SITE, make_app_venv, serve_packaged

pytestmark = pytest.mark.timeout(600)

ARCHIVE = Path(os.environ["CADDYSNAKE_ARCHIVE"])
SEARCH_PATH = re.compile(r"^  (RPATH|RUNPATH) +(.*)$", re.MULTILINE)
# Modules that are left out, or that those are needed by.
LEFT_OUT = {"idlelib", "tkinter", "_tkinter", "turtle", "turtledemo", "readline", "_dbm", "_gdbm"}
LEFT_OUT |= {"crypt", "_crypt", "nis", "ossaudiodev", "pydoc_data"}


@dataclass(frozen=True)
class Bundle:
    """The archive's content at one place."""

    root: Path

    @property
    def caddy(self) -> str:
        return str(self.root / "bin" / "caddy")

    @property
    def python(self) -> str:
        return str(self.root / "bin" / "python3")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("archive")
    (directory / "first").mkdir()
    output("tar", "-xf", str(ARCHIVE), "-C", str(directory / "first"))
    [unpacked] = (directory / "first").iterdir()
    assert unpacked.name == ARCHIVE.name.removesuffix(".tar.xz")
    moved = directory / "a second place"
    unpacked.rename(moved)
    return Bundle(moved)


@pytest.fixture(scope="module")
def venv(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_app_venv(bundle.python, tmp_path_factory.mktemp("apps") / "venv")


@pytest.fixture(scope="module")
def bare(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> BareRoot:
    root = BareRoot(tmp_path_factory.mktemp("bare") / "root", bundle.root)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SITE, root.path / "srv" / "site", ignore=ignored)
    return root


def output(*command: str, **options: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def ask_standalone(server: PythonServer) -> dict[str, Any]:
    """What the app sees; everything in it must be of one Python."""
    answer = http1.request(server.port, "GET", "/", timeout=60)
    assert answer.status == 200, server.output
    seen: dict[str, Any] = json.loads(answer.body)
    assert set(seen["of_children"].values()) == {seen["prefix"]}
    assert seen["os"].startswith(seen["prefix"] + "/lib")
    assert re.fullmatch(re.escape(seen["prefix"]) + r"/bin/python3\.\d+", seen["executable"])
    return seen


def serve_standalone(launcher: Sequence[str], directory: Path, **options: Any) -> dict[str, Any]:
    options = {"cwd": SITE, **options}
    with PythonServer(directory, "standalone:app", launcher=launcher, **options) as server:
        return ask_standalone(server)


# What is in it


def test_the_checksum_is_that_of_the_archive() -> None:
    checksum, name = Path(f"{ARCHIVE}.sha256").read_text().split()
    assert name == ARCHIVE.name
    assert checksum == hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()


def test_files_belong_to_nobody_and_have_one_time() -> None:
    with tarfile.open(ARCHIVE) as tar:
        entries = tar.getmembers()
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, "root")}
    assert len({entry.mtime for entry in entries}) == 1
    assert [entry.name for entry in entries if entry.mode not in (0o755, 0o644)] == []


def test_the_version_is_that_of_the_archive(bundle: Bundle) -> None:
    version = ARCHIVE.name.split("-")[1]
    assert output(bundle.caddy, "version").startswith(f"caddysnake {version} v2.")


def files(bundle: Bundle) -> dict[Path, bytes]:
    paths = [path for path in bundle.root.rglob("*") if not path.is_symlink()]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def is_elf(content: bytes) -> bool:
    return content.startswith(b"\x7fELF")


def test_nothing_in_it_names_a_folder_of_the_machine_that_built_it(bundle: Bundle) -> None:
    contents = files(bundle)
    names = {str(REPOSITORY), sys.base_prefix} - {"/usr"}
    others = [path for path, content in contents.items() if not is_elf(content)]
    assert len(others) > 1000
    found = [(name, path) for name in names for path in others if name.encode() in contents[path]]
    assert found == []
    executables = [content for path, content in contents.items() if path.parent.name == "bin"]
    assert [name for name in names for content in executables if name.encode() in content] == []


def test_the_loader_finds_libraries_inside(bundle: Bundle) -> None:
    found = {}
    for path in (path for path, content in files(bundle).items() if is_elf(content)):
        listed = SEARCH_PATH.findall(output("objdump", "-p", str(path)))
        found[path] = [search_path for _, search_path in listed]
    assert len(found) > 40
    executables = {path for path in found if path.parent.name == "bin"}
    assert {tuple(found[path]) for path in executables} == {("$ORIGIN/../lib",)}
    assert {tuple(found[path]) for path in found.keys() - executables} == {()}


def test_licences_are_in_it(bundle: Bundle) -> None:
    assert "MIT License" in (bundle.root / "LICENSE").read_text()
    licenses = bundle.root / "licenses"
    assert "PYTHON SOFTWARE FOUNDATION" in (licenses / "python" / "LICENSE.txt").read_text()
    for module in ("go", "github.com/caddyserver/caddy/v2"):
        assert (licenses / "go" / module / "LICENSE").stat().st_size > 0
    libraries = {folder.name for folder in licenses.iterdir()}
    assert any(name.startswith(("libssl", "openssl")) for name in libraries)


# Where it runs


@pytest.mark.parametrize("env", [{}, {"PATH": ""}], ids=["", "without a PATH"])
def test_it_serves_from_where_it_was_moved_to(
    bundle: Bundle, tmp_path: Path, env: dict[str, str]
) -> None:
    seen = serve_standalone([bundle.caddy], tmp_path, env=env)
    assert seen["prefix"] == str(bundle.root)


def test_it_serves_through_a_symbolic_link(bundle: Bundle, tmp_path: Path) -> None:
    links = tmp_path / "bin"
    links.mkdir()
    (links / "caddy").symlink_to(bundle.caddy)
    (links / "again").symlink_to("caddy")
    path = f"{links}:{os.environ['PATH']}"
    seen = serve_standalone(["/usr/bin/env", "again"], tmp_path, env={"PATH": path})
    assert seen["prefix"] == str(bundle.root)


def test_the_environment_of_another_python_does_no_harm(bundle: Bundle, tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for library in (bundle.root / "lib").glob("*.so*"):
        (libraries / library.name).write_text("not for this Python")
    env = {"PYTHONHOME": "/home/of/another", "LD_LIBRARY_PATH": str(libraries)}
    seen = serve_standalone([bundle.caddy], tmp_path, env=env)
    assert seen["prefix"] == str(bundle.root)
    prefix = output(bundle.python, "-c", "import sys; print(sys.prefix)", env=env)
    assert prefix.strip() == str(bundle.root)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_code_0(bundle: Bundle, tmp_path: Path, number: int) -> None:
    with PythonServer(tmp_path, "main:asgi", cwd=SITE, launcher=[bundle.caddy]) as server:
        assert server.process is not None
        assert os.readlink(f"/proc/{server.process.pid}/exe") == bundle.caddy
        server.process.send_signal(number)
        assert server.wait() == 0


def test_start_reload_and_stop(bundle: Bundle, tmp_path: Path) -> None:
    start_reload_and_stop([bundle.caddy], tmp_path)


# Without a Python, on a file system that cannot be written

INSIDE = f"{BareRoot.PRODUCT}/bin"


def test_the_bare_root_is_bare(bare: BareRoot) -> None:
    assert list(bare.path.rglob("*python*")) == []
    bare.run("/bin/sh", "-c", "echo >file")
    for folder in (BareRoot.PRODUCT, f"{BareRoot.PRODUCT}/lib"):
        bare.run("/bin/sh", "-c", 'if echo >"$0/file"; then exit 1; fi', folder)


def test_without_a_python_it_serves(bare: BareRoot, tmp_path: Path) -> None:
    launcher = bare.command(f"{INSIDE}/caddy", cwd="/srv/site")
    with PythonServer(tmp_path, "standalone:app", cwd=Path("/"), launcher=launcher) as server:
        seen = ask_standalone(server)
        assert seen["prefix"] == BareRoot.PRODUCT
        assert seen["ssl"].startswith("OpenSSL ")
        server.interrupt()
        assert server.wait() == 0


def test_without_a_python_every_module_is_there(bare: BareRoot) -> None:
    code = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
missing = []
for name in sys.stdlib_module_names - {"antigravity", "this", "_ios_support", "msvcrt"}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing.append(f"{name}: {error}")
print("", json.dumps(missing), sep="\\n")
"""
    printed = bare.run(f"{INSIDE}/python3", "-c", code)
    missing = json.loads(printed.splitlines()[-1])
    windows_and_macos = re.compile(r"_?(winapi|winreg|winsound|nt|overlapped|scproxy|wmi|msi\w*):")
    unexpected = [
        line
        for line in missing
        if line.partition(":")[0] not in LEFT_OUT and not windows_and_macos.match(line)
    ]
    assert unexpected == []


def test_without_a_python_its_own_makes_environments_for_apps(
    bare: BareRoot, bundle: Bundle, tmp_path: Path
) -> None:
    wheels = bare.path / "srv" / "wheels"
    pip = [str(bundle.root / "bin" / "pip"), "--disable-pip-version-check", "--quiet"]
    requirements = ["fastapi==0.162.5", "numpy", "uvloop"]
    output(*pip, "download", "--only-binary=:all:", "--dest", str(wheels), *requirements)
    bare.run(f"{INSIDE}/python3", "-m", "venv", "/srv/venv")
    install = ["-m", "pip", "install", "--no-index", "--find-links", "/srv/wheels"]
    bare.run("/srv/venv/bin/python", *install, "fastapi", "numpy", "uvloop")
    (bare.path / "srv" / "site" / "api.py").write_text(
        "import fastapi, numpy, uvloop\n"
        "app = fastapi.FastAPI()\n"
        "@app.get('/{a}/{b}')\n"
        "def add(a: int, b: int):\n"
        "    return int(numpy.add(a, b))\n"
    )
    arguments = ["api:app", "--venv", "/srv/venv"]
    launcher = bare.command(f"{INSIDE}/caddy", cwd="/srv/site")
    with PythonServer(tmp_path, *arguments, cwd=Path("/"), launcher=launcher) as server:
        assert http1.request(server.port, "GET", "/2/3").text == "5"


CERTIFICATES = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"


@pytest.mark.parametrize(
    "place",
    [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ],
)
def test_the_systems_certificates_are_found(bare: BareRoot, place: str) -> None:
    command = [f"{INSIDE}/python3", "-c", CERTIFICATES]
    assert bare.run(*command) == "0\n"
    path = bare.path / place.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(certifi.where(), path)
    try:
        assert int(bare.run(*command)) > 100
        assert bare.run(*command, env={"SSL_CERT_FILE": "/absent"}) == "0\n"
    finally:
        path.unlink()


# With an environment that its own Python made


def test_an_app_on_an_environment_starts_processes_in_every_way(
    bundle: Bundle, venv: Path, tmp_path: Path
) -> None:
    seen = serve_packaged([bundle.caddy], venv, tmp_path)
    assert seen["executable"] == str(venv / "bin" / "python")


def test_sites_of_frameworks_are_served_and_reloaded(
    bundle: Bundle, venv: Path, serve: Serve
) -> None:
    flask = python("flask_app:app", folder="flask_site", venv=venv)
    fastapi = python("fastapi_app:app", interface="module_asgi", folder="fastapi_site", venv=venv)
    server = serve(flask, fastapi, launcher=[bundle.caddy])
    assert "Hello root" in http1.request(server.ports[0], "GET", "/?name=root").text
    assert http1.request(server.ports[1], "GET", "/").text == '{"greeting":"hello"}'
    done = server.reload(fastapi, flask)
    assert done.returncode == 0, done.stderr
    assert http1.request(server.ports[0], "GET", "/").text == '{"greeting":"hello"}'
    assert "Hello root" in http1.request(server.ports[1], "GET", "/?name=root").text


def test_pip_is_that_of_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    link = tmp_path / "pip"
    link.symlink_to(bundle.root / "bin" / "pip3")
    assert f"from {bundle.root}/" in output(str(link), "--version")
