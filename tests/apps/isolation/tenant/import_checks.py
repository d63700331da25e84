"""Ways to come to a module. Each returns the name of the tenant whose module it was."""

from __future__ import annotations

import copy
import ctypes
import importlib
import importlib.resources
import importlib.util
import inspect
import os
import pickle
import pkgutil
import runpy
import sys

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
