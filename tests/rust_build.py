"""Builds the Rust tests while the Python tests run, which use one core most of the time; they run last."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIP = "TINYBPE_SKIP_CARGO"
NICE = ["nice"] if shutil.which("nice") else []


class RustBuild:
    """A pytest plugin that starts the build once `test_cargo` is among the tests that will run."""

    def __init__(self) -> None:
        """`process` is None as long as nothing is to be built."""
        self.cargo = shutil.which("cargo")
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the session
        self.process: subprocess.Popen[bytes] | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the test last, so that the build has time."""
        items.sort(key=lambda item: item.name == "test_cargo")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start the build."""
        chosen = session.items and session.items[-1].name == "test_cargo"
        if chosen and self.cargo and not os.environ.get(SKIP) and not session.config.option.collectonly:
            # It takes the time that the Python tests leave, some of which measure how soon something ends.
            command = [*NICE, self.cargo, "test", "--no-run"]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=self.output, stderr=subprocess.STDOUT)
            print("cargo test: building the Rust tests in the background; they run last", flush=True)

    def wait(self) -> None:
        """Wait for the build; AssertionError with what cargo printed if it fails."""
        assert self.process is not None
        if self.process.wait() != 0:
            self.output.seek(0)
            raise AssertionError(self.output.read().decode(errors="replace"))

    def pytest_unconfigure(self) -> None:
        """End a build that nobody waits for any more."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.output.close()
