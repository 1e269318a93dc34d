"""Training on large real texts: the same merges as others find, and Ctrl-C at any moment.

uv run pytest -m slow tests/test_training_large.py
TINYBPE_TEXTS=prose.txt:code.txt uv run pytest -m slow tests/test_training_large.py

TINYBPE_TEXTS names more texts, in UTF-8.
"""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import shared_file
from test_golden_training import huggingface_merges, huggingface_trained
from tinybpe import Tokenizer
from tinybpe.reference import train_merges

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SHARED = ["tinystories_train.txt", "text/de_laws.md", "text/zh_poetry.txt"]
MORE = [path for path in os.environ.get("TINYBPE_TEXTS", "").split(os.pathsep) if path]
MOST_MERGES = {"tinystories_train.txt": 11_966}  # then no pair is left
NUM_INTERRUPTS = 30


@pytest.mark.parametrize("name", [*SHARED, *MORE])
def test_tokenizers_trains_the_same_merges(name: str) -> None:
    path = Path(name) if name in MORE else shared_file(name)
    documents = path.read_bytes().decode("utf-8").splitlines(keepends=True)
    for num_tokens in (10_000, 32_000):
        trained = Tokenizer.train_from_iterator(documents, num_tokens, tie_break="huggingface")
        expected = huggingface_merges(huggingface_trained(documents, num_tokens, "gpt2"))
        assert len(trained.merges) == min(num_tokens - 256, MOST_MERGES.get(name, num_tokens))
        assert trained.merges == expected


@pytest.mark.parametrize("name", ["text/en_books.txt", "text/ja_aozora.txt"])
def test_the_reference_finds_the_same_merges_in_a_megabyte(name: str) -> None:
    text = shared_file(name).read_bytes()[:1_000_000].decode("utf-8", "ignore")
    trained = Tokenizer.train_from_iterator([text], 2_000)
    assert trained.merges == train_merges([text], 2_000, [], "gpt2", "bytes")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child")
def test_ctrl_c_at_random_moments(tmp_path: Path) -> None:
    """The command ends with 130 within half a second and leaves what was there."""
    if MORE:
        text = max((Path(path) for path in MORE), key=lambda path: path.stat().st_size)
    else:
        text = tmp_path / "text.md"
        text.write_bytes(shared_file("text/ja_aozora.txt").read_bytes() * 8)
    out = tmp_path / "out" / "tok"
    Tokenizer.train_from_iterator(["low lower"], 258).save(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = [sys.executable, "-m", "tinybpe", "train", "--input", str(text), "--vocab-size", "32000"]
    whole_s = math.inf
    for _ in range(2):
        started_at = time.monotonic()
        subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
        whole_s = min(whole_s, time.monotonic() - started_at)
    chance = random.Random(0)
    waits = []
    for _ in range(NUM_INTERRUPTS):
        # Before that the interpreter is still importing, after that it may be done: Python answers then.
        moment_s = chance.uniform(0.3, max(0.4, 0.8 * whole_s))
        with subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE) as process:
            time.sleep(moment_s)
            sent_at = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            waits.append(time.monotonic() - sent_at)
        assert process.returncode == 130, errors
        assert b"Traceback" not in errors
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        assert [path.name for path in out.parent.iterdir()] == ["tok"]
    print(f"longest wait {max(waits):.2f} s of {NUM_INTERRUPTS}, a whole run takes {whole_s:.1f} s")
    assert max(waits) < 0.5
