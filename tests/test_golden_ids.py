"""Golden ids: the vocabularies that everybody has give the ids that `tiktoken` and `tokenizers` give."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
import tokenizers as hf
from conftest import shared_file
from hypothesis import given
from strategies import adversarial_texts, texts
from tinybpe import Tokenizer
from tinybpe.export import PROBES
from tinybpe.reference import PATTERNS, ReferenceTokenizer

SPECIAL = "<|endoftext|>"
RANKS = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}
SPECIAL_IDS = {
    "gpt2": {SPECIAL: 50256},
    "cl100k": {
        SPECIAL: 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
    "o200k": {SPECIAL: 199999, "<|endofprompt|>": 200018},
}
MAX_CHARS = 400_000

TEXTS = [
    "tinystories_valid.txt",
    "text/blns.txt",
    "text/de_laws.md",
    "text/emoji-test.txt",
    "text/en_books.txt",
    "text/ja_aozora.txt",
    "text/udhr_all.txt",
    "text/zh_poetry.txt",
    "gpt2_vocab.json",
]


@functools.cache
def gpt2() -> Tokenizer:
    vocab, merges = shared_file("gpt2_vocab.json"), shared_file("gpt2_merges.txt")
    return Tokenizer.from_gpt2(vocab, merges, special_tokens=[SPECIAL])


@functools.cache
def from_ranks(pattern: str) -> Tokenizer:
    return Tokenizer.from_tiktoken(
        shared_file(f"vocabs/{RANKS[pattern]}.tiktoken"), pattern, SPECIAL_IDS[pattern]
    )


@functools.cache
def tiktoken_encoding(pattern: str) -> tiktoken.Encoding:
    """Build tiktoken's encoding from the file, since by name it would download it.

    The pattern is the published one: tiktoken's later spelling of cl100k splits spaces at the end of a text
    in another way.
    """
    lines = shared_file(f"vocabs/{RANKS[pattern]}.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    return tiktoken.Encoding(
        pattern, pat_str=PATTERNS[pattern][0], mergeable_ranks=ranks, special_tokens=SPECIAL_IDS[pattern]
    )


@functools.cache
def huggingface_gpt2() -> hf.Tokenizer:
    return hf.Tokenizer.from_file(str(shared_file("vocabs/gpt2.tokenizer.json")))


def text_of(name: str, max_chars: int = MAX_CHARS) -> str:
    with shared_file(name).open(encoding="utf-8", errors="replace", newline="") as file:
        return file.read(max_chars)


# --- Real texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("pattern", RANKS)
def test_equals_tiktoken(pattern: str, name: str) -> None:
    text = text_of(name)
    expected = tiktoken_encoding(pattern).encode(text, allowed_special="all")
    assert from_ranks(pattern).encode(text, allowed_special="all") == expected


@pytest.mark.parametrize("name", TEXTS)
def test_gpt2_files_equal_tiktoken_and_tokenizers(name: str) -> None:
    text = text_of(name)
    ids = gpt2().encode(text, allowed_special="all")
    assert ids == tiktoken_encoding("gpt2").encode(text, allowed_special="all")
    assert ids == huggingface_gpt2().encode(text).ids
    assert gpt2().decode(ids) == text
    assert gpt2().encode_ordinary(text) == tiktoken_encoding("gpt2").encode_ordinary(text)


def test_whole_stories_through_a_file(tmp_path: Path) -> None:
    path = shared_file("tinystories_valid.txt")
    text = path.read_text(encoding="utf-8")
    info = gpt2().encode_file(path, tmp_path / "x.bin")
    ids = (tmp_path / "x.bin").read_bytes()
    expected = tiktoken_encoding("gpt2").encode(text, allowed_special="all")
    assert info.num_tokens == len(expected)
    import numpy as np

    assert np.frombuffer(ids, "<u2").tolist() == expected
    assert gpt2().decode_bytes(np.frombuffer(ids, "<u2")) == path.read_bytes()


# --- Random texts -------------------------------------------------------------------------------------------


@given(texts)
@pytest.mark.parametrize("pattern", RANKS)
def test_equals_tiktoken_on_random_text(pattern: str, text: str) -> None:
    expected = tiktoken_encoding(pattern).encode(text, disallowed_special=())
    assert from_ranks(pattern).encode_ordinary(text) == expected


@given(texts)
def test_gpt2_equals_tokenizers_on_random_text(text: str) -> None:
    assert gpt2().encode(text, allowed_special="all") == huggingface_gpt2().encode(text).ids


@given(texts)
def test_gpt2_equals_reference_on_random_text(text: str) -> None:
    reference = reference_gpt2()
    assert gpt2().encode_ordinary(text) == reference.encode(text, ordinary=True)


@functools.cache
def reference_gpt2() -> ReferenceTokenizer:
    tokenizer = gpt2()
    return ReferenceTokenizer(tokenizer.vocab, tokenizer.merges, tokenizer.special_tokens)


@pytest.mark.parametrize("pattern", RANKS)
def test_equals_tiktoken_and_tokenizers_on_adversarial_text(pattern: str, tmp_path: Path) -> None:
    odd = adversarial_texts(50_000)
    from_ranks(pattern).save(tmp_path)
    ours = from_ranks(pattern).encode_ordinary_batch(odd)
    assert ours == tiktoken_encoding(pattern).encode_ordinary_batch(odd)
    theirs = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode_batch_fast(odd)
    assert ours == [encoding.ids for encoding in theirs]


# --- Ids recorded by others ---------------------------------------------------------------------------------


def recorded(name: str, vocabulary: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the texts of kitoken's test files, newlines and trailing spaces unescaped, and their ids."""
    text = shared_file(f"golden/kitoken/{name}_input.txt").read_text(encoding="utf-8")
    ids = shared_file(f"golden/kitoken/{name}_tokens_{vocabulary}.txt").read_text(encoding="utf-8")
    if name == "utf8":
        yield text, [int(token_id) for token_id in ids.split(",")]
        return
    # Not `splitlines`, which cuts at more than newlines.
    for line, numbers in zip(text.split("\n"), ids.split("\n"), strict=True):
        unescaped = line.replace("\\n", "\n").replace("\\s", " ")
        yield unescaped, [int(token_id) for token_id in numbers.split(",") if token_id.strip()]


@pytest.mark.parametrize("name", ["small", "mixed", "utf8"])
@pytest.mark.parametrize("pattern", RANKS)
def test_ids_recorded_by_kitoken(pattern: str, name: str) -> None:
    vocabulary = "gpt2" if pattern == "gpt2" else RANKS[pattern]
    for text, expected in recorded(name, vocabulary):
        assert from_ranks(pattern).encode(text, allowed_special="all") == expected


# --- Imports ------------------------------------------------------------------------------------------------


def test_three_ways_to_gpt2() -> None:
    loaded = Tokenizer.load(shared_file("vocabs/gpt2.tokenizer.json"))
    assert loaded == gpt2() == from_ranks("gpt2")
    assert loaded.vocab_size == 50257
    assert len(loaded.merges) == 50000
    assert loaded.eot_token == 50256


def test_dolma2_equals_tokenizers() -> None:
    path = shared_file("vocabs/dolma2.tokenizer.json")
    ours, theirs = Tokenizer.load(path), hf.Tokenizer.from_file(str(path))
    for name in TEXTS:
        text = text_of(name, 100_000)
        assert ours.encode(text, allowed_special="all") == theirs.encode(text, add_special_tokens=False).ids


def test_a_normalizer_is_carried_out() -> None:
    path = shared_file("vocabs/gpt_neox.tokenizer.json")
    ours, theirs = Tokenizer.load(path), hf.Tokenizer.from_file(str(path))
    for text in ("e\u0301 \u1100\u1161", "a  b   c", "<|endoftext|>", *PROBES):
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, allowed_special="all") == ids
        assert ours.decode(ids) == ours.normalize(text)
