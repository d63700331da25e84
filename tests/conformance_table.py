"""The table of conformance items and their tests: `python tests/conformance_table.py` prints it.

Tests name the items they cover in `@pytest.mark.conformance("S07", ...)`. The markers are read from
the sources, so neither a server nor the packages of the test apps are needed. The items are in
`conformance.md`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ITEMS = TESTS / "conformance.md"

# A row of the list: the item, what must hold, and by which specification.
ITEM = re.compile(r"^\| ([A-Z]\d\d) \| (.*) \| (.*) \|$")


def sections() -> dict[str, dict[str, str]]:
    """What must hold by each item, by the headings of the list."""
    found: dict[str, dict[str, str]] = {}
    for line in ITEMS.read_text().splitlines():
        if line.startswith("## "):
            section = found.setdefault(line[3:], {})
        elif item := ITEM.match(line):
            section[item[1]] = item[2]
    return found


def _names(tree: ast.Module) -> Iterator[tuple[str, list[ast.expr]]]:
    """Each test with the markers on it and on its module."""
    shared: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            shared = node.value.elts if isinstance(node.value, ast.List) else [node.value]
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, [*node.decorator_list, *shared]


def covered() -> dict[str, list[str]]:
    """The tests of each item, as `file::test`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for name, markers in _names(ast.parse(path.read_text())):
            for marker in markers:
                if isinstance(marker, ast.Call) and ast.unparse(marker.func).endswith(
                    ".conformance"
                ):
                    for item in marker.args:
                        found.setdefault(ast.literal_eval(item), []).append(f"{path.name}::{name}")
    return found


def items() -> set[str]:
    return {item for section in sections().values() for item in section}


def missing() -> set[str]:
    """The items without a test."""
    return items() - covered().keys()


def unknown() -> set[str]:
    """The items that tests name and the list does not have."""
    return covered().keys() - items()


def table() -> str:
    found = covered()
    lines = []
    for section, held in sections().items():
        lines += [f"### {section}", "", "| ID | what | tests |", "|---|---|---|"]
        for item, what in held.items():
            tests = "<br>".join(f"`{test}`" for test in found.get(item, []))
            lines.append(f"| {item} | {what} | {tests} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
