"""SIGKILL at a hundred random moments each: the old file is whole, or the new one, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tinybpe import Tokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL"),
    pytest.mark.timeout(1200),
]
NUM_KILLS = 100

SAVE = """
import sys
from tinybpe import Tokenizer
both = [Tokenizer.load(sys.argv[1]), Tokenizer.load(sys.argv[2])]
print("ready", flush=True)
for turn in range(10**9):
    both[turn % 2].save(sys.argv[3])
"""
ENCODE = """
import sys
from tinybpe import Tokenizer
both = [Tokenizer.load(sys.argv[1]), Tokenizer.load(sys.argv[2])]
print("ready", flush=True)
for turn in range(10**9):
    both[turn % 2].encode_file(sys.argv[4], sys.argv[3], docs=True)
"""
CHECKPOINT = """
import sys
from pathlib import Path
import torch
from lm import checkpoint
run, step = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for step in range(step, 10**9):
    tensors = {name: torch.full((50_000,), float(step)) for name in "abc"}
    checkpoint.save(run, checkpoint.Checkpoint(model=tensors, optimizer=tensors, state={"step": step}))
    checkpoint.prune(run, 2, None)
"""


def kill_loop(program: str, arguments: Callable[[], list[str]], check: Callable[[], None]) -> None:
    """Start the program, kill it within its first rounds, check what it left; a hundred times over."""
    chance = random.Random(0)
    for _ in range(NUM_KILLS):
        command = [sys.executable, "-c", program, *arguments()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        check()


def two_tokenizers(folder: Path, text: str) -> list[str]:
    paths = []
    for vocab_size in (300, 400):
        path = folder / f"tok{vocab_size}"
        Tokenizer.train_from_iterator([text], vocab_size).save(path)
        paths.append(str(path))
    return paths


@pytest.mark.fault("T1", "T14", "V1")
def test_saving_a_tokenizer(tmp_path: Path, stories: str) -> None:
    paths = two_tokenizers(tmp_path, stories)
    known = {Tokenizer.load(path) for path in paths}
    target = tmp_path / "target"
    found = set()

    def check() -> None:
        if (target / "tokenizer.json").exists():
            loaded = Tokenizer.load(target)
            assert loaded in known
            found.add(loaded)

    kill_loop(SAVE, lambda: [*paths, str(target)], check)
    assert found == known


@pytest.mark.fault("B1")
def test_encoding_a_file(tmp_path: Path, stories: str) -> None:
    from tinybpe.errors import TokenFileError
    from tinybpe.token_file import TokenFileInfo, open_ids

    paths = two_tokenizers(tmp_path, stories)
    source, output = tmp_path / "text.md", tmp_path / "out" / "x.bin"
    source.write_text(stories * 200, encoding="utf-8")
    output.parent.mkdir()
    known = {}
    for path in paths:
        tokenizer = Tokenizer.load(path)
        tokenizer.encode_file(source, tmp_path / "whole.bin", docs=True)
        whole = [(tmp_path / f"whole.bin{suffix}").read_bytes() for suffix in ("", ".docs")]
        known[tokenizer.sha256] = whole
    num_whole = 0

    def check() -> None:
        nonlocal num_whole
        try:
            info = TokenFileInfo.read(output)
        except FileNotFoundError:
            # No sidecar: whoever opens the file is told that it is unfinished.
            if output.exists():
                with pytest.raises(TokenFileError, match="unfinished"):
                    open_ids(output)
            return
        found = [Path(f"{output}{suffix}").read_bytes() for suffix in ("", ".docs")]
        assert found == known[info.tokenizer_sha256]
        num_whole += 1

    kill_loop(ENCODE, lambda: [*paths, str(output), str(source)], check)
    assert num_whole > 0
    # The next run that is not killed puts everything right, and leaves the same bytes as ever.
    tokenizer = Tokenizer.load(paths[0])
    tokenizer.encode_file(source, output, docs=True)
    assert [Path(f"{output}{suffix}").read_bytes() for suffix in ("", ".docs")] == known[tokenizer.sha256]


@pytest.mark.fault("L1")
def test_saving_checkpoints(tmp_path: Path) -> None:
    from lm import checkpoint

    newest = 0

    def check() -> None:
        nonlocal newest
        folders = checkpoint.steps(tmp_path)
        for folder in folders:
            held = checkpoint.load(folder)
            assert folder.name == f"step-{held.step:08d}"
            assert all(bool((tensor == held.step).all()) for tensor in held.model.values())
        if folders:
            held = checkpoint.load(checkpoint.find(tmp_path))
            assert held.step >= newest, "a kill has lost a finished checkpoint"
            newest = held.step

    # Each program begins anew with the step after the newest whole one, as a resumed run does.
    kill_loop(CHECKPOINT, lambda: [str(tmp_path), str(newest + 1)], check)
    assert newest > 10
    checkpoint.prune(tmp_path, 1, None)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"step-{newest:08d}"]
