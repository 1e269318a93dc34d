"""The build of the Rust tests beside the Python tests, with a stand-in for cargo."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rust_build import SKIP, RustBuild

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")


def start(folder: Path, script: str) -> RustBuild:
    """Start a build with a script in place of cargo."""
    cargo = folder / "cargo"
    cargo.write_text(f"#!/bin/sh\n{script}\n")
    cargo.chmod(0o755)
    build = RustBuild()
    build.cargo = str(cargo)
    items: list[Any] = [SimpleNamespace(name=name) for name in ("test_cargo", "test_other")]
    build.pytest_collection_modifyitems(items)
    assert [item.name for item in items] == ["test_other", "test_cargo"]
    session: Any = SimpleNamespace(
        items=items, config=SimpleNamespace(option=SimpleNamespace(collectonly=False))
    )
    build.pytest_collection_finish(session)
    return build


def test_what_cargo_says_is_shown_if_the_build_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(SKIP, raising=False)
    build = start(tmp_path, 'echo "error: $*"; exit 101')
    with pytest.raises(AssertionError, match="error: test --no-run"):
        build.wait()
    build.pytest_unconfigure()
    assert "in the background" in capsys.readouterr().out


def test_a_build_ends_with_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SKIP, raising=False)
    build = start(tmp_path, "exec sleep 600")
    build.pytest_unconfigure()
    assert build.process is not None
    assert build.process.returncode != 0


def test_nothing_is_built_where_cargo_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SKIP, "1")
    build = start(tmp_path, "exit 1")
    assert build.process is None
    build.pytest_unconfigure()
