"""Follows a Dockerfile in Debian roots, as far as that goes without a container engine.

Each stage is a root. What RUN says is executed there, with the environment, in the directory and as
the user of the instructions before it; COPY copies. There are no layers, and nothing is isolated
that a root does not isolate.
"""

from __future__ import annotations

import copy
import json
import shlex
import shutil
import string
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

from harness.container import Container
from harness.roots import PATH, RELEASE, MakeRoot, Root


@dataclass
class Stage:
    """A root, and what a Dockerfile has said of the containers that are made from it."""

    root: Root
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    volumes: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """For `Root.command`."""
        home = self.root.run("sh", "-c", f"echo ~{self.user}").strip()
        env = {"HOME": home, **self.env}
        return {"cwd": self.workdir, "user": f"{self.user}:", "env": env}

    def container(
        self, directory: Path, *command: str, volumes: Mapping[str, Path] | None = None
    ) -> Container:
        """`docker run --volume ... IMAGE command`; its output goes to a file in `directory`."""
        arguments = [*self.entrypoint, *(command or self.cmd)]
        return Container(self.root, directory, *arguments, shared=volumes, **self.options)


def build(
    context: Path,
    make_root: MakeRoot,
    *,
    cached: Mapping[str, Path] | None = None,
    images: Mapping[str, Stage] | None = None,
    seconds: float = 1500,
) -> Stage:
    """The last stage of `context`/Dockerfile.

    cached: folders of this machine that RUN has, by path; they stand in for an engine's caches.
    images: what FROM may name besides Debian. They lend their root, which changes.
    seconds: how long one RUN may take.
    """
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for step in DockerfileParser(str(context)).structure:
        name, value = step["instruction"], step["value"]
        if name == "COMMENT":
            continue
        if name == "FROM":
            image, *alias = value.split()
            if image in (images or {}):
                stage = copy.deepcopy(images[image])
            else:
                assert image == f"debian:{RELEASE}-slim", image  # as the roots are
                stage = Stage(make_root())
            stages[alias[-1] if alias else str(len(stages))] = stage
            continue
        assert stage is not None
        if name == "RUN":
            command = ["/bin/sh", "-c", value]
            caches = {"shared": cached, "fetching": True, "timeout": seconds}
            stage.root.run(*command, **stage.options, **caches)
        elif name == "COPY":
            _copy(stage, stages, context, shlex.split(value))
        else:
            _configure(stage, name, value)
    assert stage is not None
    return stage


def _configure(stage: Stage, name: str, value: str) -> None:
    assert name == "ENV" or "$" not in value, f"variables in {name} are not understood"
    if name == "ENV":
        for pair in shlex.split(value):
            key, _, text = pair.partition("=")
            stage.env[key] = string.Template(text).substitute({"PATH": PATH, **stage.env})
    elif name == "WORKDIR":
        stage.workdir = value
        stage.root.host_path(value).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        stage.user = value
    elif name == "VOLUME":
        stage.volumes += value.split()
    elif name == "EXPOSE":
        stage.exposed += value.split()
    elif name == "HEALTHCHECK":
        stage.healthcheck = json.loads(value.partition("CMD ")[2])
    elif name == "ENTRYPOINT":
        stage.entrypoint = json.loads(value)
    elif name == "CMD":
        stage.cmd = json.loads(value)
    else:
        raise NotImplementedError(name)


def _copy(stage: Stage, stages: Mapping[str, Stage], context: Path, words: list[str]) -> None:
    """COPY of one file, or of what is in one folder."""
    flags = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    source, target = (word for word in words if not word.startswith("--"))
    inside = target if target.startswith("/") else f"{stage.workdir}/{target}"
    destination = stage.root.host_path(inside)
    if "from" in flags:
        origin = stages[flags.pop("from")].root.host_path(source)
    else:
        origin = context / source
    destination.parent.mkdir(parents=True, exist_ok=True)
    copied = [inside]
    if origin.is_dir():
        if destination.exists():  # which keeps its owner
            copied = [f"{inside}/{child.name}" for child in origin.iterdir()]
        destination.mkdir(exist_ok=True)
        command = ["cp", "-a", "--no-preserve=ownership", f"{origin}/.", str(destination)]
        subprocess.run(command, check=True)
    else:
        if destination.is_dir():  # which keeps its owner, too
            copied = [f"{inside}/{origin.name}"]
        shutil.copy(origin, destination)
    stage.root.run("chown", "-R", flags.pop("chown", "root:root"), *copied)
    assert not flags, flags


def ignored(context: Path) -> list[str]:
    """The names at the top that .dockerignore leaves out; other patterns are not understood."""
    lines = (context / ".dockerignore").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert not any(set(name) & set("*?[!/\\") for name in names), names
    return names
