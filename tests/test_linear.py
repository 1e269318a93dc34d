"""Texts of one character, the worst there are: 100 MB in linear time, with every published pattern.

`uv run pytest -m slow tests/test_linear.py` takes ten minutes.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from test_golden_patterns import KNOWN
from tinybpe import Tokenizer

NUM_BYTES = 100_000_000
# Twice the text takes twice the time, and some for a machine that does other work too.
MOST_TIMES = 2.6
# What is faster than this is not timed well.
LEAST_SECONDS = 0.3


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", " ", "7", "語"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_text_of_one_character_takes_linear_time(name: str, unit: str, tmp_path: Path) -> None:
    # Some tokens of the unit twice, four times and eight times, so that pieces are merged.
    parts = [bytes([byte]) for byte in unit.encode()]
    merges = [(b"".join(parts[:i]), parts[i]) for i in range(1, len(parts))]
    merges += [(times * unit.encode(), times * unit.encode()) for times in (1, 2, 4)]
    vocab = {i: bytes([i]) for i in range(256)} | {256 + i: a + b for i, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer.from_vocab(vocab, merges, pattern=KNOWN[name])

    def seconds(num_units: int) -> float:
        text = unit.encode() * num_units
        (tmp_path / "text").write_bytes(text)
        start = time.process_time()
        tokenizer.encode_file(tmp_path / "text", tmp_path / "ids", overwrite=True)
        taken = time.process_time() - start
        ids = np.fromfile(tmp_path / "ids", dtype=np.uint16)
        assert b"".join(tokenizer.decode_bytes(part) for part in np.array_split(ids, 50)) == text
        return taken

    num_units = NUM_BYTES // len(unit.encode())
    half, whole = seconds(num_units // 2), seconds(num_units)
    assert whole < MOST_TIMES * max(half, LEAST_SECONDS), (half, whole)
