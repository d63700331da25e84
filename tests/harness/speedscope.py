"""Profiles in speedscope's format: what its schema demands, and what they show."""

from __future__ import annotations

from typing import Any

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
UNITS = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}


def check(document: Any) -> None:
    """The essentials of the schema for sampled profiles, and that all numbers fit together."""
    assert document["$schema"] == SCHEMA
    assert all(type(document[key]) is str for key in ("name", "exporter"))
    frames = document["shared"]["frames"]
    for frame in frames:
        assert type(frame["name"]) is str
        assert frame["name"]
        assert set(frame) <= {"name", "file", "line", "col"}
        assert type(frame.get("file", "")) is str
        assert type(frame.get("line", 0)) is int
    for profile in document["profiles"]:
        assert profile["type"] == "sampled"
        assert profile["unit"] in UNITS
        assert type(profile["name"]) is str
        assert len(profile["samples"]) == len(profile["weights"])
        for stack in profile["samples"]:
            assert stack, "an empty stack"
            assert all(type(at) is int and 0 <= at < len(frames) for at in stack)
        assert all(weight >= 0 for weight in profile["weights"])
        lasted = profile["endValue"] - profile["startValue"]
        assert abs(lasted - sum(profile["weights"])) < 0.001


def stacks(document: Any, profile: str = "") -> list[tuple[str, ...]]:
    """The stacks of profiles whose names have this part: names of functions without their class,
    the outermost first."""
    names = [frame["name"].rpartition(".")[2] for frame in document["shared"]["frames"]]
    return [
        tuple(names[at] for at in stack)
        for found in document["profiles"]
        if profile in found["name"]
        for stack in found["samples"]
    ]


def functions(document: Any) -> set[str]:
    return {frame["name"].rpartition(".")[2] for frame in document["shared"]["frames"]}


def titles(document: Any) -> list[str]:
    return [profile["name"] for profile in document["profiles"]]
