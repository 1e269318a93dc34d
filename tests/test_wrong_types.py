"""Every argument of every public method, given a wrong type: the message says what it is, and the cure."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinybpe import StreamDecoder, TokenFileInfo, Tokenizer, UnknownTokenError, WordCounts

SPECIAL = "<|endoftext|>"
PUBLIC = (Tokenizer, WordCounts, StreamDecoder, TokenFileInfo)


class Wrong:
    """A value that no argument takes."""

    def __repr__(self) -> str:
        return "<wrong>"


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train_from_iterator(["low lower lowest"], 259, special_tokens=[SPECIAL])


@pytest.fixture
def valid(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[Callable[..., Any], dict[str, Any]]:
    """Each public method that takes arguments, with arguments that it takes."""
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("low lower")
    tokenizer.save("tok")
    Tokenizer.train_from_iterator(["low"], 257)._core.export_tiktoken("x.tiktoken")
    counts = WordCounts.from_iterator(["low"])
    counts.save("x.counts")
    info = tokenizer.encode_documents(["low"], "x.bin", docs=True)
    training = {"vocab_size": 258, "special_tokens": ["a"], "pattern": "gpt2", "tie_break": "bytes"}
    counting: dict[str, Any] = {"num_threads": 1, "max_memory": "1GB", "progress": False}
    form = {"field": None, "column": None}
    special = {"allowed_special": (), "disallowed_special": "all"}
    count = {"end_of_document": "", "ordinary": True, "num_threads": 1, "progress": False}
    write = {
        "output": "y.bin",
        "format": "bin",
        "dtype": "uint16",
        "docs": False,
        "resume": False,
        "overwrite": True,
    }
    shards = {"shards": None, "shard_tokens": None}
    return {
        Tokenizer.train: {"files": "text", **training, **counting, **form},
        Tokenizer.train_from_iterator: {"texts": ["low"], **training, **counting},
        Tokenizer.train_from_counts: {
            "counts": counts,
            "vocab_size": 258,
            "tie_break": "bytes",
            "initial": None,
            "progress": False,
        },
        Tokenizer.load: {"path": "tok", "family": None, "pattern": None, "special_tokens": []},
        Tokenizer.from_gpt2: {"vocab": "tok/vocab.json", "merges": "tok/merges.txt", "special_tokens": []},
        Tokenizer.from_tiktoken: {"path": "x.tiktoken", "pattern": "gpt2", "special_tokens": {}},
        Tokenizer.from_vocab: {
            "vocab": {i: bytes([i]) for i in range(256)},
            "merges": [],
            "special_tokens": [],
            "pattern": "gpt2",
        },
        tokenizer.save: {"directory": "tok2", "overwrite": False},
        tokenizer.truncated: {"vocab_size": 258},
        tokenizer.encode: {"text": "low", **special, "add_special_tokens": False},
        tokenizer.encode_ordinary: {"text": "low"},
        tokenizer.encode_to_numpy: {"text": "low", **special},
        tokenizer.encode_ordinary_to_numpy: {"text": "low"},
        tokenizer.encode_with_offsets: {"text": "low", **special},
        tokenizer.tokenize: {"text": "low", **special},
        tokenizer.encode_batch: {"texts": ["low"], "num_threads": 1, **special, "add_special_tokens": False},
        tokenizer.encode_ordinary_batch: {"texts": ["low"], "num_threads": 1},
        tokenizer.encode_batch_to_numpy: {"texts": ["low"], "num_threads": 1, **special},
        tokenizer.encode_iterable: {"texts": ["low"], "ordinary": True},
        tokenizer.encode_file: {"inputs": "text", **form, **count, **write, **shards},
        tokenizer.encode_documents: {"documents": ["low"], **count, **write, "shard_tokens": None},
        tokenizer.count_files: {"inputs": ["text"], **form, **count},
        tokenizer.decode: {"ids": [97], "errors": "replace"},
        tokenizer.decode_bytes: {"ids": [97]},
        tokenizer.decode_tokens: {"ids": [97]},
        tokenizer.normalize: {"text": "low"},
        tokenizer.decode_batch: {"batch": [[97]], "errors": "replace"},
        tokenizer.decode_with_offsets: {"ids": [97]},
        tokenizer.token_bytes: {"token_id": 97},
        tokenizer.token_id: {"token": "a"},
        tokenizer.encode_single_token: {"token": "a"},
        tokenizer.decode_single_token_bytes: {"token_id": 97},
        tokenizer.token_to_id: {"token": "a"},
        tokenizer.id_to_token: {"token_id": 97},
        WordCounts.from_files: {
            "files": "text",
            "special_tokens": ["a"],
            "pattern": "gpt2",
            **counting,
            **form,
        },
        WordCounts.from_iterator: {"texts": ["a"], "special_tokens": ["a"], "pattern": "gpt2", **counting},
        WordCounts.from_words: {"words": {b"a": 1}, "special_tokens": ["a"], "pattern": "gpt2"},
        WordCounts.load: {"path": "x.counts"},
        counts.save: {"path": "y.counts", "overwrite": False},
        counts.merge: {"other": counts},
        StreamDecoder: {"tokenizer": tokenizer, "errors": "replace"},
        StreamDecoder(tokenizer).push: {"ids": [97]},
        TokenFileInfo.read: {"path": "x.bin", "verify": False},
        info.document: {"index": 0},
    }


# Called by this package alone, with what it has checked or made.
INTERNAL = {"TokenFileInfo.from_sidecar", "TokenFileInfo.of_set"}


def wrong_values(name: str, default: Any) -> Iterator[Any]:
    yield from (3.5, Wrong())
    if default is not None and name != "progress":
        yield None
    if name in ("vocab_size", "num_threads", "shards", "shard_tokens", "token_id", "index"):
        yield from (True, "3", np.float64(1))
    if name in ("ordinary", "docs", "resume", "verify", "overwrite", "add_special_tokens"):
        yield from (1, "yes")
    if name in ("ids", "batch", "texts", "documents", "counts", "other", "tokenizer", "words"):
        yield from ("abc", b"abc")
    if name in ("path", "files", "inputs", "output", "directory"):
        yield from (b"text", io.StringIO("text"))


def call(method: Callable[..., Any], arguments: dict[str, Any]) -> None:
    result = method(**arguments)
    if inspect.isgenerator(result):
        list(result)


def test_every_method_is_here(valid: dict[Callable[..., Any], dict[str, Any]]) -> None:
    named = {method.__qualname__: arguments for method, arguments in valid.items()}
    expected = {"StreamDecoder": StreamDecoder}
    for public in PUBLIC:
        for name, member in inspect.getmembers(public, callable):
            if not name.startswith("_"):
                expected[f"{public.__name__}.{name}"] = member
    for name, member in expected.items():
        parameters = [p for p in inspect.signature(member).parameters if p != "self"]
        if parameters and name not in INTERNAL:
            assert sorted(named[name]) == sorted(parameters), name
    for method, arguments in valid.items():
        call(method, arguments)


@pytest.mark.fault("E3", "E4")
def test_a_wrong_type_is_told_with_value_type_and_remedy(
    valid: dict[Callable[..., Any], dict[str, Any]],
) -> None:
    for method, arguments in valid.items():
        for name in arguments:
            parameter = inspect.signature(method).parameters[name]
            for value in wrong_values(name, parameter.default):
                where = f"{method.__qualname__}({name}={value!r})"
                with pytest.raises(TypeError) as caught:
                    call(method, arguments | {name: value})
                message = str(caught.value)
                assert repr(value) in message, (where, message)
                assert type(value).__name__ in message, (where, message)
                assert "; give" in message or "expected str or bytes" in message, (where, message)
                assert name in message or name in ("text", "token_id"), (where, message)
    assert not Path("y.bin").exists()


@pytest.mark.fault("E3")
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("abc", "ids='abc' is a str; give a list of ids or an array, such as those that `encode` returns"),
        (3, "ids=3 is an int; give a list of ids or an array, such as [3]"),
        (np.int64(3), "ids=np.int64(3) is an int64; give a list of ids or an array, such as [3]"),
        (["a"], "the id at position 0 is 'a' of type str; give integers"),
        ([97, 1.0], "the id at position 1 is 1.0 of type float; give integers"),
        ([97, True], "the id at position 1 is True of type bool; give integers"),
        (
            [[97]],
            "the id at position 0 is [97] of type list; give integers (decode_batch takes several lists)",
        ),
        (np.array([1.5]), "ids is an array of float64; give an array of integers"),
        (
            np.array([[1]]),
            "ids is an array of shape (1, 1); give one dimension (decode_batch takes several lists)",
        ),
        ([None], "the id at position 0 is None of type NoneType; give integers"),
        ([b"x" * 99], "the id at position 0 is b'" + "x" * 58 + "... of type bytes; give integers"),
    ],
)
def test_ids_that_are_none(tokenizer: Tokenizer, ids: Any, message: str) -> None:
    calls: list[Callable[[Any], object]] = [tokenizer.decode_bytes, tokenizer.decode_with_offsets]
    for decode in (tokenizer.decode, *calls):
        with pytest.raises(TypeError) as caught:
            decode(ids)
        assert str(caught.value) == message
    with pytest.raises(TypeError, match=r"^batch\[1\]"):
        tokenizer.decode_batch([[97], ids])


def test_one_unknown_id_of_a_batch_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnknownTokenError, match=r"^batch\[1\]: unknown token id 999 at position 0"):
        tokenizer.decode_batch([[97], [999]])


@pytest.mark.fault("E4")
def test_items_of_a_wrong_type(tokenizer: Tokenizer, tmp_path: Path) -> None:
    every_byte: dict[Any, Any] = {i: bytes([i]) for i in range(256)}
    from_vocab, from_tiktoken = Tokenizer.from_vocab, Tokenizer.from_tiktoken
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: tokenizer.encode("a", allowed_special=[3]), "an item of allowed_special=3 is an int; give"),
        (lambda: tokenizer.encode("a", disallowed_special={3.5}), "disallowed_special=3.5 is a float; give"),
        (lambda: Tokenizer.train(["a", 3], 300), r"files\[1\]=3 is an int; give a path"),
        (lambda: tokenizer.encode_file([3], "x"), r"inputs\[0\]=3 is an int; give a path"),
        (lambda: tokenizer.encode_batch(["a", 3]), "text 1: expected str or bytes, got 3 of type int"),
        (lambda: from_vocab({"a": b"a"}, []), "an id in vocab='a' is a str; give"),
        (lambda: from_vocab(every_byte | {300: "a"}, []), r"vocab\[300\]='a' is a str; give"),
        (lambda: from_vocab(every_byte, ["ab"]), r"merges\[0\]='ab' is a str; give"),
        (lambda: from_vocab(every_byte, [("a", "b")]), r"merges\[0\]=\('a', 'b'\) is a tuple; give"),
        (lambda: from_tiktoken("x", "gpt2", {"a": "1"}), r"special_tokens\['a'\]='1' is a str; give"),
        (lambda: from_tiktoken("x", "gpt2", [1]), r"special_tokens\[0\]=1 is an int; give"),
        (lambda: WordCounts.from_words({"a": 1}), "a word in words='a' is a str; give bytes"),
        (lambda: WordCounts.from_words({b"a": 1.0}), r"words\[b'a'\]=1.0 is a float; give a whole number"),
    ]
    for wrong, message in calls:
        with pytest.raises(TypeError, match=message):
            wrong()


def test_an_open_file_is_no_list_of_paths(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 0}\n')
    with path.open() as file:
        calls: list[Callable[[], object]] = [
            lambda: Tokenizer.train(file, 300),
            lambda: Tokenizer.train([file], 300),  # type: ignore[list-item]
            lambda: WordCounts.from_files(file),
            lambda: tokenizer.encode_file(file, tmp_path / "x.bin"),
            lambda: tokenizer.count_files(file),
            lambda: Tokenizer.load(file),  # type: ignore[arg-type]
        ]
        for wrong in calls:
            with pytest.raises(TypeError, match=r"give its path, '.*a\.jsonl'"):
                wrong()


def test_numbers_of_numpy_are_whole_numbers(tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert Tokenizer.train_from_iterator(["low low"], np.int64(257)).vocab_size == 257  # type: ignore[arg-type]
    assert tokenizer.encode_batch(["a"], num_threads=np.uint8(1)) == [[97]]  # type: ignore[arg-type]
    assert tokenizer.token_bytes(np.uint16(97)) == b"a"  # type: ignore[arg-type]
    assert tokenizer.encode_documents(["a"], tmp_path / "x.bin", shard_tokens=np.int32(9)).num_tokens == 2  # type: ignore[arg-type]
    decoder = StreamDecoder(tokenizer)
    assert decoder.push(np.int64(97)) == "a"  # type: ignore[arg-type]
    torch = pytest.importorskip("torch")
    assert decoder.push(torch.tensor(98)) == "b"
    assert decoder.push(torch.tensor([99, 100])) == "cd"


def test_unknown_ways_to_treat_bytes_that_are_no_text(tokenizer: Tokenizer) -> None:
    for wrong in (
        lambda: tokenizer.decode([97], errors="replce"),
        lambda: tokenizer.decode_batch([], errors="replce"),
        lambda: StreamDecoder(tokenizer, errors="replce"),
    ):
        with pytest.raises(ValueError, match=r"errors='replce' is unknown; give 'replace', 'ignore'"):
            wrong()
