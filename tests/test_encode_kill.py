"""What an encoding leaves that is killed, or whose disk is full: whole files with sidecars, or nothing."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tinybpe import TokenFileInfo, Tokenizer

SPECIAL = "<|endoftext|>"
COMMAND = [
    sys.executable,
    "-m",
    "tinybpe",
    "encode",
    "--tok",
    "tok",
    "x.txt",
    "--output",
    "out/x.bin",
    "--docs",
    "--overwrite",
]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills children and limits them")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stories: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL]).save("tok")
    return tmp_path


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir()}


def check_kills(stories: str, megabytes: int, rounds: int, flags: list[str]) -> None:
    """Kill the command at random moments, then let it finish; compare with a run that nobody killed."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    Path("x.txt").write_text(stories * (megabytes * 1_000_000 // len(stories)))
    started_at = time.monotonic()
    subprocess.run([*COMMAND, *flags], check=True, capture_output=True)
    whole_s = time.monotonic() - started_at
    expected = contents()
    for path in Path("out").iterdir():
        path.unlink()
    num_killed = num_tries = 0
    while num_killed < rounds:
        num_tries += 1
        assert num_tries <= 10 * rounds, "it ends before it can be killed"
        with subprocess.Popen([*COMMAND, *flags], stdout=subprocess.DEVNULL) as child:
            try:
                child.wait(generator.uniform(0, whole_s))
                killed = False
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                killed = True
        num_killed += killed
        for sidecar in Path("out").glob("*.json"):
            TokenFileInfo.read(sidecar.with_suffix(""), verify=True)
            # What stands under its own name is whole, since nothing else ever gets the name.
            assert sidecar.read_bytes() == expected[sidecar.name]
            assert sidecar.with_suffix("").read_bytes() == expected[sidecar.stem]
        # A finished run leaves the next nothing to do.
        if not killed or generator.random() < 0.5:
            for path in Path("out").glob("[!.]*"):
                path.unlink()
    subprocess.run([*COMMAND, *flags], check=True, capture_output=True)
    assert contents() == expected


@pytest.mark.fault("B1")
@pytest.mark.parametrize("flags", [[], ["--shard-tokens", "50000", "--resume"]], ids=["one", "shards"])
def test_kill(folder: Path, stories: str, flags: list[str]) -> None:
    check_kills(stories, megabytes=4, rounds=4, flags=flags)


@pytest.mark.slow
@pytest.mark.fault("B1")
@pytest.mark.parametrize("flags", [[], ["--shard-tokens", "2000000", "--resume"]], ids=["one", "shards"])
def test_kill_often(folder: Path, stories: str, flags: list[str]) -> None:
    check_kills(stories, megabytes=100, rounds=30, flags=flags)


def check_full_disk(limit: int) -> None:
    before = contents()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ran = subprocess.run(COMMAND, preexec_fn=limited, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.startswith("tinybpe: error: out/x.bin"), ran.stderr
    assert ran.stderr.count("\n") == 1
    assert contents() == before


@pytest.mark.fault("B2")
@pytest.mark.parametrize("limit", [0, 100, 65_536, 1_000_000])
def test_disk_full_at_some_byte(folder: Path, stories: str, limit: int) -> None:
    Path("x.txt").write_text(stories * (4_000_000 // len(stories)))
    check_full_disk(limit)
    Path("x.txt").rename("large.txt")
    Path("x.txt").write_text(stories)
    subprocess.run(COMMAND, check=True, capture_output=True)
    Path("large.txt").rename("x.txt")
    # The old files stay.
    check_full_disk(limit)


@pytest.mark.slow
@pytest.mark.fault("B2")
def test_full_file_system(folder: Path, stories: str) -> None:
    """A file system of a megabyte, where this process may mount one."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "out"], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        Path("x.txt").write_text(stories * (4_000_000 // len(stories)))
        ran = subprocess.run(COMMAND, capture_output=True, text=True)
        assert ran.returncode == 1
        assert "out/x.bin" in ran.stderr
        assert "No space left" in ran.stderr
        assert contents() == {}
    finally:
        subprocess.run(["umount", "out"], check=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_not_replaced(folder: Path, stories: str) -> None:
    Path("x.txt").write_text(stories)
    command = [part.replace("out/x.bin", "/dev/full") for part in COMMAND]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "/dev/full: is a device" in ran.stderr
    assert Path("/dev/full").is_char_device()
