"""Where tokens are in their text, pieces, and the names that users of other libraries type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiktoken
import tokenizers as hf
from hypothesis import given
from hypothesis import strategies as st
from strategies import byte_texts, special_token_lists, texts, tokenizers
from tinybpe import Tokenizer, UnknownTokenError
from tinybpe.reference import ReferenceTokenizer

SPECIAL = "<|endoftext|>"
Both = tuple[Tokenizer, ReferenceTokenizer]


@pytest.fixture(scope="module")
def tokenizer(stories: str) -> Tokenizer:
    return Tokenizer.train_from_iterator([stories], 500, special_tokens=[SPECIAL, "<|user|>"])


@pytest.fixture(scope="module")
def in_tiktoken(tokenizer: Tokenizer) -> tiktoken.Encoding:
    ordinary = {token: i for i, token in tokenizer.vocab.items() if i < 498}
    return tiktoken.Encoding(
        "ours",
        pat_str=tokenizer.pattern_regex,
        mergeable_ranks=ordinary,
        special_tokens=tokenizer.special_tokens,
    )


@pytest.fixture(scope="module")
def in_tokenizers(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("saved")
    tokenizer.save(folder)
    loaded: Any = hf.Tokenizer.from_file(str(folder / "tokenizer.json"))
    # Leading spaces belong to their token here.
    loaded.post_processor = hf.processors.ByteLevel(trim_offsets=False)
    return loaded


# --- Offsets ------------------------------------------------------------------------------------------------


@given(both=tokenizers(), text=st.one_of(texts, byte_texts))
def test_a_span_has_the_bytes_of_its_token(both: Both, text: str | bytes) -> None:
    tokenizer, _ = both
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    assert ids == tokenizer.encode(text, allowed_special="all")
    as_bytes = text.encode() if isinstance(text, str) else text
    tokens = tokenizer.tokenize(text, allowed_special="all")
    assert b"".join(tokens) == as_bytes
    assert tokens == [tokenizer.token_bytes(i) for i in ids]
    at = 0
    for token, (start, end) in zip(tokens, offsets, strict=True):
        if isinstance(text, str):
            # The characters that have bytes of the token, no more and no fewer.
            assert len(as_bytes[:at].decode("utf-8", "ignore")) == start
            assert len(as_bytes[: at + len(token)].decode("utf-8", "replace")) == end
        else:
            assert (start, end) == (at, at + len(token))
        at += len(token)


@given(text=texts)
def test_offsets_are_those_of_tokenizers(tokenizer: Tokenizer, in_tokenizers: Any, text: str) -> None:
    expected = in_tokenizers.encode(text)
    assert tokenizer.encode_with_offsets(text, allowed_special="all") == (expected.ids, expected.offsets)


@given(text=texts)
def test_offsets_are_those_of_tiktoken(
    tokenizer: Tokenizer, in_tiktoken: tiktoken.Encoding, text: str
) -> None:
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    decoded = tokenizer.decode_with_offsets(ids)
    assert decoded == in_tiktoken.decode_with_offsets(ids)
    assert decoded == (text, [start for start, _ in offsets])


@given(ids=st.lists(st.integers(0, 499), max_size=8))
def test_any_ids_decode_as_in_tiktoken(
    tokenizer: Tokenizer, in_tiktoken: tiktoken.Encoding, ids: list[int]
) -> None:
    try:
        expected = in_tiktoken.decode_with_offsets(ids)
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            tokenizer.decode_with_offsets(ids)
    else:
        for same in (ids, iter(ids), np.array(ids, dtype=np.uint16)):
            assert tokenizer.decode_with_offsets(same) == expected


@pytest.mark.fault("E3")
def test_unknown_ids_have_no_offsets(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnknownTokenError, match="500 at position 1"):
        tokenizer.decode_with_offsets([97, 500])
    assert tokenizer.decode_with_offsets([]) == ("", [])
    assert tokenizer.encode_with_offsets("") == ([], [])


def test_special_tokens_are_refused_and_allowed_as_in_encode(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.encode_with_offsets, tokenizer.tokenize):
        with pytest.raises(ValueError, match="endoftext"):
            call(SPECIAL)
    assert tokenizer.tokenize("a" + SPECIAL, allowed_special={SPECIAL}) == [b"a", SPECIAL.encode()]
    assert tokenizer.encode_with_offsets("a" + SPECIAL, allowed_special="all")[1] == [(0, 1), (1, 14)]
    assert len(tokenizer.tokenize(SPECIAL, disallowed_special=())) > 1


def test_ordinary_to_numpy(tokenizer: Tokenizer, stories: str) -> None:
    ids = tokenizer.encode_ordinary_to_numpy(stories)
    assert ids.dtype == np.uint16
    assert ids.tolist() == tokenizer.encode_ordinary(stories)
    assert tokenizer.encode_ordinary_to_numpy(b"").shape == (0,)


# --- Names of other libraries -------------------------------------------------------------------------------


def test_names_of_tiktoken(tokenizer: Tokenizer, in_tiktoken: tiktoken.Encoding) -> None:
    for i in range(500):
        token = in_tiktoken.decode_single_token_bytes(i)
        assert tokenizer.decode_single_token_bytes(i) == token
        assert tokenizer.encode_single_token(token) == in_tiktoken.encode_single_token(token) == i
    assert tokenizer.encode_single_token(SPECIAL) == in_tiktoken.encode_single_token(SPECIAL)
    for encoding in (tokenizer, in_tiktoken):
        with pytest.raises(KeyError):
            encoding.encode_single_token("no single token")
        with pytest.raises(KeyError):
            encoding.decode_single_token_bytes(10_000)


def test_names_of_tokenizers(tokenizer: Tokenizer, in_tokenizers: Any) -> None:
    vocab = tokenizer.get_vocab()
    assert vocab == {token: i for i, token in tokenizer.vocab.items()}
    assert len(vocab) == len(in_tokenizers.get_vocab()) == 500
    for token in ("a", SPECIAL, "no single token"):
        assert tokenizer.token_to_id(token) == in_tokenizers.token_to_id(token)
    assert tokenizer.id_to_token(97) == b"a"
    assert tokenizer.id_to_token(500) is in_tokenizers.id_to_token(500) is None
    vocab.clear()
    assert len(tokenizer.get_vocab()) == 500


@given(specials=special_token_lists)
def test_a_token_that_is_special_too_keeps_its_first_meaning(specials: list[str]) -> None:
    """`get_vocab` and `token_id` agree also where a special token spells an ordinary one."""
    tokenizer = Tokenizer.train_from_iterator(["aaaa" * 9], 262, special_tokens=[*specials, "x"])
    assert {token: tokenizer.token_id(token) for token in tokenizer.get_vocab()} == tokenizer.get_vocab()


def test_a_tokenizer_is_no_function(tokenizer: Tokenizer) -> None:
    assert not callable(tokenizer)


def test_docstring_names_them(tokenizer: Tokenizer) -> None:
    for name in (
        "encode_single_token",
        "decode_single_token_bytes",
        "token_to_id",
        "id_to_token",
        "get_vocab",
    ):
        assert f"`{name}(" in (Tokenizer.__doc__ or "")
