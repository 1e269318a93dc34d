"""The line that breaks the silence of long tests."""

from __future__ import annotations

import os
import time

from heartbeat import Heartbeat


def test_a_silence_is_broken_by_the_name_of_the_test() -> None:
    reading, writing = os.pipe()
    heartbeat = Heartbeat(writing, most_silence_s=0.2)
    heartbeat.pytest_runtest_logstart("tests/test_x.py::test_long")
    time.sleep(0.7)
    heartbeat.pytest_runtest_logfinish()
    heartbeat.pytest_unconfigure()
    with os.fdopen(reading, encoding="utf-8") as pipe:
        lines = [line for line in pipe.read().splitlines() if line]
    assert 1 <= len(lines) <= 3
    assert all(line.endswith(" s  tests/test_x.py::test_long") for line in lines)


def test_what_prints_is_left_alone() -> None:
    reading, writing = os.pipe()
    heartbeat = Heartbeat(writing, most_silence_s=60.0)
    heartbeat.pytest_runtest_logstart("tests/test_x.py::test_quick")
    heartbeat.pytest_runtest_logfinish()
    heartbeat.pytest_unconfigure()
    with os.fdopen(reading, encoding="utf-8") as pipe:
        assert pipe.read() == ""
