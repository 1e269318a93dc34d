"""Tokenizers and token files on disk: what is written is what is read, and damage is found."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import byte_texts, copy_of, tokenizers
from tinybpe import TokenFileInfo, Tokenizer
from tinybpe.errors import TinyBPEError, TokenFileError, VocabError, VocabFileError
from tinybpe.reference import ReferenceTokenizer
from tinybpe.token_file import open_ids

SPECIAL = "<|endoftext|>"
Both = tuple[Tokenizer, ReferenceTokenizer]
Dtype = Literal["uint16", "uint32"]
BYTES = {i: bytes([i]) for i in range(256)}


@pytest.fixture(scope="module")
def tokenizer(stories: str) -> Tokenizer:
    return Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL, "a b\n"])


# --- Tokenizers ---------------------------------------------------------------------------------------------


@given(both=tokenizers(), text=byte_texts)
def test_save_and_load(both: Both, text: bytes) -> None:
    tokenizer, reference = both
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        loaded = Tokenizer.load(folder)
        assert Tokenizer.load(Path(folder) / "tokenizer.json").encode_ordinary(
            text
        ) == tokenizer.encode_ordinary(text)
    assert loaded == tokenizer
    assert loaded.vocab == reference.vocab
    assert loaded.merges == reference.merges
    assert loaded.special_tokens == reference.special_tokens
    assert loaded.pattern == tokenizer.pattern
    assert loaded.encode(text, allowed_special="all") == reference.encode(text)


@pytest.mark.fault("E6")
@given(both=tokenizers(), text=byte_texts)
def test_pickle(both: Both, text: bytes) -> None:
    tokenizer, reference = both
    copied = copy_of(tokenizer)
    assert copied == tokenizer
    assert hash(copied) == hash(tokenizer)
    assert copied.encode(text, allowed_special="all") == reference.encode(text)


def test_saving_writes_five_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new" / "folder")
    names = {file.name for file in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "tinybpe.json"}
    tokenizer.save(str(tmp_path / "new" / "folder"))
    assert Tokenizer.load(str(tmp_path / "new" / "folder")) == tokenizer


def test_saving_twice_gives_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "once")
    Tokenizer.load(tmp_path / "once").save(tmp_path / "twice")
    for file in (tmp_path / "once").iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes()


@pytest.mark.fault("T7")
def test_same_bytes_whatever_the_hash_seed(tmp_path: Path, stories: str) -> None:
    (tmp_path / "stories.md").write_text(stories, encoding="utf-8")
    program = (
        "import sys; from tinybpe import Tokenizer; "
        f"Tokenizer.train('stories.md', 500, special_tokens=[{SPECIAL!r}]).save(sys.argv[1])"
    )
    for seed in ("0", "1"):
        subprocess.run(
            [sys.executable, "-c", program, seed],
            cwd=tmp_path,
            env=environment(PYTHONHASHSEED=seed),
            check=True,
        )
    for file in (tmp_path / "0").iterdir():
        assert file.read_bytes() == (tmp_path / "1" / file.name).read_bytes()


def environment(**variables: str) -> dict[str, str]:
    import os

    return {**os.environ, **variables}


def test_gpt2_files_hold_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    specials = list(tokenizer.special_tokens)
    loaded = Tokenizer.from_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt", special_tokens=specials)
    assert loaded == tokenizer


def test_huggingface_duplicates_and_holes_load() -> None:
    # Ids with gaps, special tokens among them.
    vocab = BYTES | {300: b"ab", 302: SPECIAL.encode()}
    tokenizer = Tokenizer.from_vocab(vocab, [(b"a", b"b")], special_tokens=[SPECIAL])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        assert Tokenizer.load(folder) == tokenizer


@pytest.mark.fault("V1")
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    tokenizer = Tokenizer.train_from_iterator(["abab"], 258, special_tokens=[SPECIAL])
    tokenizer.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in range(0, len(content), 97):
        (tmp_path / name).write_bytes(content[:size])
        try:
            if name == "tokenizer.json":
                loaded = Tokenizer.load(tmp_path)
            else:
                loaded = Tokenizer.from_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt", [SPECIAL])
        except (VocabFileError, VocabError):
            continue
        # Merges may end at any line; what is left is then a tokenizer with fewer of them.
        assert loaded == tokenizer or name == "merges.txt"


@pytest.mark.fault("V5", "V8")
def test_what_is_not_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises((FileNotFoundError, VocabFileError)):
        Tokenizer.load(tmp_path / "empty")
    for content in (b"", b"{}", b"[]", b"null", b"\x80\x04", b'{"model": 3}', b"[" * 100_000):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(VocabFileError, match=r"tokenizer\.json"):
            Tokenizer.load(tmp_path / "tokenizer.json")


@pytest.mark.fault("V2", "V4")
@pytest.mark.parametrize(
    ("vocab", "merges"),
    [
        ({}, []),
        ({i: bytes([i]) for i in range(255)}, []),
        (BYTES, [(b"a", b"b")]),
        (BYTES | {256: b"ab"}, [(b"a", b"bc")]),
        (BYTES | {256: b"ab", 257: b"ab"}, [(b"a", b"b")]),
        (BYTES | {256: b""}, []),
    ],
)
def test_broken_parts_are_refused(vocab: dict[int, bytes], merges: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises((VocabError, ValueError)) as caught:
        Tokenizer.from_vocab(vocab, merges)
    assert isinstance(caught.value, TinyBPEError)


@pytest.mark.fault("V2")
@pytest.mark.parametrize("token_id", [-1, 2**31, 2**32, 2**63])
def test_ids_out_of_range_are_refused(token_id: int) -> None:
    with pytest.raises((VocabError, OverflowError)):
        Tokenizer.from_vocab(BYTES | {token_id: b"ab"}, [(b"a", b"b")])


def test_special_token_of_one_byte(tmp_path: Path) -> None:
    """Either it is refused, or it is one everywhere."""
    try:
        tokenizer = Tokenizer.train_from_iterator(["a\nb"], 258, special_tokens=["\n"])
        assert tokenizer.encode("a\n", allowed_special="all") == [97, tokenizer.special_tokens["\n"]]
        assert copy_of(tokenizer) == tokenizer
        tokenizer.save(tmp_path)
    except (TinyBPEError, ValueError):
        return
    assert Tokenizer.load(tmp_path) == tokenizer


# --- Token files --------------------------------------------------------------------------------------------


def test_token_file_and_sidecar(tokenizer: Tokenizer, stories: str, tmp_path: Path) -> None:
    source = tmp_path / "stories.md"
    source.write_text(stories, encoding="utf-8")
    output = tmp_path / "x.bin"
    info = tokenizer.encode_file(source, output, docs=True)
    expected = tokenizer.encode(stories, allowed_special="all")
    assert open_ids(output).tolist() == expected
    assert TokenFileInfo.read(output) == info
    assert info == TokenFileInfo(
        path=output,
        dtype="uint16",
        num_tokens=len(expected),
        num_documents=4 + 1,
        num_bytes=len(stories.encode()),
        vocab_size=tokenizer.vocab_size,
        tokenizer_sha256=tokenizer.sha256,
        sources=(("stories.md", len(stories.encode())),),
        end_of_document=SPECIAL,
        crc32=zlib.crc32(output.read_bytes()),
    )
    ends = np.fromfile(tmp_path / "x.bin.docs", dtype="<u8").tolist()
    end_id = tokenizer.special_tokens[SPECIAL]
    assert ends == [*(index + 1 for index, token in enumerate(expected) if token == end_id), len(expected)]
    sidecar = json.loads((tmp_path / "x.bin.json").read_text())
    assert sidecar["format"] == "tinybpe-token-file"
    assert sidecar["version"] == 1


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("x.bin", None, "uint16"),
        ("x.bin", "uint32", "uint32"),
        ("x.uint32.bin", None, "uint32"),
        ("x.uint16.bin", "uint16", "uint16"),
    ],
)
def test_dtype_of_token_file(
    tokenizer: Tokenizer, tmp_path: Path, name: str, dtype: Dtype | None, expected: Dtype
) -> None:
    (tmp_path / "text.txt").write_text("once upon a time")
    info = tokenizer.encode_file(tmp_path / "text.txt", tmp_path / name, dtype=dtype)
    assert info.dtype == expected
    ids = open_ids(tmp_path / name)
    assert ids.dtype == expected
    assert tokenizer.decode(ids) == "once upon a time"
    # Without its sidecar only the name can say what the file is.
    (tmp_path / f"{name}.json").unlink()
    if name == "x.bin":
        with pytest.raises(TokenFileError, match=r"x\.bin\.json"):
            open_ids(tmp_path / name)
    assert tokenizer.decode(open_ids(tmp_path / name, expected)) == "once upon a time"


@pytest.mark.fault("B3", "B4")
def test_dtype_that_contradicts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("once")
    with pytest.raises(TokenFileError, match=r"uint16.*uint32|uint32.*uint16"):
        tokenizer.encode_file(tmp_path / "text.txt", tmp_path / "x.uint16.bin", dtype="uint32")
    wide = Tokenizer.from_vocab(BYTES | {65_536: b"ab"}, [(b"a", b"b")])
    with pytest.raises(TokenFileError, match="uint16"):
        wide.encode_file(tmp_path / "text.txt", tmp_path / "x.bin", dtype="uint16")
    with pytest.raises(TokenFileError, match="uint16"):
        wide.encode_file(tmp_path / "text.txt", tmp_path / "x.uint16.bin")
    assert wide.encode_file(tmp_path / "text.txt", tmp_path / "x.bin").dtype == "uint32"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["text.txt", "x.bin", "x.bin.json"]


@pytest.mark.fault("T7")
def test_large_file_whatever_the_threads(tokenizer: Tokenizer, stories: str, tmp_path: Path) -> None:
    source = tmp_path / "stories.md"
    single = tokenizer.encode(stories, allowed_special="all")
    source.write_text(stories * 4000, encoding="utf-8")
    outputs = []
    for num_threads in (1, 2, 3):
        info = tokenizer.encode_file(source, tmp_path / "x.bin", num_threads=num_threads, docs=True)
        assert info.num_tokens == 4000 * len(single)
        outputs.append([(tmp_path / f"x.bin{suffix}").read_bytes() for suffix in ("", ".json", ".docs")])
    assert outputs[0] == outputs[1] == outputs[2]
    assert np.frombuffer(outputs[0][0], "<u2").tolist() == single * 4000
    # No document to cut at, and nothing but spaces between words.
    source.write_text("once upon a time " * 500_000)
    tokenizer.encode_file(source, tmp_path / "x.bin", num_threads=2, overwrite=True)
    assert open_ids(tmp_path / "x.bin").tolist() == tokenizer.encode("once upon a time " * 500_000)


@pytest.mark.fault("B5")
def test_empty_input(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    info = tokenizer.encode_file(tmp_path / "empty.txt", tmp_path / "x.bin")
    assert (info.num_tokens, info.num_documents, info.num_bytes) == (0, 0, 0)
    assert open_ids(tmp_path / "x.bin").tolist() == []


@pytest.mark.fault("B2", "T14")
def test_failed_encoding_leaves_the_old_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("once")
    tokenizer.encode_file(tmp_path / "text.txt", tmp_path / "x.bin")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(FileNotFoundError):
        tokenizer.encode_file([tmp_path / "text.txt", tmp_path / "missing.txt"], tmp_path / "x.bin")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(ValueError, match="no file"):
        tokenizer.encode_file([], tmp_path / "x.bin")
    with pytest.raises(OSError, match="nowhere"):
        tokenizer.encode_file(tmp_path / "text.txt", tmp_path / "nowhere" / "x.bin")


@pytest.mark.fault("B4")
@given(damage=st.sampled_from(["short", "odd", "long"]), dtype=st.sampled_from(["uint16", "uint32"]))
def test_size_that_does_not_fit(damage: str, dtype: Dtype) -> None:
    tokenizer = Tokenizer.train_from_iterator(["once upon"], 258)
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "text.txt", Path(folder) / "x.bin"
        source.write_text("once upon a time")
        tokenizer.encode_file(source, output, dtype=dtype)
        content = output.read_bytes()
        output.write_bytes({"short": content[:-4], "odd": content[:-1], "long": content + bytes(4)}[damage])
        with pytest.raises(TokenFileError, match=r"x\.bin"):
            open_ids(output)


@pytest.mark.fault("B4")
@pytest.mark.parametrize(
    "change",
    [
        {"format": "else"},
        {"version": 2},
        {"dtype": "float32"},
        {"num_tokens": "3"},
        {"num_tokens": True},
        {"num_tokens": -1},
        {"sources": None},
        {"tokenizer_sha256": ...},
        None,
    ],
)
def test_damaged_sidecar(tokenizer: Tokenizer, tmp_path: Path, change: dict[str, object] | None) -> None:
    (tmp_path / "text.txt").write_text("once")
    tokenizer.encode_file(tmp_path / "text.txt", tmp_path / "x.bin")
    sidecar = tmp_path / "x.bin.json"
    content = json.loads(sidecar.read_text())
    for name, value in (change or {}).items():
        if value is ...:
            del content[name]
        else:
            content[name] = value
    sidecar.write_text(json.dumps(content) if change else json.dumps(content)[:-9])
    with pytest.raises(TokenFileError, match=r"x\.bin\.json"):
        open_ids(tmp_path / "x.bin")


def test_token_file_info_is_a_value(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("once")
    info = tokenizer.encode_file(tmp_path / "text.txt", tmp_path / "x.bin")
    assert pickle.loads(pickle.dumps(info)) == info
    with pytest.raises(AttributeError):
        info.num_tokens = 3  # type: ignore[misc]
