"""Every example in a docstring of `tinybpe` runs, in a folder of its own."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "__init__",
    "arguments",
    "cli",
    "corpus",
    "errors",
    "export",
    "flags",
    "ids",
    "look",
    "outputs",
    "progress",
    "reference",
    "stream_decoder",
    "suggest",
    "summary",
    "token_file",
    "tokenizer",
    "truncation",
    "vocab_sizes",
    "word_counts",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("tinybpe" if name == "__init__" else f"tinybpe.{name}")
    assert doctest.testmod(module).failed == 0
