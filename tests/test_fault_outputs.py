"""The user points at a file of their own: nothing writes over what it reads, or unasked over other files.

Each command that writes and each Python call that writes has cases here; a new one without a case fails the
first test.
"""

from __future__ import annotations

import argparse
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tinybpe import Tokenizer, WordCounts
from tinybpe import export as export_module
from tinybpe.cli import build_parser, main
from tinybpe.errors import OutputError
from tinybpe.export import export
from tinybpe.token_file import TokenFileInfo

SPECIAL = "<|endoftext|>"
TEXT = "once upon a time<|endoftext|>there was a cat<|endoftext|>once more"

# Commands that write no file.
READ_ONLY_COMMANDS = {"count", "info", "tokens"}

Write = Callable[[Path, Path, bool], object]


@dataclass(frozen=True)
class Case:
    """Something that reads one file and writes another."""

    call: str
    """The command, or the function with its class."""
    written: str
    """The name of a file that it writes, or puts beside what it writes."""
    write: Write
    """Does it: reads the first path, writes the second, overwrites or not."""


def command(name: str, *flags: str, output: str = "--output", read: str = "--input") -> Write:
    def write(source: Path, target: Path, overwrite: bool) -> object:
        arguments = [name, *flags, read, str(source), output, str(target), *["--overwrite"] * overwrite]
        code = main([*arguments, "--quiet"])
        if code:
            raise OutputError(f"exit code {code}")
        return code

    return write


def beside(suffix: str, write: Write) -> Write:
    """Write to the name without a suffix, beside which a file with the suffix is written or removed."""
    return lambda source, target, overwrite: write(
        source, target.with_name(target.name.removesuffix(suffix)), overwrite
    )


def folder_of(write: Write) -> Write:
    return lambda source, target, overwrite: write(source, target.parent, overwrite)


def shard_of(number: str, write: Write) -> Write:
    return beside("", lambda s, t, o: write(s, t.with_name(t.name.replace(number, "")), o))


def encode_file(source: Path, target: Path, overwrite: bool) -> object:
    return Tokenizer.load("tok").encode_file(source, target, overwrite=overwrite)


def encode_shards(source: Path, target: Path, overwrite: bool) -> object:
    tokenizer = Tokenizer.load("tok")
    return tokenizer.encode_file(source, target, shard_tokens=5, overwrite=overwrite)


def encode_parquet(source: Path, target: Path, overwrite: bool) -> object:
    return Tokenizer.load("tok").encode_file(source, target, column="text", overwrite=overwrite)


def encode_documents(source: Path, target: Path, overwrite: bool) -> object:
    return Tokenizer.load(source).encode_documents(["a cat"], target, overwrite=overwrite)


def encode_with(source: Path, target: Path, overwrite: bool) -> object:
    Path("other.txt").write_text("once")
    return Tokenizer.load(source).encode_file("other.txt", target, overwrite=overwrite)


def export_to(format_name: str) -> Write:
    return lambda source, target, overwrite: export(
        Tokenizer.load(source), format_name, target, overwrite=overwrite
    )


TOK = ("--tok", "tok")
CASES = [
    Case("train", "vocab.json", folder_of(command("train", "--vocab-size", "300", output="--out"))),
    Case("train", "merges.txt", folder_of(command("train", "--vocab-size", "300", output="--out"))),
    Case("encode", "x.bin", command("encode", *TOK)),
    Case("encode", "x.txt", command("encode", *TOK)),
    Case("encode", "x.bin.json", beside(".json", command("encode", *TOK, "--field", "text"))),
    Case("encode", "x.bin.docs", beside(".docs", command("encode", *TOK))),
    Case("encode", "x.ds.metadata", beside(".metadata", command("encode", *TOK))),
    Case("encode", ".x.bin.lock", lambda s, t, o: command("encode", *TOK)(s, t.with_name("x.bin"), o)),
    Case("encode", "x-00000.bin", shard_of("-00000", command("encode", *TOK, "--shard-tokens", "5"))),
    Case("encode", "x-00003.bin", shard_of("-00003", command("encode", *TOK, "--shard-tokens", "5"))),
    Case(
        "encode", "x-00001-of-00002.bin", shard_of("-00001-of-00002", command("encode", *TOK, "--shards=2"))
    ),
    Case("decode", "x.txt", command("decode", *TOK, "--dtype", "uint16")),
    Case("decode", "x.uint16.bin", command("decode", *TOK, "--dtype", "uint16")),
    Case(
        "export", "tokenizer.json", folder_of(command("export", "--to", "hf", output="--out", read="--tok"))
    ),
    Case("export", "tokenizer.json", command("export", "--to", "tiktoken", output="--out", read="--tok")),
    Case("import", "tokenizer.json", folder_of(command("import", output="--out", read="--quiet"))),
    Case("Tokenizer.encode_file", "x.bin", encode_file),
    Case("Tokenizer.encode_file", "x.bin.index", beside(".index", encode_file)),
    Case("Tokenizer.encode_file", "x-00000.bin", shard_of("-00000", encode_shards)),
    Case("Tokenizer.encode_file", "x.parquet", encode_parquet),
    Case("Tokenizer.encode_file", "tokenizer.json", beside(".json", encode_with)),
    Case("Tokenizer.encode_documents", "tokenizer.json", beside(".json", encode_documents)),
    Case("Tokenizer.encode_documents", "tokenizer.json", encode_documents),
    Case("export", "tokenizer.json", export_to("tiktoken")),
    Case("export", "tokenizer.json", folder_of(export_to("hf"))),
]

# What these write comes from memory: there is no input that it could be.
FROM_MEMORY: dict[str, Callable[[Path, str, bool], object]] = {
    "Tokenizer.save": lambda path, text, overwrite: Tokenizer.train_from_iterator([text], 260).save(
        path, overwrite=overwrite
    ),
    "WordCounts.save": lambda path, text, overwrite: WordCounts.from_iterator([text]).save(
        path, overwrite=overwrite
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Tokenizer.train_from_iterator([TEXT], 270, special_tokens=[SPECIAL]).save("tok")
    Path("made").mkdir()
    return tmp_path


def write_input(path: Path) -> None:
    """Write something that can be read as what its name says."""
    if path.name == "tokenizer.json":
        # As another library writes it: what we would write differs.
        text = Path("tok/tokenizer.json").read_text(encoding="utf-8")
        path.write_text(text + "\n\n", encoding="utf-8")
    elif path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": ["once upon a time"]}), path)
    elif path.name.endswith("bin.json"):
        path.write_text('{"text": "once upon a time"}\n')
    else:
        path.write_text(TEXT)


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in paths if path.name != "other.txt"}


def commands() -> Iterator[str]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices


def calls_that_write() -> Iterator[str]:
    """Yield the public calls that have somewhere to write to."""
    for owner in (Tokenizer, WordCounts):
        for name, function in inspect.getmembers(owner, callable):
            parameters = inspect.signature(function).parameters if not name.startswith("_") else {}
            if "overwrite" in parameters or {"output", "directory"} & set(parameters) or name == "save":
                yield f"{owner.__name__}.{name}"
    yield export_module.export.__name__


@pytest.mark.fault("T15")
def test_all_that_writes_has_a_case() -> None:
    cases = {case.call for case in CASES}
    assert set(commands()) - READ_ONLY_COMMANDS <= cases
    assert set(calls_that_write()) <= cases | set(FROM_MEMORY)


@pytest.mark.fault("T15")
@pytest.mark.skipif(os.name != "posix", reason="makes links")
@pytest.mark.parametrize("overwrite", [False, True], ids=["keep", "overwrite"])
@pytest.mark.parametrize("spelled", ["same", "dots", "soft", "hard", "folder"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.call}-{case.written}")
def test_no_output_is_an_input(folder: Path, case: Case, spelled: str, overwrite: bool) -> None:
    target = Path("made") / case.written
    write_input(target)
    # Names are not what they are known by; a tokenizer's has to stay, since it says what is in the file.
    alias = folder / "alias" / case.written
    alias.parent.mkdir()
    if spelled == "dots":
        alias = folder / "made" / ".." / "made" / case.written
    elif spelled == "soft":
        alias.symlink_to(target.resolve())
    elif spelled == "hard":
        alias.hardlink_to(target)
    elif spelled == "folder":
        alias.parent.rmdir()
        alias.parent.symlink_to(folder / "made")
    else:
        alias = target
    before = contents(folder)
    with pytest.raises((OutputError, SystemExit)) as caught:
        case.write(alias, target, overwrite)
    assert contents(folder) == before
    if isinstance(caught.value, SystemExit):
        pytest.fail(f"not reached: {caught.value}")


@pytest.mark.fault("T15")
@pytest.mark.skipif(os.name != "posix", reason="makes links")
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.call}-{case.written}")
def test_an_output_that_is_a_link_to_an_input(case: Case, link: Callable[[Path, Path], None]) -> None:
    if "tokenizer" in case.written or case.call == "train":
        pytest.skip("its outputs have names of their own; the other test links the input")
    source, target = Path("input").resolve(), Path("made") / case.written
    write_input(target)
    target.rename(source)
    link(source, target)
    before = contents(Path())
    with pytest.raises(OutputError):
        case.write(source, target, True)
    assert contents(Path()) == before
    assert target.is_symlink() == (link is os.symlink)


@pytest.mark.fault("T15")
def test_messages_name_both_files_and_speak_of_flags(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.txt").write_text(TEXT)
    Path("link.txt").symlink_to("t.txt")
    assert main(["encode", *TOK, "--input", "t.txt", "--output", "t.txt"]) == 1
    assert "t.txt: is also read, and would be lost" in capsys.readouterr().err
    assert main(["encode", *TOK, "--input", "t.txt", "--output", "link.txt"]) == 1
    assert "link.txt: is the same file as t.txt, which is read" in capsys.readouterr().err
    Path("old.bin").write_text("somebody's")
    assert main(["encode", *TOK, "--input", "t.txt", "--output", "old.bin"]) == 1
    printed = capsys.readouterr().err
    assert "old.bin: is no token file with a sidecar" in printed
    assert "`--overwrite` to replace it" in printed
    assert main(["decode", *TOK, "--input", "t.txt", "--output", "t.txt", "--dtype", "uint16"]) == 1
    assert "t.txt: is also read and would be lost" in capsys.readouterr().err


@pytest.mark.fault("T15")
@pytest.mark.skipif(os.name != "posix", reason="redirects")
def test_redirections_of_the_shell() -> None:
    program = [sys.executable, "-m", "tinybpe"]
    Path("t.txt").write_text(TEXT)
    with Path("t.txt").open("rb") as text:
        ran = subprocess.run(
            [*program, "encode", *TOK, "--input", "-", "--output", "t.txt", "--overwrite"],
            stdin=text,
            capture_output=True,
            text=True,
        )
    assert (ran.returncode, Path("t.txt").read_text()) == (1, TEXT)
    assert "is also standard input" in ran.stderr
    Tokenizer.load("tok").encode_file("t.txt", "x.bin")
    before = Path("x.bin").read_bytes()
    with Path("x.bin").open("ab") as output:
        ran = subprocess.run([*program, "decode", *TOK, "x.bin"], stdout=output, stderr=subprocess.PIPE)
    assert (ran.returncode, Path("x.bin").read_bytes()) == (1, before)
    assert b"standard output: is the same file as x.bin" in ran.stderr


@pytest.mark.fault("T15")
@pytest.mark.parametrize(
    ("output", "arguments"),
    [
        ("new", ["train", "t.txt", "--vocab-size", "270", "--out", "new"]),
        ("x.bin", ["encode", *TOK, "t.txt", "--output", "x.bin"]),
        ("x-00000.bin", ["encode", *TOK, "t.txt", "--output", "x.bin", "--shard-tokens", "5"]),
        ("x-00000-of-00002.bin", ["encode", *TOK, "t.txt", "--output", "x.bin", "--shards", "2"]),
        ("back.txt", ["decode", *TOK, "ids.uint16.bin", "--output", "back.txt"]),
        ("new", ["export", *TOK, "--to", "hf", "--out", "new"]),
        ("new", ["export", *TOK, "--to", "gpt2", "--out", "new"]),
        ("new.tiktoken", ["export", *TOK, "--to", "tiktoken", "--out", "new.tiktoken"]),
    ],
    ids=lambda value: value[0] + value[-1] if isinstance(value, list) else "",
)
def test_what_is_there_stays_unless_asked(
    folder: Path, output: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.txt").write_text(TEXT)
    Path("ids.uint16.bin").write_bytes(b"a\0b\0")
    assert main(arguments) == 0
    made = contents(folder)
    # Again: what would be written is there.
    assert main(arguments) == 0
    assert contents(folder) == made
    # Something else is there, of the same size or not.
    path = Path(output)
    if path.is_dir():
        path /= "merges.txt"
    for sidecar in Path().glob("x*.json"):
        sidecar.unlink()
    for content in (path.read_bytes().swapcase() + b"x", b"x", b""):
        path.write_bytes(content)
        before = contents(folder)
        capsys.readouterr()
        assert main(arguments) == 1
        printed = capsys.readouterr().err
        assert "--overwrite" in printed
        assert "overwrite=" not in printed
        assert contents(folder) == before
    assert main([*arguments, "--overwrite"]) == 0
    assert contents(folder) == made


@pytest.mark.fault("T15")
@pytest.mark.parametrize("call", FROM_MEMORY)
def test_saving_over_something_else(folder: Path, call: str) -> None:
    save = FROM_MEMORY[call]
    save(folder / "x", "once upon a time", False)
    made = contents(folder)
    save(folder / "x", "once upon a time", False)
    assert contents(folder) == made
    with pytest.raises(OutputError, match="overwrite=True"):
        save(folder / "x", "there was a cat", False)
    assert contents(folder) == made
    save(folder / "x", "there was a cat", True)
    assert contents(folder) != made


@pytest.mark.fault("T15")
def test_a_token_file_of_other_text_stays(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load("tok")
    for name in ("train.txt", "valid.txt"):
        Path(name).write_text(f"{name}: {TEXT}")
    tokenizer.encode_file("train.txt", "train.bin")
    before = contents(tmp_path)
    with pytest.raises(
        OutputError, match=r"train\.bin: a token file is there already, made from train\.txt; "
    ):
        tokenizer.encode_file("valid.txt", "train.bin")
    other = Tokenizer.train_from_iterator(["low lower"], 258)
    with pytest.raises(OutputError, match="by another tokenizer"):
        other.encode_file("train.txt", "train.bin")
    with pytest.raises(OutputError, match="made from train"):
        tokenizer.encode_documents(["a"], "train.bin")
    assert contents(tmp_path) == before
    # The same size, and other text: known when the ids are.
    Path("train.txt").write_text(Path("train.txt").read_text().replace("cat", "dog"))
    with pytest.raises(OutputError, match="with other ids"):
        tokenizer.encode_file("train.txt", "train.bin")
    tokenizer.encode_file("valid.txt", "train.bin", overwrite=True)
    assert TokenFileInfo.read("train.bin", verify=True).sources[0][0] == "valid.txt"


@pytest.mark.fault("T15")
@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
def test_outputs_that_are_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.txt").write_text(TEXT)
    os.mkfifo("pipe")
    for arguments, code, reason in [
        (["encode", *TOK, "t.txt", "--output", "-"], 2, "standard output"),
        (["train", "t.txt", "--vocab-size", "270", "--out", "-"], 2, "standard output"),
        (["export", *TOK, "--to", "hf", "--out", "-"], 2, "standard output"),
        (["encode", *TOK, "t.txt", "--output", "made"], 1, "made: Is a directory"),
        (["encode", *TOK, "t.txt", "--output", "pipe"], 1, "pipe: is a device or a pipe"),
        (["encode", *TOK, "t.txt", "--output", "no/x.bin"], 1, "the folder no does not exist"),
        (["decode", *TOK, "t.txt", "--dtype", "uint16", "--output", "made"], 1, "made: Is a directory"),
        (
            ["decode", *TOK, "t.txt", "--dtype", "uint16", "--output", "no/x"],
            1,
            "the folder no does not exist",
        ),
        (["export", *TOK, "--to", "tiktoken", "--out", "made"], 1, "made: Is a directory"),
        (["export", *TOK, "--to", "tiktoken", "--out", "pipe"], 1, "pipe: is a device or a pipe"),
        (["export", *TOK, "--to", "hf", "--out", "t.txt"], 1, "t.txt: Is a file"),
    ]:
        with_overwrite = [*arguments, "--overwrite"]
        returned: int | str | None
        try:
            returned = main(with_overwrite)
        except SystemExit as stopped:
            returned = stopped.code
        assert (returned, reason in capsys.readouterr().err) == (code, True), arguments
    assert Path("pipe").is_fifo()
    assert Path("t.txt").read_text() == TEXT
    assert not list(Path("made").iterdir())
    with pytest.raises(OutputError, match="standard output takes no token file"):
        Tokenizer.load("tok").encode_file("t.txt", "-")
    assert main(["decode", *TOK, "--dtype", "uint16", "t.txt", "--output", os.devnull]) == 1  # unknown ids
    assert not Path(os.devnull).is_file()
