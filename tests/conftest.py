"""What the tests share: where the data is, what Hypothesis draws, how long it may take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
