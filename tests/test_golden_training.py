"""Golden merges: those recorded in `golden/merges.json`, and those that `tokenizers` learns.

`python tests/test_golden_training.py` writes the file anew, from the reference.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers as hf
from conftest import GOLDEN, shared_file
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts
from tinybpe import Tokenizer
from tinybpe.patterns import PATTERNS
from tinybpe.reference import Pair, TieBreak, train_merges
from tokenizers import decoders, models, pre_tokenizers, trainers

SPECIAL = "<|endoftext|>"
NUM_TOKENS = 600
TIE_BREAKS: tuple[TieBreak, ...] = ("bytes", "huggingface")


def huggingface_trained(documents: list[str], num_tokens: int, pattern: str) -> hf.Tokenizer:
    """Train with `tokenizers` as its documentation does for byte-level BPE."""
    tokenizer = hf.Tokenizer(models.BPE())
    if pattern == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        regexes = PATTERNS.get(pattern, [pattern])
        splits = [pre_tokenizers.Split(hf.Regex(regex), behavior="isolated") for regex in regexes]
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def huggingface_merges(tokenizer: hf.Tokenizer) -> list[Pair]:
    """Return the merges of a byte-level tokenizer of `tokenizers`, as bytes."""
    from tinybpe.reference import gpt2_character

    byte_of = {chr(gpt2_character(byte)): byte for byte in range(256)}
    written = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(bytes(byte_of[c] for c in token) for token in pair) for pair in written]  # type: ignore[misc]


def golden_merges() -> dict[str, list[list[str]]]:
    content = json.loads((GOLDEN / "merges.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_recorded_merges(stories: str, pattern: str, tie_break: TieBreak) -> None:
    expected = [
        (bytes.fromhex(left), bytes.fromhex(right))
        for left, right in golden_merges()[f"{pattern}/{tie_break}"]
    ]
    assert len(expected) == NUM_TOKENS - 256
    trained = Tokenizer.train_from_iterator(
        [stories],
        NUM_TOKENS + 1,
        special_tokens=[SPECIAL],
        pattern=pattern,
        tie_break=tie_break,
    )
    assert trained.merges == expected
    assert train_merges([stories], NUM_TOKENS, [SPECIAL], pattern, tie_break) == expected


@pytest.mark.parametrize("pattern", PATTERNS)
def test_recorded_merges_are_those_of_tokenizers(stories: str, pattern: str) -> None:
    documents = stories.split(SPECIAL)
    expected = huggingface_merges(huggingface_trained(documents, NUM_TOKENS, pattern))
    recorded = golden_merges()[f"{pattern}/huggingface"]
    assert [[left.hex(), right.hex()] for left, right in expected] == recorded


@given(st.lists(texts, max_size=6), st.sampled_from(list(PATTERNS)), st.integers(256, 330))
def test_tokenizers_trains_the_same_merges(documents: list[str], pattern: str, num_tokens: int) -> None:
    trained = Tokenizer.train_from_iterator(documents, num_tokens, pattern=pattern, tie_break="huggingface")
    assert trained.merges == huggingface_merges(huggingface_trained(documents, num_tokens, pattern))


@pytest.mark.parametrize(
    ("name", "num_chars", "num_tokens", "pattern"),
    [
        ("tinystories_valid.txt", None, 10_000, "gpt2"),
        ("tinystories_train.txt", 2_000_000, 5_000, "cl100k"),
        ("text/en_books.txt", 1_000_000, 8_000, "gpt2"),
        ("text/de_laws.md", 1_000_000, 4_000, "o200k"),
        ("text/ja_aozora.txt", 300_000, 4_000, "gpt2"),
        ("text/udhr_all.txt", 600_000, 4_000, "gpt2"),
    ],
)
def test_tokenizers_trains_the_same_on_real_text(
    name: str, num_chars: int | None, num_tokens: int, pattern: str
) -> None:
    text = shared_file(name).read_bytes().decode("utf-8", "replace")[:num_chars]
    documents = text.split(SPECIAL) if SPECIAL in text else text.split("\n\n")
    trained = Tokenizer.train_from_iterator(documents, num_tokens, pattern=pattern, tie_break="huggingface")
    expected = huggingface_trained(documents, num_tokens, pattern)
    assert trained.merges == huggingface_merges(expected)
    # Ids differ only in how the bytes are numbered: both write the same tokens.
    sample = text[:50_000].replace(SPECIAL, "")
    ours = [trained.token_bytes(token_id) for token_id in trained.encode(sample)]
    theirs = expected.encode(sample).tokens
    assert len(ours) == len(theirs)
    assert b"".join(ours).decode() == sample


def write_golden() -> None:
    """Record what the reference learns from `golden/stories.md`."""
    stories = (GOLDEN / "stories.md").read_text(encoding="utf-8")
    recorded = {
        f"{pattern}/{tie_break}": [
            [left.hex(), right.hex()]
            for left, right in train_merges([stories], NUM_TOKENS, [SPECIAL], pattern, tie_break)
        ]
        for pattern in PATTERNS
        for tie_break in TIE_BREAKS
    }
    lines = (
        f"{json.dumps(name)}: {json.dumps(merges, separators=(',', ':'))}"
        for name, merges in recorded.items()
    )
    Path(GOLDEN / "merges.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
