"""What an application learns about the Python that it runs on is what that Python says itself."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from harness.caddyfile import python
from harness.plugin import Serve
from harness.settings import VENV
from harness.tenants import write

QUESTIONS = {
    "sys.path": "sys.path[1:]",
    "sys.prefix": "sys.prefix",
    "sys.exec_prefix": "sys.exec_prefix",
    "sys.base_prefix": "sys.base_prefix",
    "sys.base_exec_prefix": "sys.base_exec_prefix",
    "sys.executable": "sys.executable",
    "sys.platlibdir": "sys.platlibdir",
    "len(sys.argv)": "len(sys.argv)",
    "sysconfig.get_paths": "sysconfig.get_paths()",
    "sysconfig.get_path": "sysconfig.get_path('scripts')",
    "sysconfig.get_path, another scheme": "sysconfig.get_path('purelib', 'posix_home')",
    "sysconfig.get_default_scheme": "sysconfig.get_default_scheme()",
    "sysconfig.get_preferred_scheme": "sysconfig.get_preferred_scheme('prefix')",
    "sysconfig.get_config_vars": "{name: value for name, value in sysconfig.get_config_vars()"
    ".items() if isinstance(value, str) and 'prefix' in name or 'base' in name}",
    "sysconfig.get_config_var": "sysconfig.get_config_var('base')",
    "sysconfig.get_platform": "sysconfig.get_platform()",
    "site.getsitepackages": "site.getsitepackages()",
    "site.getusersitepackages": "site.getusersitepackages()",
    "site.PREFIXES": "site.PREFIXES",
    "site.ENABLE_USER_SITE": "site.ENABLE_USER_SITE",
    "shutil.which": "[shutil.which(name) for name in ('tool-of-mine', 'sh', 'pip')]",
    "tempfile.gettempdir": "tempfile.gettempdir()",
    "os.path.expanduser": "os.path.expanduser('~')",
    "importlib.metadata.distributions": "sorted(each.metadata['Name'] for each in distributions())",
    "importlib.metadata.version": "version('anyone')",
    "importlib.resources": "files('anyone').joinpath('data.txt').read_text()",
    "importlib.util.find_spec": "importlib.util.find_spec('anyone').origin",
    "a module of the host alone": "importlib.util.find_spec('pip') is None",
    "pkgutil.get_data": "pkgutil.get_data('anyone', 'data.txt').decode()",
    "pkgutil.iter_modules": "sorted(each.name for each in pkgutil.iter_modules())",
    "PYTHONPATH": "common.NAME",
    "PYTHONPATH before the standard library": "colorsys.NAME",
    "PYTHONPATH, a zip file": "zipped.NAME",
    "pickle": "pickle.loads(pickle.dumps(Settings('x'))).name",
    "inspect.getfile": "os.path.basename(inspect.getfile(Settings))",
    "inspect.getmodule": "inspect.getmodule(frame()).__name__",
    "__main__ has a file": "hasattr(sys.modules['__main__'], '__file__')",
}
ANSWERS = """
import json
import colorsys, common, zipped
import importlib.util, inspect, os, pickle, pkgutil, shutil, site, sys, sysconfig, tempfile
from importlib.metadata import distributions, version
from importlib.resources import files

class Settings:
    def __init__(self, name):
        self.name = name

def frame():
    return inspect.currentframe()

def answers():
    with open(os.path.join(os.path.dirname(__file__), "questions.json")) as file:
        return json.dumps({name: eval(question) for name, question in json.load(file).items()})
"""
MAIN = """
import answers

def app(environ, start_response):
    start_response("200 OK", [])
    return [answers.answers().encode()]

if __name__ == "__main__":
    print(answers.answers())
"""


def make_environment(folder: Path, *options: str) -> Path:
    """A virtual environment with a package that the host does not have."""
    base = subprocess.run(
        [VENV / "bin" / "python", "-c", "import sys; print(sys._base_executable)"],
        check=True,
        capture_output=True,
        text=True,
    )
    command = [base.stdout.strip(), "-m", "venv", "--without-pip", *options, str(folder)]
    subprocess.run(command, check=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    metadata = "Metadata-Version: 2.1\nName: anyone\nVersion: 1.5\n"
    files = {"anyone-1.5.dist-info/METADATA": metadata, "anyone/data.txt": "text"}
    write(packages, {**files, "anyone/__init__.py": "", "behind.pth": f"{folder / 'behind'}\n"})
    write(folder / "behind", {"linked.py": ""})
    return folder


@pytest.mark.not_emulated("asks the Python of pytest for the right answers")
@pytest.mark.smoke
@pytest.mark.parametrize("options", [(), ("--system-site-packages",)], ids=["alone", "with host"])
def test_the_answers_are_those_of_the_environments_own_python(
    serve: Serve, tmp_path: Path, options: tuple[str, ...]
) -> None:
    venv = make_environment(tmp_path / "venv", *options)
    files = {"main.py": MAIN, "answers.py": ANSWERS, "questions.json": json.dumps(QUESTIONS)}
    write(tmp_path / "site", files)
    write(tmp_path / "shared", {"common.py": "NAME = 'shared'", "colorsys.py": "NAME = 'mine'"})
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("zipped.py", "NAME = 'zipped'")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool-of-mine").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "tool-of-mine").chmod(0o755)
    paths = f"{tmp_path / 'shared'}:{tmp_path / 'archive.zip'}:{tmp_path / 'absent'}"
    of_app = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "bin")}
    variables = [f"env_var {name} {value}" for name, value in of_app.items()]
    server = serve(
        python("main:app", *variables, folder=tmp_path / "site", venv=venv),
        env={"PYTHONPATH": paths},
    )
    own = json.loads(server.get("/").body)
    of_app["HOME"] = own["os.path.expanduser"]
    done = subprocess.run(
        [venv / "bin" / "python", "main.py"],
        cwd=tmp_path / "site",
        env={**of_app, "PYTHONPATH": paths},
        check=True,
        capture_output=True,
        text=True,
    )
    expected = json.loads(done.stdout)
    wrong = {
        name: (value, expected[name]) for name, value in own.items() if value != expected[name]
    }
    assert not wrong
