"""The Rust tests, so that one command runs them all."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from conftest import ROOT


@pytest.mark.timeout(1800)
def test_cargo() -> None:
    if os.environ.get("TINYBPE_SKIP_CARGO"):
        pytest.skip("TINYBPE_SKIP_CARGO is set: cargo runs by itself, as in .ci/run")
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("needs cargo, which builds the Rust tests")
    ran = subprocess.run([cargo, "test", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
