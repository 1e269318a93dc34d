"""The Rust tests, so that one command runs them all."""

from __future__ import annotations

import os
import subprocess

import pytest
from rust_build import ROOT, SKIP, RustBuild


@pytest.mark.timeout(1800)
def test_cargo(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Cargo's own output goes to the terminal."""
    if os.environ.get(SKIP):
        pytest.skip(f"{SKIP} is set: cargo runs by itself, as in .ci/run")
    build = request.config.pluginmanager.getplugin("rust-build")
    assert isinstance(build, RustBuild)
    if build.cargo is None:
        pytest.skip("needs cargo, which builds the Rust tests")
    build.wait()
    with capsys.disabled():
        print("\ncargo test", flush=True)
        ran = subprocess.run([build.cargo, "test", "--quiet"], cwd=ROOT)
    assert ran.returncode == 0, "a Rust test failed: see above"
