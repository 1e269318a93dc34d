"""The commands that show something: `info`, `tokens`, `count`; and token files as arrays."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinybpe import TokenFileError, TokenFileInfo, Tokenizer, cli, look
from tinybpe.cli import main

SPECIAL = "<|endoftext|>"
COMMAND = [sys.executable, "-m", "tinybpe"]
NUMBERS = ("tokens", "documents", "bytes", "bytes per token", "file")


@pytest.fixture
def folder(tmp_path: Path, stories: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text, a tokenizer and token files of every layout."""
    monkeypatch.chdir(tmp_path)
    Path("stories.md").write_text(stories, encoding="utf-8")
    tokenizer = Tokenizer.train("stories.md", 400, special_tokens=[SPECIAL])
    tokenizer.save("tok")
    for output, layout in (("x.bin", None), ("x.npy", None), ("x.ds", None), ("llmc.bin", "llm.c")):
        tokenizer.encode_file("stories.md", output, format=layout, docs=True)
    return tmp_path


def rows(printed: str) -> list[list[str]]:
    return [line.split("\t") for line in printed.splitlines()]


def fails(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    if code == 2:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    else:
        assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return printed.err


# --- count --------------------------------------------------------------------------------------------------


def test_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.jsonl").write_text('{"text": "once"}\n{"text": "upon a time"}\n')
    assert main(["count", "--tok", "tok", "stories.md", "stories.md", "--threads", "2"]) == 0
    names, *numbers = rows(capsys.readouterr().out)
    assert tuple(names) == NUMBERS
    info = TokenFileInfo.read("x.bin")
    one = [str(info.num_tokens), "5", str(info.num_bytes), f"{info.num_bytes / info.num_tokens:.3f}"]
    two = [str(2 * info.num_tokens), "10", str(2 * info.num_bytes), one[3]]
    assert numbers == [[*one, "stories.md"], [*one, "stories.md"], [*two, "total"]]
    assert main(["count", "--tok", "tok", "--input", "x.jsonl", "--field", "text"]) == 0
    tokenizer = Tokenizer.load("tok")
    expected = len(tokenizer.encode("once")) + len(tokenizer.encode("upon a time")) + 2
    assert rows(capsys.readouterr().out)[1][:3] == [str(expected), "2", "15"]


def test_count_standard_input_and_no_text(folder: Path) -> None:
    for text, ratio in ((b"", "0.000"), (b"once", f"{4 / len(Tokenizer.load('tok').encode('once')):.3f}")):
        ran = subprocess.run(
            [*COMMAND, "count", "--tok", "tok", "-", "--ordinary"], input=text, capture_output=True
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert rows(ran.stdout.decode())[1][3:] == [ratio, "-"]


def test_a_table_for_eyes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    look.print_table(NUMBERS[:1] + NUMBERS[3:], [[1_234_567, 3.25, "a\x1b"], [8, 0.0, "total"]])
    assert capsys.readouterr().out.splitlines() == [
        "   tokens  bytes per token  file",
        "1,234,567            3.250  a\\x1b",
        "        8            0.000  total",
    ]


# --- tokens -------------------------------------------------------------------------------------------------


def test_tokens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"Once upon \u2603\t\n'\"{SPECIAL}"
    assert main(["tokens", "--tok", "tok", text]) == 0
    names, *found = rows(capsys.readouterr().out)
    assert names == ["id", "piece"]
    tokenizer = Tokenizer.load("tok")
    assert [int(number) for number, _ in found] == tokenizer.encode(text, allowed_special="all")
    pieces: list[Any] = [ast.literal_eval(piece) for _, piece in found]
    as_bytes = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    assert b"".join(as_bytes) == text.encode()
    assert pieces[-1] == SPECIAL
    assert main(["tokens", "--tok", "tok", SPECIAL, "--ordinary"]) == 0
    assert len(rows(capsys.readouterr().out)) == 1 + len(tokenizer.encode_ordinary(SPECIAL))
    assert main(["tokens", "--tok", "tok", ""]) == 0
    assert capsys.readouterr().out == "id\tpiece\n"


@pytest.mark.skipif(os.name != "posix", reason="arguments are bytes there")
def test_tokens_of_bytes_and_of_standard_input(folder: Path) -> None:
    for arguments, stdin in (([b"\xffa"], b""), ([b"-"], b"\xffa"), ([], b"\xffa")):
        ran = subprocess.run(
            [*COMMAND, "tokens", "--tok", "tok", *arguments], input=stdin, capture_output=True
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert rows(ran.stdout.decode())[1:] == [["255", "b'\\xff'"], ["97", "'a'"]]


def test_tokens_shows_no_control_characters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "--tok", "tok", "\x1b[2J\x07\u202e"]) == 0
    assert not set(capsys.readouterr().out) & set("\x1b\x07\u202e")


# --- info ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["x.bin", "x.npy", "x.ds", "llmc.bin"])
def test_info_of_a_token_file(folder: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    for arguments in ([output], ["--input", output, "--tok", "tok", "--verify"]):
        assert main(["info", *arguments, "--json"]) == 0
    first, second = (json.loads(part) for part in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0"))
    info = TokenFileInfo.read(output)
    assert (first["num_tokens"], first["num_documents"]) == (info.num_tokens, 5)
    assert first["tokenizer_sha256"] == Tokenizer.load("tok").sha256
    assert first["layout"] == info.layout
    assert "first_document" not in first
    assert second["checksum"] == "verified"
    assert second["first_document"].startswith("Once upon a time")
    assert second.items() >= first.items()
    assert main(["info", output, "--tok", "tok"]) == 0
    printed = capsys.readouterr().out
    assert f"num tokens       {info.num_tokens:,}\n" in printed
    assert "first document   'Once upon" in printed


@pytest.mark.fault("B4")
def test_info_verifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(Path("x.bin").read_bytes())
    content[10] ^= 1
    Path("x.bin").write_bytes(content)
    assert main(["info", "x.bin"]) == 0
    capsys.readouterr()
    for arguments in (["x.bin", "--verify"], ["x.npy", "x.bin", "--verify"]):
        assert "not those that were written" in fails(["info", *arguments], 1, capsys)
    Path("y.uint16.bin").write_bytes(content)
    assert "no checksum to verify" in fails(["info", "y.uint16.bin", "--verify"], 1, capsys)
    assert main(["info", "y.uint16.bin", "--tok", "tok"]) == 0
    assert re.search(r"sidecar +none", capsys.readouterr().out)


def test_info_of_several(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = Tokenizer.load("tok").encode_file("stories.md", "s.bin", shards=2).shards
    assert main(["info", *(shard.path.name for shard in shards)]) == 0
    names, *numbers = rows(capsys.readouterr().out)
    assert tuple(names) == NUMBERS
    assert [row[1] for row in numbers] == [*(str(shard.num_documents) for shard in shards), "5"]
    assert main(["info", *(shard.path.name for shard in shards), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_info_of_a_tokenizer_by_position(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("renamed").write_bytes(Path("tok/tokenizer.json").read_bytes())
    facts = []
    for arguments in (["tok"], ["--tok", "tok"], ["renamed"], ["tok/tokenizer.json"]):
        assert main(["info", *arguments, "--json"]) == 0
        facts.append(json.loads(capsys.readouterr().out)["sha256"])
    assert set(facts) == {Tokenizer.load("tok").sha256}
    assert main(["info", "tok", "stories.md"]) == 0
    assert re.search(r"bytes per token +1\.8", capsys.readouterr().out)


def test_info_measures_text_and_not_its_compression(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gzip

    lines = json.dumps({"text": Path("stories.md").read_text(encoding="utf-8").replace(SPECIAL, "")}) + "\n"
    Path("x.jsonl").write_text(lines)
    Path("x.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    ratios = []
    for name in ("x.jsonl", "x.jsonl.gz"):
        assert main(["info", "--tok", "tok", "--input", name, "--field", "text", "--json"]) == 0
        ratios.append(json.loads(capsys.readouterr().out)["bytes_per_token"])
    assert ratios[0] == ratios[1] > 1.5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info"], 2, "give a tokenizer or a token file"),
        (["info", "stories.md"], 2, "stories.md is no tokenizer and no token file"),
        (["info", "missing"], 1, "missing: No such file"),
        (["info", "x.bin", "stories.md", "--tok", "tok"], 2, "give one kind"),
        (["info", "tok", "--verify"], 2, "--verify is for token files"),
        (["info", "raw.bin"], 1, "say its dtype"),
        (["info", "x.bin", "--tok", "other"], 1, "another tokenizer"),
        (["tokens", "--tok", "tok", "a", "b"], 2, "put one in quotes"),
        (["tokens", "a"], 2, "--tok"),
        (["tokens", "--tok", "missing", "a"], 1, "missing"),
        (["count", "--tok", "tok"], 2, "no input"),
        (["count", "--tok", "tok", "missing.txt"], 1, "missing.txt: No such file"),
        (["count", "stories.md"], 2, "--tok"),
    ],
)
def test_one_clear_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    Path("raw.bin").write_bytes(b"ab")
    Tokenizer.train("stories.md", 300).save("other")
    assert message in fails(arguments, code, capsys)


def test_every_command_is_registered() -> None:
    assert {"count", "tokens", "info", "train", "encode", "decode", "export"} <= set(
        cli.build_parser().format_help().split()
    )


def test_interrupt_before_the_arguments_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "tinybpe: interrupted\n"


# --- Token files as arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["x.bin", "x.npy", "x.ds", "llmc.bin"])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_ids_are_mapped_whatever_the_layout(folder: Path, stories: str, output: str, dtype: Any) -> None:
    tokenizer = Tokenizer.load("tok")
    layout: Any = "llm.c" if output == "llmc.bin" else None
    info = tokenizer.encode_file("stories.md", f"new-{output}", format=layout, dtype=dtype, docs=True)
    ids = info.ids()
    assert ids.dtype == dtype
    assert ids.tolist() == tokenizer.encode(stories, allowed_special="all")
    assert isinstance(ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 0
    documents = [info.document(index) for index in range(info.num_documents)]
    assert [i for document in documents for i in document.tolist()] == ids.tolist()
    end = tokenizer.eot_token
    assert [document.tolist().index(end) == len(document) - 1 for document in documents[:-1]] == [True] * 4
    assert TokenFileInfo.read(info.path).ids().tolist() == ids.tolist()


@pytest.mark.fault("B4")
def test_what_has_no_ids_or_documents(folder: Path) -> None:
    tokenizer = Tokenizer.load("tok")
    info = TokenFileInfo.read("x.bin")
    for index in (-1, info.num_documents):
        with pytest.raises(IndexError, match=rf"index={index}.*5 documents"):
            info.document(index)
    plain = tokenizer.encode_file("stories.md", "plain.bin")
    with pytest.raises(TokenFileError, match=r"plain\.bin\.docs.*docs=True"):
        plain.document(0)
    ends = Path("x.bin.docs").read_bytes()
    Path("x.bin.docs").write_bytes(ends[:-8])
    with pytest.raises(TokenFileError, match=r"x\.bin\.docs.*5 documents"):
        info.document(0)
    Path("x.bin").write_bytes(Path("x.bin").read_bytes()[:-2])
    with pytest.raises(TokenFileError, match=r"x\.bin"):
        info.ids()
    sharded = tokenizer.encode_file("stories.md", "s.bin", shards=2, docs=True)
    for wrong in (sharded.ids, lambda: sharded.document(0)):
        with pytest.raises(TokenFileError, match=r"2 files.*s-00000-of-00002\.bin"):
            wrong()
    assert sharded.shards[0].ids().size + sharded.shards[1].ids().size == sharded.num_tokens
    Path("empty").write_text("")
    assert tokenizer.encode_file("empty", "empty.bin", docs=True).ids().shape == (0,)
