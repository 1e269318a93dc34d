"""The executable specification itself: examples worked out by hand, and the rules that it states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import PATTERNS, SPECIAL_TOKENS, TIE_BREAKS, byte_texts, corpora, special_token_lists, texts
from tinybpe.reference import (
    ReferenceTokenizer,
    TieBreak,
    gpt2_character,
    split_pieces,
    split_special,
    train_merges,
)


def test_special_tokens_are_cut_out_leftmost_longest() -> None:
    cut = list(split_special(b"x<a>b<a>y", ["<a>", "<a>b", "b<"]))
    assert cut == [(b"x", False), (b"<a>b", True), (b"<a>", True), (b"y", False)]


def test_text_without_special_tokens_is_one_stretch() -> None:
    assert list(split_special(b"text", [])) == [(b"text", False)]
    assert list(split_special(b"", ["<a>"])) == []


def test_pieces_of_invalid_utf8_are_single_bytes() -> None:
    assert list(split_pieces(b"ab\xff\xc3 c", "gpt2")) == [b"ab", b"\xff", b"\xc3", b" c"]
    # The text before an invalid byte ends there: the last space is not kept for what follows.
    assert list(split_pieces(b"a  \xff", "gpt2")) == [b"a", b"  ", b"\xff"]


def test_what_a_pattern_leaves_out_is_a_piece() -> None:
    assert list(split_pieces(b"..ab.", "[a-z]+")) == [b"..", b"ab", b"."]
    assert list(split_pieces(b"abba", "b*")) == [b"a", b"bb", b"a"]


def test_contract_example_of_ids() -> None:
    tokenizer = ReferenceTokenizer.train(["ababab"], 259, ["<|endoftext|>"])
    assert tokenizer.merges == [(b"a", b"b"), (b"ab", b"ab")]
    assert tokenizer.vocab[256] == b"ab"
    assert tokenizer.vocab[257] == b"abab"
    assert tokenizer.special_tokens == {"<|endoftext|>": 258}
    assert tokenizer.encode("abab<|endoftext|>ab") == [257, 258, 256]


def test_the_two_tie_rules_differ() -> None:
    # Each pair occurs once: the greatest bytes against the smallest ids, where a space comes after letters.
    assert train_merges(["ab", "cd", " e"], 257) == [(b"c", b"d")]
    assert train_merges(["ab", "cd", " e"], 257, tie_break="huggingface") == [(b"a", b"b")]


def test_huggingface_orders_bytes_as_gpt2_writes_them() -> None:
    assert [chr(gpt2_character(byte)) for byte in (0x21, 0x20, 0x00, 0xAD, 0xFF)] == ["!", "Ġ", "Ā", "Ń", "ÿ"]


def test_no_pair_left_ends_training() -> None:
    assert train_merges(["ab a"], 1000, pattern="gpt2") == [(b"a", b"b"), (b" ", b"a")]
    assert train_merges([], 1000) == []


@given(byte_texts, special_token_lists)
def test_cutting_loses_nothing(text: bytes, specials: list[str]) -> None:
    cut = list(split_special(text, specials))
    assert b"".join(stretch for stretch, _ in cut) == text
    assert all(stretch.decode() in specials for stretch, is_special in cut if is_special)


@given(byte_texts, st.sampled_from(PATTERNS))
def test_pieces_lose_nothing(text: bytes, pattern: str) -> None:
    pieces = list(split_pieces(text, pattern))
    assert b"".join(pieces) == text
    assert all(pieces)


@given(corpora, byte_texts, st.sampled_from(PATTERNS), st.sampled_from(TIE_BREAKS))
def test_decoding_gives_the_text_back(
    corpus: list[str | bytes], text: bytes, pattern: str, tie_break: TieBreak
) -> None:
    tokenizer = ReferenceTokenizer.train(corpus, 300, SPECIAL_TOKENS[:3], pattern, tie_break)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, ordinary=True)) == text


@given(texts)
def test_ordinary_text_has_no_special_ids(text: str) -> None:
    tokenizer = ReferenceTokenizer.train([], 256 + len(SPECIAL_TOKENS), SPECIAL_TOKENS)
    assert all(token_id < 256 for token_id in tokenizer.encode(text, ordinary=True))


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_order_of_texts_does_not_matter(tie_break: TieBreak) -> None:
    corpus = ["low lower", "newest", "widest newer"]
    forth = train_merges(corpus, 280, tie_break=tie_break)
    back = train_merges(reversed(corpus), 280, tie_break=tie_break)
    assert forth == back
