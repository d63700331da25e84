"""Objects whose class or function is found by the name of its module, which is the tenant's own."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import pickle
import traceback
import typing

import identity
from import_checks import at_load


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
        assert files == ["object_checks.py", "raises.py"], files
        return str(error)
    return "not raised"
