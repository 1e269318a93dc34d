"""Inputs and outputs of the file encoder: every form of a text gives its ids, every layout holds them."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tinybpe import TokenFileInfo, Tokenizer, WordCounts
from tinybpe.cli import main
from tinybpe.errors import InputError, SpecialTokenError, TinyBPEWarning, TokenFileError
from tinybpe.token_file import open_ids

SPECIAL = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer(stories: str) -> Tokenizer:
    return Tokenizer.train_from_iterator([stories], 500, special_tokens=[SPECIAL])


@pytest.fixture(scope="module")
def documents(stories: str) -> list[str]:
    """Real ones, and one that spells the token that ends documents."""
    return [*stories.split(SPECIAL), "", f'"quoted" {SPECIAL}\n\\ é \u2028 日本', "last"]


@pytest.fixture(scope="module")
def expected(tokenizer: Tokenizer, documents: list[str]) -> list[int]:
    eot = tokenizer.special_tokens[SPECIAL]
    return [token_id for text in documents for token_id in [*tokenizer.encode_ordinary(text), eot]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: list[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(documents))
    Path("x.jsonl").write_text(lines)
    Path("x.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    Path("x.txt").write_text("once upon a time<|endoftext|>there was<|endoftext|>a cat")
    return tmp_path


# --- Inputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_json_lines(
    tokenizer: Tokenizer, folder: Path, expected: list[int], documents: list[str], name: str
) -> None:
    info = tokenizer.encode_file(name, "x.bin", field="text", docs=True)
    assert open_ids("x.bin").tolist() == expected
    assert (info.num_documents, info.end_of_document) == (len(documents), SPECIAL)
    assert info.num_bytes == sum(len(text.encode()) for text in documents)
    assert info.sources == ((name, Path(name).stat().st_size),)
    ends = np.fromfile("x.bin.docs", "<u8")
    assert len(ends) == len(documents)
    assert [expected[end - 1] for end in ends] == [tokenizer.special_tokens[SPECIAL]] * len(documents)


def test_special_tokens_in_documents_are_text_unless_asked(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path, eot = tmp_path / "x.jsonl", tokenizer.special_tokens[SPECIAL]
    path.write_text(json.dumps({"text": f"a{SPECIAL}b"}))
    tokenizer.encode_file(path, tmp_path / "x.bin", field="text")
    assert open_ids(tmp_path / "x.bin").tolist() == [*tokenizer.encode_ordinary(f"a{SPECIAL}b"), eot]
    tokenizer.encode_file(path, tmp_path / "x.bin", field="text", ordinary=False, overwrite=True)
    assert open_ids(tmp_path / "x.bin").tolist() == [ord("a"), eot, ord("b"), eot]


def test_documents_from_an_iterator(tokenizer: Tokenizer, folder: Path, documents: list[str]) -> None:
    tokenizer.encode_file("x.jsonl", "x.bin", field="text")
    info = tokenizer.encode_documents(iter(documents), "y.bin", num_threads=2)
    assert Path("y.bin").read_bytes() == Path("x.bin").read_bytes()
    assert info.sources == ()
    shards = tokenizer.encode_documents(documents, "y.bin", shard_tokens=100).shards
    assert len(shards) > 2
    assert b"".join(shard.path.read_bytes() for shard in shards) == Path("x.bin").read_bytes()
    with pytest.raises(TypeError, match="text 1: expected str or bytes"):
        tokenizer.encode_documents(["a", None], "y.bin")  # type: ignore[list-item]
    with pytest.raises(TypeError, match="one text"):
        tokenizer.encode_documents("abc", "y.bin")


def test_an_iterator_that_raises_leaves_the_old_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield "a" * 10_000_000
        raise RuntimeError("text 1")

    tokenizer.encode_documents(["old"], tmp_path / "x.bin")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="text 1"):
        tokenizer.encode_documents(texts(), tmp_path / "x.bin", overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_parquet(tokenizer: Tokenizer, folder: Path, documents: list[str], expected: list[int]) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())):
        texts = [text.encode() for text in documents] if kind == pa.binary() else documents
        table = pa.table({"id": list(range(len(texts))), "text": pa.array(texts).cast(kind)})
        pq.write_table(table, "x.parquet", row_group_size=7)
        info = tokenizer.encode_file("x.parquet", "x.bin", column="text", overwrite=True)
        assert open_ids("x.bin").tolist() == expected, kind
        assert info.sources == (("x.parquet", Path("x.parquet").stat().st_size),)
    trained = Tokenizer.train("x.parquet", 300, special_tokens=[SPECIAL], column="text")
    assert trained == Tokenizer.train_from_iterator(documents, 300, special_tokens=[SPECIAL])
    with pytest.raises(InputError, match=r"x\.parquet: has no column 'no'; it has 'id', 'text'"):
        tokenizer.encode_file("x.parquet", "x.bin", column="no")
    with pytest.raises(InputError, match=r"column 'id' holds int64, not text"):
        tokenizer.encode_file("x.parquet", "x.bin", column="id")
    with pytest.raises(InputError, match=r"x\.jsonl: cannot be read as Parquet"):
        tokenizer.encode_file("x.jsonl", "x.bin", column="text")
    pq.write_table(pa.table({"text": ["a", None]}), "null.parquet")
    with pytest.raises(InputError, match=r"null\.parquet: row 1 has no text"):
        tokenizer.encode_file("null.parquet", "x.bin", column="text")


def test_counting_and_training_read_the_same_forms(folder: Path, documents: list[str]) -> None:
    counts = WordCounts.from_iterator(documents, special_tokens=[SPECIAL])
    for name in ("x.jsonl", "x.jsonl.gz"):
        assert WordCounts.from_files(name, special_tokens=[SPECIAL], field="text", num_threads=2) == counts
    expected = Tokenizer.train_from_counts(counts, vocab_size=400)
    assert (
        main(f"train --input x.jsonl.gz --field text --vocab-size 400 --special {SPECIAL} --out t".split())
        == 0
    )
    assert Tokenizer.load("t") == expected


def test_names_that_tell_another_form(tokenizer: Tokenizer, folder: Path) -> None:
    with pytest.warns(TinyBPEWarning, match="braces and all"):
        tokenizer.encode_file("x.jsonl", "x.bin")
    with pytest.raises(InputError, match="is Parquet"):
        tokenizer.encode_file("x.parquet", "x.bin")
    with pytest.raises(InputError, match=r"\.xz is not decompressed here"):
        Tokenizer.train("x.txt.xz", 300)
    with pytest.raises(ValueError, match="give one of them"):
        tokenizer.encode_file("x.jsonl", "x.bin", field="text", column="text")


def test_damaged_lines_are_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for line, reason in [
        ("{", "EOF"),
        ('{"t": 1}', "no field `text`"),
        ('{"text": 1}', "expected a string in the field"),
        ("[1]", "expected a JSON object"),
    ]:
        path.write_text('{"text": "good"}\n' * 100_000 + "\n" + line + "\n")
        with pytest.raises(InputError, match=rf"x\.jsonl, line 100002: .*{reason}"):
            tokenizer.encode_file(path, tmp_path / "x.bin", field="text", num_threads=2)
    assert not (tmp_path / "x.bin").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child")
def test_interrupt_while_a_pipe_is_silent(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tok")
    command = ["-m", "tinybpe", "encode", "--tok", "tok", "--input", "-", "--output", "x.bin"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        child.stdin.write(b"once upon a time ")
        child.stdin.flush()
        time.sleep(1.5)
        sent_at = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert time.monotonic() - sent_at < 1
    assert [path.name for path in tmp_path.iterdir()] == ["tok"]


# --- Outputs ------------------------------------------------------------------------------------------------


def test_npy_in_numpy(tokenizer: Tokenizer, folder: Path) -> None:
    for dtype in ("uint16", "uint32"):
        tokenizer.encode_file("x.txt", "x.npy", dtype=dtype, overwrite=True)
        tokenizer.encode_file("x.txt", "x.bin", dtype=dtype, overwrite=True)
        loaded = np.load("x.npy", mmap_mode="r")
        assert loaded.dtype == np.dtype(dtype)
        assert loaded.tolist() == np.fromfile("x.bin", dtype).tolist() == open_ids("x.npy").tolist()


def read_as_llm_c_does(path: str) -> list[int]:
    """Read a file as the data loader of llm.c: 256 int32 of header, then ids, whose number fits the size."""
    content = Path(path).read_bytes()
    header = struct.unpack("<256i", content[:1024])
    kinds = {(20240520, 1): ("H", 2), (20240801, 7): ("I", 4)}
    code, size = kinds[header[:2]]
    assert len(content) == 1024 + header[2] * size
    assert set(header[3:]) == {0}
    return list(struct.unpack(f"<{header[2]}{code}", content[1024:]))


def test_llm_c(tokenizer: Tokenizer, folder: Path) -> None:
    expected = tokenizer.encode(Path("x.txt").read_text(), allowed_special="all")
    for dtype in ("uint16", "uint32"):
        tokenizer.encode_file("x.txt", "x.bin", format="llm.c", dtype=dtype, overwrite=True)
        assert read_as_llm_c_does("x.bin") == expected == open_ids("x.bin").tolist()


def read_as_nanoset_does(path: str) -> list[list[int]]:
    """Read documents as datatrove's `DatatroveFileDataset`: the index tells where each ends, in tokens."""
    name_and_size, num_tokens, _ = Path(f"{path}.metadata").read_text().split("\n")
    token_size = int(name_and_size.rsplit("|", 1)[1])
    ids = np.frombuffer(Path(path).read_bytes(), {2: "<u2", 4: "<u4"}[token_size])
    assert len(ids) == int(num_tokens)
    ends = np.frombuffer(Path(f"{path}.index").read_bytes(), "<u8").tolist()
    assert ends[-1] == len(ids)
    return [ids[start:end].tolist() for start, end in zip([0, *ends], ends, strict=False)]


def test_datatrove(tokenizer: Tokenizer, folder: Path) -> None:
    texts = ["once upon a time<|endoftext|>", "there was<|endoftext|>", "a cat"]
    for dtype in ("uint16", "uint32"):
        tokenizer.encode_file("x.txt", "x.ds", dtype=dtype, overwrite=True)
        assert read_as_nanoset_does("x.ds") == [tokenizer.encode(t, allowed_special="all") for t in texts]
    assert not Path("x.ds.docs").exists()


def test_formats_that_do_not_fit(tokenizer: Tokenizer, folder: Path) -> None:
    with pytest.raises(TokenFileError, match="the name says npy"):
        tokenizer.encode_file("x.txt", "x.npy", format="bin")
    with pytest.raises(ValueError, match="none of bin, npy"):
        tokenizer.encode_file("x.txt", "x.bin", format="megatron")  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == ["x.jsonl", "x.jsonl.gz", "x.txt"]


@pytest.mark.fault("B4")
def test_checksum_finds_a_flipped_bit(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.encode_file("x.txt", "x.npy")
    TokenFileInfo.read("x.npy", verify=True)
    content = bytearray(Path("x.npy").read_bytes())
    content[-3] ^= 1
    Path("x.npy").write_bytes(content)
    TokenFileInfo.read("x.npy")
    with pytest.raises(TokenFileError, match=r"x\.npy: .*damaged"):
        TokenFileInfo.read("x.npy", verify=True)


# --- Shards -------------------------------------------------------------------------------------------------


def test_shards(tokenizer: Tokenizer, folder: Path, stories: str) -> None:
    Path("y.txt").write_text(stories)
    whole = tokenizer.encode_file(["x.txt", "y.txt"], "x.bin", docs=True)
    info = tokenizer.encode_file(["x.txt", "y.txt"], "s.bin", shards=3, docs=True)
    assert [shard.path.name for shard in info.shards] == [f"s-0000{i}-of-00003.bin" for i in range(3)]
    assert b"".join(shard.path.read_bytes() for shard in info.shards) == Path("x.bin").read_bytes()
    assert (info.num_tokens, info.num_documents, info.num_bytes, info.sources) == (
        whole.num_tokens,
        whole.num_documents,
        whole.num_bytes,
        whole.sources,
    )
    for shard in info.shards:
        assert TokenFileInfo.read(shard.path, verify=True) == shard
        assert open_ids(shard.path)[-1] == tokenizer.special_tokens[SPECIAL] or shard is info.shards[-1]
    assert info.shards[1].sources == (("y.txt", len(stories.encode())),)


def test_shards_that_do_not_fit(tokenizer: Tokenizer, folder: Path) -> None:
    with pytest.warns(TinyBPEWarning, match="no document falls into"):
        tokenizer.encode_file("x.txt", "s.bin", shards=9)
    for arguments, error, reason in [
        ({"shards": 0}, ValueError, "at least 1"),
        ({"shards": 10**6}, ValueError, "at most 99,999"),
        ({"shards": True}, TypeError, "whole number"),
        ({"shard_tokens": 1.5}, TypeError, "whole number"),
        ({"shards": 2, "shard_tokens": 2}, ValueError, "exclude each other"),
    ]:
        with pytest.raises(error, match=reason):
            tokenizer.encode_file("x.txt", "s.bin", **arguments)  # type: ignore[arg-type]
    with pytest.raises(TokenFileError, match="tokens per file"):
        tokenizer.encode_file("x.jsonl.gz", "s.bin", field="text", shards=2)


def test_which_token_ends_a_document(folder: Path, stories: str) -> None:
    two = Tokenizer.train_from_iterator([stories], 300, special_tokens=["<|user|>", "<|end|>"])
    with pytest.raises(SpecialTokenError, match=r"which token ends a document.*`<\|user\|>`, `<\|end\|>`"):
        two.encode_file("x.jsonl", "x.bin", field="text")
    assert two.encode_file("x.jsonl", "x.bin", field="text", end_of_document="<|end|>").num_documents > 3
    with pytest.raises(SpecialTokenError, match="no special token of this tokenizer"):
        two.encode_file("x.jsonl", "x.bin", field="text", end_of_document=SPECIAL)
    none = Tokenizer.train_from_iterator([stories], 300)
    assert none.encode_documents(["a", "b"], "y.bin", end_of_document="").num_tokens == 2


# --- The command --------------------------------------------------------------------------------------------


def test_command(tokenizer: Tokenizer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer.save("tok")
    flags = ["encode", "--tok", "tok", "--input", "x.jsonl", "--field", "text", "--end_of_document"]
    flags.append(SPECIAL)
    assert main([*flags, "--output", "x.bin", "--shard-tokens", "100", "--docs"]) == 0
    printed = capsys.readouterr().out
    assert "shards: x-00000.bin to x-0000" in printed
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("x-*")}
    assert main([*flags, "--output", "x.bin", "--shard-tokens", "100", "--docs", "--resume"]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("x-*")} == before
    assert re.search(r"of\s+text; \d+ shards kept\n", capsys.readouterr().out)
    assert main([*flags, "--output", "x.ds", "--no-ordinary"]) == 0
    assert main([*flags, "--output", "x.npy", "--format", "bin"]) == 1
    assert "the name says npy" in capsys.readouterr().err


@pytest.mark.fault("B6")
def test_two_encoders_at_one_destination(tokenizer: Tokenizer, folder: Path) -> None:
    large = "once " * 1_000_000

    def texts() -> Iterator[str]:
        # More than is taken from an iterator ahead, so the encoder is at work when the second one comes.
        for _ in range(5):
            yield large
        with pytest.raises(TokenFileError, match=r"x\.bin: another encoder is writing"):
            tokenizer.encode_file("x.txt", "x.bin")
        tokenizer.encode_file("x.txt", "y.bin")

    info = tokenizer.encode_documents(texts(), "x.bin")
    assert (info.num_documents, info.num_bytes) == (5, 5 * len(large))
    TokenFileInfo.read("x.bin", verify=True)
    tokenizer.encode_file("x.txt", "x.bin", overwrite=True)
    assert not list(folder.glob(".*"))
