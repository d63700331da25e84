"""Ways to come to a module. Each returns the name of the tenant whose module it was."""

from __future__ import annotations

import asyncio
import copy
import ctypes
import dataclasses
import importlib
import importlib.resources
import importlib.util
import inspect
import os
import pickle
import pkgutil
import runpy
import subprocess
import sys
import threading
import traceback
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import identity
import parts.relative
from parts import submodule

HERE = os.path.dirname(__file__)


# At load time


def at_load() -> str:
    return identity.NAME


def submodule_of_a_package() -> str:
    return submodule.NAME


def relative_import() -> str:
    return parts.relative.NAME


# In a request


def first_import_in_a_request() -> str:
    import lazy

    return lazy.NAME


def again_in_a_request() -> str:
    import identity as again

    return again.NAME


def import_module() -> str:
    return importlib.import_module("identity").NAME


def import_module_of_a_package() -> str:
    return importlib.import_module(".dynamic", "parts").NAME


def dunder_import() -> str:
    return __import__("parts.dunder").dunder.NAME


def sys_modules() -> str:
    return sys.modules["identity"].NAME


def sys_modules_of_itself() -> str:
    return sys.modules[__name__].identity.NAME


def listed_modules() -> str:
    copied, items = sys.modules.copy(), dict(sys.modules.items())
    assert copied["identity"] is items["identity"] is dict(sys.modules)["identity"]
    assert "identity" in list(sys.modules) and len(sys.modules) == len(copied)
    return items["identity"].NAME


def module_dict_read_in_c() -> str:
    """Extension modules may read the dict without regard to its type: msgspec does."""
    get = ctypes.pythonapi.PyDict_GetItem
    get.argtypes, get.restype = [ctypes.py_object, ctypes.py_object], ctypes.c_void_p
    assert get(sys.modules, "absent") is None
    assert get(sys.modules, "json") == id(sys.modules["json"])
    assert get(sys.modules, "identity") == id(identity)
    import shared_base

    assert get(sys.modules, "shared_base") == id(shared_base)
    return ctypes.cast(get(sys.modules, "identity"), ctypes.py_object).value.NAME


def find_spec() -> str:
    spec = importlib.util.find_spec("parts.found")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NAME


def walk_packages() -> str:
    names = [found.name for found in pkgutil.iter_modules(parts.__path__, "parts.")]
    assert "parts.found" in names
    return importlib.import_module("parts.found").NAME


def resource() -> str:
    return importlib.resources.files("parts").joinpath("resource.txt").read_text()


def run_module() -> str:
    return runpy.run_module("script")["NAME"]


def namespace_package() -> str:
    from spread import one

    assert spread_is_namespace()
    return one.NAME


def spread_is_namespace() -> bool:
    import spread

    return spread.__file__ is None


def reload() -> str:
    before = identity.NAME
    assert importlib.reload(identity) is identity
    assert sys.modules["identity"] is identity
    return before if before == identity.NAME else "mixed up"


def reload_of_a_shared_module() -> str:
    import colorsys

    assert importlib.reload(colorsys) is colorsys
    return identity.NAME


def shared_module() -> int:
    """The same for all tenants."""
    import colorsys

    return id(colorsys)


def import_after_deletion() -> str:
    import deleted

    first = deleted
    del sys.modules["deleted"]
    assert "deleted" not in sys.modules
    import deleted

    assert deleted is not first
    return deleted.NAME


def hidden_shared_module() -> str:
    """What an app does to a shared module in sys.modules concerns nobody else."""
    import colorsys

    sys.modules["colorsys"] = identity
    try:
        import colorsys as replaced

        return replaced.NAME
    finally:
        sys.modules["colorsys"] = colorsys


def fresh_copy_of_a_shared_module() -> str:
    """As `test.support.import_fresh_module` does it: without the accelerator in C."""
    before = sys.modules.pop("heapq"), sys.modules.pop("_heapq")
    sys.modules["_heapq"] = None
    try:
        import heapq as fresh

        assert fresh is not before[0]
        assert inspect.isfunction(fresh.heappush)
    finally:
        sys.modules["heapq"], sys.modules["_heapq"] = before
    import heapq

    assert inspect.isbuiltin(heapq.heappush)
    return identity.NAME


def shallow_copy_of_the_modules() -> str:
    """A plain dict, and what is done to it is not done to the modules."""
    copied = copy.copy(sys.modules)
    assert type(copied) is dict and copied == dict(sys.modules)
    assert type(sys.modules)() == type(sys.modules).fromkeys("") == {}
    copied["only_in_the_copy"] = identity
    assert "only_in_the_copy" not in sys.modules
    return copied["identity"].NAME


def modules_under_names_of_a_subclass_of_str() -> str:
    class Text(str):
        def __eq__(self, other):
            import json  # noqa: F401

            return str(self) == other

        __hash__ = str.__hash__

    sys.modules[Text("named_text")] = identity
    try:
        assert sys.modules["named_text"] is sys.modules[Text("named_text")] is identity
        assert "named_text" in list(sys.modules)
        return sys.modules[Text("identity")].NAME
    finally:
        del sys.modules["named_text"]


def main_module() -> str:
    """What is made by a script belongs to `__main__`."""
    import __main__

    __main__.__dict__.setdefault("OWNER", identity.NAME)
    scope = {"__name__": "__main__"}
    exec("class Made: pass", scope)
    __main__.Made = scope["Made"]
    assert type(pickle.loads(pickle.dumps(scope["Made"]()))) is scope["Made"]
    return __main__.OWNER


def temporary_main_module() -> str:
    before = sys.modules["__main__"]
    found = runpy.run_path(os.path.join(HERE, "script.py"), run_name="__main__")
    assert sys.modules["__main__"] is before
    return found["NAME"]


def module_put_there() -> str:
    sys.modules["made_up"] = type(sys)("made_up")
    sys.modules["made_up"].NAME = identity.NAME
    import made_up

    return made_up.NAME


def patched_modules() -> str:
    from unittest import mock

    with mock.patch.dict(sys.modules, {"lazy": identity}):
        import lazy

        name = lazy.NAME
    assert sys.modules["identity"] is identity
    return name


# On other threads


def _on(start: Callable[[Callable[[], None]], None]) -> str:
    found = []

    def target() -> None:
        import on_a_thread

        found.append(on_a_thread.NAME)

    start(target)
    return found[0]


def thread() -> str:
    def start(target):
        worker = threading.Thread(target=target)
        worker.start()
        worker.join()

    return _on(start)


def thread_of_a_thread() -> str:
    found = []
    worker = threading.Thread(target=lambda: found.append(thread()))
    worker.start()
    worker.join()
    return found[0]


def timer() -> str:
    def start(target):
        worker = threading.Timer(0, target)
        worker.start()
        worker.join()

    return _on(start)


def raw_thread() -> str:
    import _thread

    def start(target):
        done = threading.Event()

        def run():
            target()
            done.set()

        _thread.start_new_thread(run, ())
        done.wait()

    return _on(start)


def executor() -> str:
    with ThreadPoolExecutor() as pool:
        return pool.submit(first_import_in_a_request).result()


def executor_of_a_shared_package() -> str:
    import shared_executor

    return shared_executor.POOL.submit(import_module).result()


async def callback_of_a_future() -> str:
    import shared_executor

    found = []
    done = threading.Event()

    def look(_future):
        found.append(import_module())
        done.set()

    shared_executor.POOL.submit(threading.Event().wait, 0.05).add_done_callback(look)
    assert await asyncio.to_thread(done.wait, 20)
    return found[0]


def initializer_of_an_executor() -> str:
    found = []
    with ThreadPoolExecutor(1, initializer=lambda: found.append(import_module())) as pool:
        pool.submit(int).result()
    return found[0]


async def to_thread() -> str:
    return await asyncio.to_thread(first_import_in_a_request)


async def run_in_executor() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, import_module)


async def task() -> str:
    async def step() -> str:
        await asyncio.sleep(0)
        import in_a_task

        return in_a_task.NAME

    return await asyncio.create_task(step())


def empty_context() -> str:
    import contextvars

    return contextvars.Context().run(import_module)


# Objects


class Thing:
    owner = identity.NAME


@dataclasses.dataclass
class Record:
    thing: Thing
    number: int = 1
    kind: typing.ClassVar[str] = "record"


def pickled() -> str:
    again = pickle.loads(pickle.dumps(Thing()))
    assert type(again) is Thing
    return again.owner


def pickled_function() -> str:
    assert pickle.loads(pickle.dumps(at_load)) is at_load
    return pickle.loads(pickle.dumps(at_load))()


def pickled_in_python() -> str:
    data = pickle._dumps(Thing())
    return pickle._loads(data).owner


def deep_copy() -> str:
    return copy.deepcopy(Record(Thing())).thing.owner


def type_hints() -> str:
    assert [field.name for field in dataclasses.fields(Record)] == ["thing", "number"]
    return typing.get_type_hints(Record)["thing"].owner


def _hinted(things: typing.List["Thing"]) -> None: ...  # noqa: UP006, UP037


def type_hints_of_a_function() -> str:
    """`typing` caches List["Thing"], for whoever asks."""
    hints = typing.get_type_hints(_hinted)
    assert hints["things"].__args__ == (Thing,), hints["things"].__args__[0].owner
    return hints["things"].__args__[0].owner


def type_hints_of_a_shared_base() -> str:
    import shared_base

    class Derived(shared_base.Base):
        mine: Thing

    hints = typing.get_type_hints(Derived, localns={"Thing": Thing})
    assert hints["theirs"] is shared_base.Theirs
    return hints["mine"].owner


def named_tuple() -> str:
    from collections import namedtuple

    assert namedtuple("Pair", "a b").__module__ == __name__
    return identity.NAME


def inspected_module() -> str:
    assert "class Thing" in inspect.getsource(Thing)
    return inspect.getmodule(Thing).identity.NAME


def traceback_lines() -> str:
    """Nothing of the server or of importlib is in it."""
    try:
        import raises  # noqa: F401
    except ValueError as error:
        files = [
            os.path.basename(frame.filename) for frame in traceback.extract_tb(error.__traceback__)
        ]
        assert files == ["checks.py", "raises.py"], files
        return str(error)
    return "not raised"


# Search paths


def edited_path() -> str:
    before = list(sys.path)
    sys.path.append(os.path.join(HERE, "extra"))
    try:
        import on_edited_path

        return on_edited_path.NAME
    finally:
        sys.path[:] = before


def rebound_path() -> str:
    before = sys.path
    sys.path = [os.path.join(HERE, "extra"), *before]
    try:
        import on_rebound_path

        return on_rebound_path.NAME
    finally:
        sys.path = before


def preferred_directory() -> str:
    """A directory put first wins over what others have imported under that name."""
    before = list(sys.path)
    sys.path.insert(0, os.path.join(HERE, "extra"))
    try:
        import shared_or_own

        return shared_or_own.NAME
    finally:
        sys.path[:] = before


def replaced_directory() -> str:
    """As many directories as before."""
    sys.path.insert(0, os.path.join(HERE, "absent"))
    import shared_too

    installed = shared_too
    try:
        sys.path[0] = os.path.join(HERE, "other")
        import shared_too

        assert shared_too is not installed
        return shared_too.NAME
    finally:
        del sys.path[0]
        sys.modules.pop("shared_too", None)


def first_on_path() -> str:
    assert sys.path[0] == HERE
    assert not any("other" in entry for entry in sys.path)
    return identity.NAME


def zip_file() -> str:
    sys.path.append(os.path.join(HERE, "archive.zip"))
    import zipped

    sys.path.remove(os.path.join(HERE, "archive.zip"))
    return zipped.NAME


def finder() -> str:
    class Finder:
        def find_spec(self, name, path, target=None):
            if name != "invented":
                return None
            return importlib.util.spec_from_loader(name, self)

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            module.NAME = identity.NAME

    sys.meta_path.append(Finder())
    try:
        import invented

        return invented.NAME
    finally:
        sys.meta_path.pop()


def finder_is_gone() -> bool:
    return any(type(entry).__name__ == "Finder" for entry in sys.meta_path)


# Environment


def environment() -> str:
    assert os.environ["TENANT"] == os.getenv("TENANT") == os.environb[b"TENANT"].decode()
    assert dict(os.environ)["TENANT"] == os.environ.copy()["TENANT"]
    assert "TENANT" in os.environ and "TENANT" in list(os.environ)
    assert os.path.expandvars("$TENANT") == os.environ["TENANT"]
    return os.environ["TENANT"]


def environment_of_a_thread() -> str:
    with ThreadPoolExecutor() as pool:
        return pool.submit(environment).result()


def environment_at_load() -> str:
    return identity.AT_LOAD


def changed_environment() -> str:
    os.environ["CHANGED"] = identity.NAME
    os.environ.setdefault("CHANGED", "no")
    os.environ["DELETED"] = "x"
    del os.environ["DELETED"]
    assert "DELETED" not in os.environ
    os.environb[b"BYTES"] = b"\xff"
    assert os.environ["BYTES"] == "\udcff"
    return os.environ["CHANGED"]


def deleted_from_the_server() -> str:
    """What Caddy was started with can be deleted, for this app."""
    assert os.environ.pop("FROM_OUTSIDE", "yes") == "yes"
    assert "FROM_OUTSIDE" not in os.environ
    assert subprocess.run(["printenv", "FROM_OUTSIDE"]).returncode == 1
    return os.environ["TENANT"]


def from_the_server(name: str) -> str | None:
    return os.environ.get(name)


PRINT = [sys.executable, "-c", "import os; print(os.environ['TENANT'], end='')"]


def subprocess_environment() -> str:
    return subprocess.check_output(["printenv", "TENANT"], text=True).strip()


def subprocess_of_python() -> str:
    return subprocess.check_output(PRINT, text=True)


def subprocess_with_own_environment() -> str:
    env = {"TENANT": "given", "PATH": os.environ["PATH"]}
    assert subprocess.check_output(["printenv", "TENANT"], text=True, env=env) == "given\n"
    return os.environ["TENANT"]


def os_system() -> str:
    path = os.path.join(HERE, "system.txt")
    assert os.system(f"printenv TENANT > {path}") == 0
    assert os.waitstatus_to_exitcode(os.system("exit 3")) == 3
    with open(path) as file:
        return file.read().strip()


def os_popen() -> str:
    with os.popen("printenv TENANT") as output:
        return output.read().strip()


def spawned() -> str:
    path = os.path.join(HERE, "spawned.txt")
    command = ["sh", "-c", f"printenv TENANT > {path}"]
    assert os.spawnvp(os.P_WAIT, "sh", command) == 0
    with open(path) as file:
        return file.read().strip()


def posix_spawned() -> str:
    path = os.path.join(HERE, "posix_spawned.txt")
    child = os.posix_spawn("/bin/sh", ["sh", "-c", f"printenv TENANT > {path}"], os.environ)
    assert os.waitpid(child, 0)[1] == 0
    with open(path) as file:
        return file.read().strip()


async def asyncio_subprocess() -> str:
    process = await asyncio.create_subprocess_exec(
        "printenv", "TENANT", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def multiprocessing_spawn() -> str:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(os.getenv, ("TENANT",))


def temporary_directory() -> str:
    """TMPDIR of one app is not the other's."""
    return os.path.basename(os.environ["TMPDIR"])
