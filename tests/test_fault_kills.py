"""SIGKILL at a hundred random moments each: the old file is whole, or the new one, and nothing else."""

from __future__ import annotations

import os
import random
import signal
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


def kill_loop(write: Callable[[int], object], check: Callable[[], None]) -> None:
    """Let a child write again and again, kill it at a random moment, check what it left; a hundred times.

    A fork, since a program that has to load everything first would take most of the time.
    """
    chance = random.Random(0)
    for turn in range(NUM_KILLS):
        child = os.fork()
        if child == 0:
            try:
                for count in range(turn, 10**9):
                    write(count)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        check()


def two_tokenizers(text: str) -> list[Tokenizer]:
    return [Tokenizer.train_from_iterator([text], vocab_size) for vocab_size in (300, 400)]


@pytest.mark.fault("T1", "T14", "V1")
def test_saving_a_tokenizer(tmp_path: Path, stories: str) -> None:
    both = two_tokenizers(stories)
    known = set(both)
    target = tmp_path / "target"
    found = set()

    def check() -> None:
        if (target / "tokenizer.json").exists():
            loaded = Tokenizer.load(target)
            assert loaded in known
            found.add(loaded)

    kill_loop(lambda count: both[count % 2].save(target, overwrite=True), check)
    assert found == known


@pytest.mark.fault("B1")
def test_encoding_a_file(tmp_path: Path, stories: str) -> None:
    from tinybpe.errors import TokenFileError
    from tinybpe.token_file import TokenFileInfo, open_ids

    both = two_tokenizers(stories)
    source, output = tmp_path / "text.md", tmp_path / "out" / "x.bin"
    source.write_text(stories * 200, encoding="utf-8")
    output.parent.mkdir()
    known = {}
    for tokenizer in both:
        tokenizer.encode_file(source, tmp_path / "whole.bin", docs=True, overwrite=True)
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

    def write(count: int) -> None:
        both[count % 2].encode_file(source, output, docs=True, overwrite=True)

    kill_loop(write, check)
    assert num_whole > 0
    # The next run that is not killed puts everything right, and leaves the same bytes as ever.
    tokenizer = both[0]
    tokenizer.encode_file(source, output, docs=True)
    assert [Path(f"{output}{suffix}").read_bytes() for suffix in ("", ".docs")] == known[tokenizer.sha256]


@pytest.mark.fault("L1")
def test_saving_checkpoints(tmp_path: Path) -> None:
    import torch
    from lm import checkpoint

    torch.set_num_threads(1)  # threads do not survive a fork
    newest = 0

    def write(count: int) -> None:
        """Go on after the newest whole one, as a resumed run does."""
        step = max([newest, *(int(path.name[5:]) for path in checkpoint.steps(tmp_path))]) + 1
        tensors = {name: torch.full((50_000,), float(step)) for name in "abc"}
        held = checkpoint.Checkpoint(model=tensors, optimizer=tensors, state={"step": step})
        checkpoint.save(tmp_path, held)
        checkpoint.prune(tmp_path, 2, None)

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

    kill_loop(write, check)
    assert newest > 10
    checkpoint.prune(tmp_path, 1, None)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"step-{newest:08d}"]
