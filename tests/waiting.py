"""Tests that wait for a change which is not merged yet: `waiting.tsv` has who makes it, and the test's id.

They are strict, so that a line leaves the file together with the change; both files go with the last line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WAITING = {
    name: helper
    for helper, name in (
        line.split("\t")
        for line in Path(__file__).with_name("waiting.tsv").read_text(encoding="utf-8").splitlines()
    )
}


def row(*values: object, name: str) -> Any:
    """Return a row for `parametrize`, expected to fail where it waits."""
    marks = [pytest.mark.xfail(reason=WAITING[name], strict=True)] if name in WAITING else []
    return pytest.param(*values, id=name, marks=marks)
