"""The suite itself: every conformance item has a test."""

from __future__ import annotations

import conformance_table


def test_every_item_has_a_test() -> None:
    assert conformance_table.missing() == set()


def test_every_item_that_a_test_names_is_explained() -> None:
    assert conformance_table.unknown() == set()


def test_the_table_lists_each_item_with_its_tests() -> None:
    (line,) = [line for line in conformance_table.table().splitlines() if line.startswith("| S01 ")]
    assert "`test_wsgi_response.py::" in line
