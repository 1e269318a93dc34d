"""Counting tokens without writing them: the numbers of `encode_file`, for each file."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import byte_texts, texts, tokenizers
from tinybpe import InputError, SpecialTokenError, Tokenizer
from tinybpe.reference import ReferenceTokenizer
from tinybpe.token_file import FileCount, token_file_options

SPECIAL = "<|endoftext|>"
NUMBERS = itertools.count()
Both = tuple[Tokenizer, ReferenceTokenizer]


@pytest.fixture(scope="module")
def tokenizer(stories: str) -> Tokenizer:
    return Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])


def written(tokenizer: Tokenizer, path: Path, **options: object) -> FileCount:
    info = tokenizer.encode_file(path, path.parent / f"{next(NUMBERS)}.bin", **options)  # type: ignore[arg-type]
    return FileCount(
        path=str(path),
        num_tokens=info.num_tokens,
        num_documents=info.num_documents,
        num_bytes=info.num_bytes,
    )


@given(
    both=tokenizers(),
    inputs=st.lists(byte_texts, min_size=1, max_size=3),
    num_threads=st.integers(1, 3),
    ordinary=st.booleans(),
    chunk_bytes=st.integers(1, 40),
)
def test_counts_are_those_of_encode_file(
    both: Both, inputs: list[bytes], num_threads: int, ordinary: bool, chunk_bytes: int
) -> None:
    tokenizer, _ = both
    end = next(iter(tokenizer.special_tokens), "")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.txt" for index in range(len(inputs))]
        for path, text in zip(paths, inputs, strict=True):
            path.write_bytes(text)
        expected = [written(tokenizer, path, ordinary=ordinary, end_of_document=end) for path in paths]
        counts = tokenizer.count_files(paths, ordinary=ordinary, end_of_document=end, num_threads=num_threads)
        assert counts == expected
        # Chunks of any size, which arrive in any order.
        options = token_file_options(ordinary=ordinary, end_of_document=end, num_threads=num_threads)
        core, listed = tokenizer._core, [str(path) for path in paths]
        numbers = core.count_files(listed, None, options | {"chunk_bytes": chunk_bytes}, None)
        assert numbers == [(count.num_tokens, count.num_documents, count.num_bytes) for count in counts]


@given(documents=st.lists(texts, max_size=6), num_threads=st.integers(1, 3))
def test_lines_of_json(tokenizer: Tokenizer, documents: list[str], num_threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl.gz"
        lines = "".join(json.dumps({"text": text}) + "\n" for text in documents)
        path.write_bytes(gzip.compress(lines.encode()))
        for end in (None, ""):
            expected = written(tokenizer, path, field="text", end_of_document=end)
            counts = tokenizer.count_files(path, field="text", end_of_document=end, num_threads=num_threads)
            assert counts == [expected]
        assert expected.num_documents == len(documents)
        assert expected.num_bytes == sum(len(text.encode()) for text in documents)


def test_parquet(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for number, path in enumerate(paths):
        pq.write_table(pa.table({"text": ["once", f"upon a time {SPECIAL}", ""][number:]}), path)
    counts = tokenizer.count_files(paths, column="text")
    assert counts == [written(tokenizer, path, column="text") for path in paths]
    assert [count.num_documents for count in counts] == [3, 2]


def test_what_encode_refuses_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n{"text": null}\n')
    with pytest.raises(InputError, match=r"x\.jsonl, line 2"):
        tokenizer.count_files(path, field="text")
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        tokenizer.count_files([path, tmp_path / "missing.txt"], field="text")
    with pytest.raises(ValueError, match="at least one path"):
        tokenizer.count_files([])
    without = Tokenizer.train_from_iterator(["low"], 257)
    path.write_text('{"text": "a"}\n')
    with pytest.raises(SpecialTokenError, match="end_of_document"):
        without.count_files(path, field="text")
    assert without.count_files(path, field="text", end_of_document="")[0].num_tokens == 1


def test_progress_counts_bytes(tokenizer: Tokenizer, tmp_path: Path, stories: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(stories, encoding="utf-8")
    calls: list[tuple[str, str, int, int]] = []
    tokenizer.count_files(path, progress=lambda *call: calls.append(call))
    size = path.stat().st_size
    assert calls[-1] == ("counting", "bytes", size, size)


@pytest.mark.parametrize("text", [b"", b"a", SPECIAL.encode(), b"a" + SPECIAL.encode(), b"\xff"])
def test_standard_input(tokenizer: Tokenizer, text: bytes, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tok")
    program = "import sys, tinybpe; print(tinybpe.Tokenizer.load('tok').count_files('-')[0].num_tokens)"
    ran = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, cwd=tmp_path)
    assert int(ran.stdout) == len(tokenizer.encode(text, allowed_special="all"))
    assert ran.stderr == b""
