"""Every fault has a test, and the table says which."""

from __future__ import annotations

import fault_rows


def test_every_row_has_a_test_or_a_reason() -> None:
    found = fault_rows.tests_of_rows()
    assert set(found) == set(fault_rows.ROWS), "a test names a row that is not in the list"
    without = {row for row, tests in found.items() if not tests}
    assert without == set(fault_rows.WITHOUT_TEST)
    assert set(fault_rows.NOT_ON_LINUX) <= set(fault_rows.ROWS)


def test_the_table_is_the_one_that_the_tests_make() -> None:
    assert fault_rows.TABLE.read_text(encoding="utf-8") == fault_rows.table(), (
        "run `uv run python tests/fault_rows.py`"
    )
