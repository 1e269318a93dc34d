"""What the tests share: where the data is, what Hypothesis draws, how long it may take."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import heartbeat
import pytest
from hypothesis import HealthCheck, settings
from rust_build import RustBuild

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
GOLDEN = ROOT / "tests" / "golden"

# `HYPOTHESIS_PROFILE=thorough uv run pytest` looks twenty times longer.
for _name, _max_examples in (("quick", 60), ("thorough", 1200)):
    settings.register_profile(
        _name,
        max_examples=_max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Ctrl-C is ignored in what a shell starts in the background, and in the children of that; the tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    heartbeat.register(config)
    config.pluginmanager.register(RustBuild(), "rust-build")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--row", action="append", help="only tests of this row of tests/README.md, such as T1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if rows := set(config.getoption("--row") or ()):
        chosen = [item for item in items if any(rows & set(mark.args) for mark in item.iter_markers("fault"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After a run of marked tests alone (`-m fault`, `--row`), one line for each row: how its tests ended."""
    if not config.getoption("--row") and "fault" not in config.getoption("-m"):
        return
    ends: dict[str, dict[str, int]] = {}
    for end in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(end):
            for row in dict(report.user_properties).get("rows", ()):
                counts = ends.setdefault(row, {})
                counts[end] = counts.get(end, 0) + 1
    for row in sorted(ends, key=lambda row: (row[0], int(row[1:]))):
        terminalreporter.write_line(f"{row:<4}" + ", ".join(f"{n} {end}" for end, n in ends[row].items()))


@pytest.fixture(autouse=True)
def _rows_of_test(request: pytest.FixtureRequest) -> None:
    rows = [row for mark in request.node.iter_markers("fault") for row in mark.args]
    request.node.user_properties.append(("rows", rows))


def shared_file(name: str) -> Path:
    """Return a file of the data folder beside the repository; skip the test where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs {path}, data that is not part of the repository")
    return path


@pytest.fixture(scope="session")
def stories() -> str:
    """A small real-looking text with a special token between documents, always there."""
    return (GOLDEN / "stories.md").read_text(encoding="utf-8")
