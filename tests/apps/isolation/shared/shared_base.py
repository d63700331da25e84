"""A shared package whose annotations are text."""

from __future__ import annotations


class Theirs: ...


class Base:
    theirs: Theirs
