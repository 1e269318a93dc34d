"""Encoding and decoding: the ids of the reference by every way in, and the exact bytes back."""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SPECIAL_TOKENS, byte_texts, copy_of, texts, tokenizers
from tinybpe import SpecialTokenError, StreamDecoder, Tokenizer, UnknownTokenError
from tinybpe.patterns import PATTERNS
from tinybpe.reference import ReferenceTokenizer

SPECIAL = "<|endoftext|>"
Both = tuple[Tokenizer, ReferenceTokenizer]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    corpus = ["low lower lowest newest widest"] * 3
    return Tokenizer.train_from_iterator(corpus, 290, special_tokens=[SPECIAL, "<|pad|>"])


# --- Against the reference ----------------------------------------------------------------------------------


@given(both=tokenizers(), text=st.one_of(texts, byte_texts))
def test_equals_reference(both: Both, text: str | bytes) -> None:
    tokenizer, reference = both
    ids = tokenizer.encode(text, allowed_special="all")
    assert ids == reference.encode(text)
    assert tokenizer.encode_ordinary(text) == reference.encode(text, ordinary=True)
    assert tokenizer.encode(text, disallowed_special=()) == reference.encode(text, ordinary=True)
    assert tokenizer.encode_to_numpy(text, allowed_special="all").tolist() == ids
    as_bytes = text if isinstance(text, bytes) else text.encode()
    assert tokenizer.decode_bytes(ids) == as_bytes == reference.decode(ids)
    assert tokenizer.decode(ids) == as_bytes.decode("utf-8", "replace")
    # The pieces that are cached by now give the same again.
    assert tokenizer.encode(text, allowed_special="all") == ids


@given(both=tokenizers(), text=texts, data=st.data())
def test_allowing_some_special_tokens(both: Both, text: str, data: st.DataObject) -> None:
    tokenizer, reference = both
    names = list(tokenizer.special_tokens)
    allowed = data.draw(st.sets(st.sampled_from(names))) if names else set()
    known = {name: reference.special_tokens[name] for name in names if name in allowed}
    vocab = {
        i: token
        for i, token in reference.vocab.items()
        if i < 256 or i not in reference.special_tokens.values()
    }
    expected = ReferenceTokenizer(
        vocab | {i: name.encode() for name, i in known.items()}, reference.merges, known, reference.pattern
    ).encode(text)
    assert tokenizer.encode(text, allowed_special=allowed, disallowed_special=()) == expected


@given(
    both=tokenizers(), batch=st.lists(st.one_of(texts, byte_texts), max_size=6), num_threads=st.integers(1, 3)
)
def test_batches_equal_single_calls(both: Both, batch: list[str | bytes], num_threads: int) -> None:
    tokenizer, _ = both
    expected = [tokenizer.encode(text, allowed_special="all") for text in batch]
    assert tokenizer.encode_batch(batch, allowed_special="all", num_threads=num_threads) == expected
    ordinary = [tokenizer.encode_ordinary(text) for text in batch]
    assert tokenizer.encode_ordinary_batch(batch, num_threads=num_threads) == ordinary
    ids, offsets = tokenizer.encode_batch_to_numpy(batch, allowed_special="all", num_threads=num_threads)
    assert offsets.tolist() == [sum(map(len, expected[:index])) for index in range(len(batch) + 1)]
    assert ids.tolist() == functools.reduce(operator.iadd, expected, [])


@given(
    both=tokenizers(), text=byte_texts, cuts=st.lists(st.integers(0, 60), max_size=6), ordinary=st.booleans()
)
def test_any_chunking_of_bytes(both: Both, text: bytes, cuts: list[int], ordinary: bool) -> None:
    tokenizer, reference = both
    edges = [0, *sorted(cuts), max(len(text), 60)]
    chunks = [text[start:end] for start, end in itertools.pairwise(edges)]
    assert list(tokenizer.encode_iterable(chunks, ordinary=ordinary)) == reference.encode(
        text, ordinary=ordinary
    )


@given(both=tokenizers(), text=texts, size=st.integers(1, 7))
def test_any_chunking_of_strings(both: Both, text: str, size: int) -> None:
    tokenizer, reference = both
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(tokenizer.encode_iterable(chunks)) == reference.encode(text)


@given(
    both=tokenizers(),
    inputs=st.lists(byte_texts, min_size=1, max_size=3),
    num_threads=st.integers(1, 3),
    ordinary=st.booleans(),
)
def test_files_equal_texts(both: Both, inputs: list[bytes], num_threads: int, ordinary: bool) -> None:
    tokenizer, reference = both
    expected = [reference.encode(text, ordinary=ordinary) for text in inputs]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.txt" for index in range(len(inputs))]
        for path, text in zip(paths, inputs, strict=True):
            path.write_bytes(text)
        output = Path(folder) / "out.bin"
        info = tokenizer.encode_file(paths, output, num_threads=num_threads, ordinary=ordinary)
        assert np.fromfile(output, dtype="<u2").tolist() == functools.reduce(operator.iadd, expected, [])
    assert info.num_tokens == sum(map(len, expected))
    assert info.num_bytes == sum(map(len, inputs))


def test_special_ids_that_are_given_stay(tokenizer: Tokenizer) -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {1000: b"ab", 300: SPECIAL.encode()}
    given_ids = Tokenizer.from_vocab(vocab, [(b"a", b"b")], special_tokens=[SPECIAL])
    assert given_ids.encode("ab" + SPECIAL, allowed_special="all") == [1000, 300]
    assert given_ids.vocab_size == 1001
    assert given_ids.special_tokens == {SPECIAL: 300}


def test_long_text_equals_its_parts(tokenizer: Tokenizer, stories: str) -> None:
    # Beyond the size from which a call runs on threads of its own.
    part = stories.replace(SPECIAL, "").strip()
    text = part * 900
    assert len(text) > 1 << 20
    once = tokenizer.encode_ordinary(part)
    assert tokenizer.encode(text) == once * 900
    assert tokenizer.encode_to_numpy(text).tolist() == once * 900


# --- Special tokens -----------------------------------------------------------------------------------------


def test_special_token_in_text_is_refused_with_remedies(tokenizer: Tokenizer) -> None:
    for encode in (
        tokenizer.encode,
        tokenizer.encode_to_numpy,
        lambda text: tokenizer.encode_batch(["fine", text]),
    ):
        with pytest.raises(SpecialTokenError) as caught:
            encode(f"low{SPECIAL}")
        message = str(caught.value)
        for part in (SPECIAL, "allowed_special", "disallowed_special=()", "encode_ordinary"):
            assert part in message


def test_what_is_allowed_wins_over_what_is_disallowed(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(SPECIAL, allowed_special={SPECIAL}, disallowed_special="all")
    assert ids == [tokenizer.special_tokens[SPECIAL]]


def test_only_named_tokens_are_refused(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("<|pad|>", disallowed_special={SPECIAL}) == tokenizer.encode_ordinary("<|pad|>")
    with pytest.raises(SpecialTokenError):
        tokenizer.encode("<|pad|>", disallowed_special={"<|pad|>"})


def test_pieces_of_a_special_token_are_text(tokenizer: Tokenizer) -> None:
    nested = "<|endo<|endoftext|>ftext|>"
    ids = tokenizer.encode(nested, allowed_special={SPECIAL})
    assert ids.count(tokenizer.special_tokens[SPECIAL]) == 1
    assert tokenizer.decode(ids) == nested
    spelled = tokenizer.decode(tokenizer.encode_ordinary(SPECIAL))
    with pytest.raises(SpecialTokenError):
        tokenizer.encode(spelled)


@pytest.mark.parametrize("argument", ["allowed_special", "disallowed_special"])
def test_unknown_special_token_is_named(tokenizer: Tokenizer, argument: str) -> None:
    with pytest.raises(SpecialTokenError, match=r"<\|nope\|>.*<\|endoftext\|>"):
        tokenizer.encode("low", **{argument: {"<|nope|>"}})
    with pytest.raises(TypeError, match=argument):
        tokenizer.encode("low", **{argument: SPECIAL})


# --- Arguments ----------------------------------------------------------------------------------------------


def test_empty_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == tokenizer.encode(b"") == tokenizer.encode_ordinary("") == []
    assert tokenizer.encode_to_numpy("").shape == (0,)
    assert tokenizer.encode_batch([]) == []
    ids, offsets = tokenizer.encode_batch_to_numpy([])
    assert (ids.tolist(), offsets.tolist()) == ([], [0])
    assert list(tokenizer.encode_iterable([])) == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode_bytes([]) == b""


def test_array_types(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_to_numpy("low").dtype == np.uint16
    vocab = {i: bytes([i]) for i in range(256)}
    for highest, dtype in ((65_535, np.uint16), (65_536, np.uint32)):
        wide = Tokenizer.from_vocab(vocab | {highest: b"ab"}, [(b"a", b"b")])
        ids = wide.encode_to_numpy("ab")
        assert ids.dtype == dtype
        assert ids.tolist() == [highest]


@pytest.mark.fault("E4")
@pytest.mark.parametrize("text", [None, 3, ["low"], 1.5])
def test_text_of_wrong_type(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(TypeError):
        tokenizer.encode(text)
    with pytest.raises(TypeError):
        tokenizer.encode_batch(["low", text])


def test_one_text_is_no_batch(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.encode_batch, tokenizer.encode_ordinary_batch, tokenizer.encode_batch_to_numpy):
        with pytest.raises(TypeError, match="list of texts"):
            call("low")
    with pytest.raises(TypeError, match="list of texts"):
        list(tokenizer.encode_iterable("low"))


@pytest.mark.fault("E4")
def test_lone_surrogate_is_refused_with_its_place(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="3"):
        tokenizer.encode("low\ud800")


@pytest.mark.parametrize("num_threads", [0, -2])
def test_num_threads_too_small(tokenizer: Tokenizer, num_threads: int) -> None:
    with pytest.raises(ValueError, match="num_threads"):
        tokenizer.encode_batch(["low"], num_threads=num_threads)


# --- Decoding -----------------------------------------------------------------------------------------------


@pytest.mark.fault("E3")
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", ">u2", ">i4"])
def test_arrays_of_any_integer_type(tokenizer: Tokenizer, dtype: str) -> None:
    ids = np.array([108, 111, 119], dtype=dtype)
    assert tokenizer.decode(ids) == "low"
    assert tokenizer.decode(np.repeat(ids, 2)[::2]) == "low"


def test_other_iterables(tokenizer: Tokenizer) -> None:
    torch = pytest.importorskip("torch")
    ids = tokenizer.encode("low lower")
    others: list[Any] = [tuple(ids), iter(ids), torch.tensor(ids), np.array(ids), [np.int64(i) for i in ids]]
    for same in others:
        assert tokenizer.decode(same) == "low lower"
    assert tokenizer.decode_batch([ids, []]) == ["low lower", ""]


@pytest.mark.fault("E3")
@pytest.mark.parametrize("bad", [-1, 292, 2**31, 2**40, 2**70, -(2**70)])
def test_unknown_id_is_named_with_its_place(tokenizer: Tokenizer, bad: int) -> None:
    with pytest.raises(UnknownTokenError) as caught:
        tokenizer.decode([108, 111, bad])
    assert str(bad) in str(caught.value)
    assert "2" in str(caught.value)


@pytest.mark.fault("E3")
def test_a_hole_in_the_ids_is_unknown() -> None:
    tokenizer = Tokenizer.from_vocab({i: bytes([i]) for i in range(256)} | {300: b"ab"}, [(b"a", b"b")])
    with pytest.raises(UnknownTokenError, match="299"):
        tokenizer.decode([299])
    with pytest.raises(UnknownTokenError):
        tokenizer.token_bytes(299)


@pytest.mark.fault("E3")
@pytest.mark.parametrize(
    "ids", [["low"], [1.0], [None], [[1]], 3, "low", b"low", np.array([1.0]), np.array([[1, 2]])]
)
def test_ids_of_wrong_type(tokenizer: Tokenizer, ids: list[int]) -> None:
    with pytest.raises(TypeError):
        tokenizer.decode(ids)


@pytest.mark.fault("E8")
def test_errors_of_decode(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([0xE9, 108]) == "\ufffdl"
    assert tokenizer.decode([0xE9, 108], errors="ignore") == "l"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode([0xE9, 108], errors="strict")


@pytest.mark.fault("E8")
@given(both=tokenizers(), text=byte_texts, size=st.integers(1, 3))
def test_stream_decoder_gives_whole_characters(both: Both, text: bytes, size: int) -> None:
    tokenizer, _ = both
    ids = tokenizer.encode_ordinary(text)
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.push(ids[start : start + size]) for start in range(0, len(ids), size)]
    assert "".join(parts) + decoder.finish() == text.decode("utf-8", "replace")
    one_by_one = StreamDecoder(tokenizer, errors="ignore")
    assert "".join(map(one_by_one.push, ids)) + one_by_one.finish() == text.decode("utf-8", "ignore")


@pytest.mark.fault("E8")
def test_stream_decoder_waits_for_the_last_byte(tokenizer: Tokenizer) -> None:
    decoder = StreamDecoder(tokenizer)
    assert [decoder.push(byte) for byte in "\u2603".encode()] == ["", "", "\u2603"]
    with pytest.raises(UnknownTokenError):
        decoder.push(10**6)


# --- Sharing ------------------------------------------------------------------------------------------------


@pytest.mark.fault("E6")
def test_threads_share_one_tokenizer(stories: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])
    expected = tokenizer.encode_ordinary(stories)
    fresh = copy_of(tokenizer)
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(fresh.encode_ordinary(stories))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


# --- Linear time --------------------------------------------------------------------------------------------

FAMILIES = {
    "spaces then a letter": lambda n: " " * n + "x",
    "one letter": lambda n: "a" * n,
    "ideographic spaces": lambda n: "\u3000" * (n // 3),
    "newlines": lambda n: "\n" * n,
    "digits": lambda n: "0123456789" * (n // 10),
    "joined emoji": lambda n: "\U0001f469\u200d" * (n // 7),
    "combining marks": lambda n: "e" + "\u0301" * (n // 2),
    "two letters": lambda n: "ab" * (n // 2),
    "apostrophes": lambda n: "'" * n,
    "punctuation": lambda n: "!?" * (n // 2),
}


@pytest.mark.fault("E1")
@pytest.mark.skipif(sys.gettrace() is not None, reason="times mean nothing under a tracer")
@pytest.mark.parametrize("family", FAMILIES)
def test_time_is_linear(family: str) -> None:
    make: Callable[[int], str] = FAMILIES[family]
    corpus = [
        " " * 40,
        "a" * 40,
        "\u3000" * 40,
        "\n" * 40,
        "0101" * 20,
        "\U0001f469\u200d" * 9,
        "ab" * 40,
        "'!?" * 20,
    ]
    for pattern in PATTERNS:
        tokenizer = Tokenizer.train_from_iterator(corpus, 300, pattern=pattern)
        copy_of(tokenizer).encode(make(400_000))  # warm up
        ratios = []
        for _ in range(3):
            elapsed_s = []
            for num_bytes in (400_000, 800_000):
                cold = copy_of(tokenizer)
                text = make(num_bytes)
                # Of this thread alone, so that a busy machine does not matter; texts this short stay on it.
                started_at = time.thread_time()
                ids = cold.encode(text)
                elapsed_s.append(time.thread_time() - started_at)
                assert cold.decode(ids) == text
            ratios.append(elapsed_s[1] / elapsed_s[0])
            # A long piece costs n log n and falls out of the caches; what is quadratic would take four times.
            if ratios[-1] < 2.5 or elapsed_s[1] < 0.02:
                break
        else:
            pytest.fail(f"{pattern}: twice the text takes {min(ratios):.1f} times as long")


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_every_special_token_alone(token: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([], 256 + len(SPECIAL_TOKENS), special_tokens=SPECIAL_TOKENS)
    assert tokenizer.encode(token, allowed_special="all") == [256 + SPECIAL_TOKENS.index(token)]
