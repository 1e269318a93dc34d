"""The patterns of published tokenizers cut text as `tokenizers` cuts it, compiled as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tokenizers as hf
from strategies import adversarial_texts
from tinybpe import Tokenizer, WordCounts
from tinybpe.errors import PatternError
from tinybpe.patterns import PATTERNS
from tokenizers.pre_tokenizers import Sequence, Split

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"

# Strings of published files that have no name here, each as it stands in them.
OTHERS: dict[str, list[str]] = {
    "seed": [
        rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{SPACES}"
    ],
    "ling": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "nanochat, as it is there": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "exaone": [
        rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "jais2": [
        rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)"
        r"|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"
    ],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    # Its `\b` is written out, since `\w` has other characters in Oniguruma.
    "aya": [r"\d{1,3}(?=(?:\d{3})*(?![\p{L}\p{M}\p{N}\p{Pc}]))", *PATTERNS["o200k"]],
    "minicpm": [
        r"\p{N}{1,3}",
        rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}",
    ],
    "deepseek-llm": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
    "falcon": [r"\p{P}+", *PATTERNS["gpt2"], r"\p{N}+", "[0-9][0-9][0-9]"],
    "digits in groups from the right": [
        r"\p{Nd}+",
        r"\A\p{Nd}{1,2}(?=(?:\p{Nd}{3})+\z)",
        r"\p{Nd}{3}",
    ],
    "gaps": ["[a-z]+"],
    "nothing": [r"\d*"],
}
KNOWN = {name: list(regexes) for name, regexes in PATTERNS.items()} | OTHERS


@pytest.mark.parametrize("name", KNOWN)
def test_pieces_equal_those_of_tokenizers(name: str) -> None:
    regexes = KNOWN[name]
    texts = adversarial_texts(20_000)
    splitter = Sequence([Split(hf.Regex(regex), "isolated") for regex in regexes])
    assert (
        Tokenizer.from_vocab({i: bytes([i]) for i in range(256)}, [], pattern=regexes).pattern_not_compiled
        is None
    )
    # In groups, to see on which texts they differ.
    for start in range(0, len(texts), 500):
        group = texts[start : start + 500]
        expected = Counter(piece for text in group for piece, _ in splitter.pre_tokenize_str(text) if piece)
        counts = dict(WordCounts.from_iterator(group, pattern=regexes))
        assert counts == {piece.encode(): count for piece, count in expected.items()}, group


@pytest.mark.parametrize("name", ["qwen3_5", "deepseek", "starcoder", "superbpe"])
def test_a_saved_tokenizer_gives_the_same_ids_in_tokenizers(name: str, tmp_path: Path) -> None:
    texts = adversarial_texts(2_000)
    tokenizer = Tokenizer.train_from_iterator(texts, 600, pattern=KNOWN[name])
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path) == tokenizer
    theirs = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected = [encoding.ids for encoding in theirs.encode_batch_fast(texts)]
    assert tokenizer.encode_ordinary_batch(texts) == expected


def test_names_of_other_libraries_are_known() -> None:
    for alias, name in [("cl100k_base", "cl100k"), ("o200k_base", "o200k"), ("r50k_base", "gpt2")]:
        assert Tokenizer.train_from_iterator(["a"], 256, pattern=alias).pattern == name
    with pytest.raises(PatternError, match="gpt2, cl100k, o200k"):
        Tokenizer.train_from_iterator(["a"], 256, pattern="gpt5_base")
    with pytest.raises(TypeError, match="list of regexes"):
        Tokenizer.train_from_iterator(["a"], 256, pattern=7)  # type: ignore[arg-type]
