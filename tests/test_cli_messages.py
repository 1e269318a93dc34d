"""What the command `tinybpe` says: flags, suggestions, lines of 80 columns, commands to paste, rates."""

from __future__ import annotations

import argparse
import io
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lm.flags import add_flags
from tinybpe import Tokenizer, WordCounts
from tinybpe.cli import build_parser, encode_summary, main
from tinybpe.errors import InputError, TinyBPEWarning, TokenFileError
from tinybpe.flags import parse_number
from tinybpe.progress import LEAST_RATED_S, TqdmBar, format_rate, make_bar
from tinybpe.suggest import closest
from tinybpe.summary import free_name, runner, table, wrap
from tinybpe.token_file import TokenFileInfo

SPECIAL = "<|endoftext|>"
TOK = ["--tok", "tok"]


@pytest.fixture
def folder(tmp_path: Path, stories: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinybpe.summary.runner", lambda program: [program])
    Path("s.md").write_text(stories, encoding="utf-8")
    Tokenizer.train("s.md", 400, special_tokens=[SPECIAL]).save("tok")
    return tmp_path


def outcome(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


# --- Flags and suggestions ----------------------------------------------------------------------------------


TRAIN = ["train", "s.md", "--out", "new"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean `train`?"),
        ([*TRAIN, "--vocab-size", "300", "--tie-brake", "bytes"], "did you mean `--tie-break`?"),
        ([*TRAIN, "--vocabsize", "300"], "--vocabsize is unknown (did you mean `--vocab-size`?)"),
        ([*TRAIN, "--vocab_sise=300"], "did you mean `--vocab-size`?"),
        ([*TRAIN, "--vocab-size", "300", "--special", "<s>", "b.md"], "files go together"),
        (["train", "--special", "<s>", "<t>", *TRAIN[2:], "--vocab-size", "300"], "--special of its own"),
        ([*TRAIN, "--vocab-size", "many"], "write it as 10000 or 10k"),
        ([*TRAIN, "--vocab-size", "10"], "--vocab-size 10 is too small"),
        ([*TRAIN, "--vocab-size", "300", "--threads", "0"], "--threads 0: give at least 1"),
        ([*TRAIN, "--vocab-size", "300", "--threads", "9999"], "--threads 9999: give at most"),
        ([*TRAIN, "--vocab-size", "300", "--max-memory", "much"], "--max-memory 'much' is no amount"),
        (
            [*TRAIN, "--vocab-size", "300", "--field", "a", "--column", "b"],
            "--field 'a' is for JSON lines and --c",
        ),
        (["encode", *TOK, "--output", "x.bin"], "- is standard input"),
        (["encode", *TOK, "s.md", "--output", "x.bin", "--shards", "0"], "--shards 0: give at least 1"),
        (["encode", *TOK, "s.md", "--output", "x.bin", "--resume"], "give `--shards` or `--shard-tokens`"),
        (["encode", *TOK, "s.md", "--output", "x.bin", "--end-of-document", "x"], "no special token"),
        (["encode", *TOK, "s.md", "--output", "x.bin", "--format", "nyp"], "did you mean `npy`?"),
        (["export", *TOK, "--to", "tiktokn", "--out", "x"], "did you mean `tiktoken`?"),
    ],
)
def test_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(folder.rglob("*"))
    assert outcome(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    # Python's words for the same thing.
    assert not re.search(r"num_threads|vocab_size|max_memory|None|shard_tokens|end_of_document", printed.err)
    assert printed.out == ""
    assert sorted(folder.rglob("*")) == before


def test_python_speaks_of_arguments(folder: Path) -> None:
    with pytest.raises(ValueError, match="num_threads=0: give at least 1"):
        Tokenizer.train("s.md", 300, num_threads=0)
    with pytest.raises(ValueError, match=r"resume=True keeps .* `shards` or `shard_tokens`"):
        Tokenizer.load("tok").encode_file("s.md", "x.bin", resume=True)


def test_a_message_says_a_flag_only_where_an_argument_is_meant() -> None:
    encode = build_parser().parse_args(["encode", *TOK, "x", "--output", "y"]).parser
    for message, said in [
        ("`num_threads`", "`--threads`"),
        ("`overwrite=True` or `resume=True`", "`--overwrite` or `--resume`"),
        ("field='a b': no", "--field 'a b': no"),
        ("the field of x.dtype=3 and a.shards=2", "the field of x.dtype=3 and a.shards=2"),
        ("pattern=x", "pattern=x"),  # which `encode` does not have
        ("`<|docs|>` and `text`", "`<|docs|>` and `text`"),
    ]:
        assert encode.as_flags(message) == said
    assert encode.is_about_a_flag("shards=0: no")
    assert not encode.is_about_a_flag("x.bin: shards=0")


def test_numbers() -> None:
    for text, number in [("300", 300), ("10k", 10_000), ("2M", 2_000_000), ("50,257", 50_257), ("1_0", 10)]:
        assert parse_number(text) == number
    assert parse_number("-3") == -3


def test_what_was_meant() -> None:
    known = ["--vocab-size", "--threads"]
    assert (
        closest("--Vocab_Size", known) == closest("--vocab-siz", known) == " (did you mean `--vocab-size`?)"
    )
    assert closest("--xyz", known) == closest("--xyz", []) == ""


# --- Summaries ----------------------------------------------------------------------------------------------


def test_lines_fit_and_words_stay_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        ["train", "s.md", "--vocab-size", "10k", "--out", "a-folder-with-a-rather-long-name/tok"],
        ["encode", *TOK, "s.md", "--output", "a-folder-with-a-rather-long-name/tokens.bin"],
        ["info", *TOK, "--longest", "40", "--input", "s.md"],
        ["decode", *TOK, "a-folder-with-a-rather-long-name/tokens.bin", "--output", "back"],
    ]
    for arguments in commands:
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line) <= 80 for line in lines if not line.startswith("next: ")), lines
    words = "path/with-a/" + 100 * "x"
    assert words in wrap(f"some text {words} more").split()
    assert table([("name", ["a", 74 * "b"]), ("longer", ["c"])]).splitlines() == [
        "name   a",
        f"       {74 * 'b'}",
        "longer c",
    ]
    digest = next(iter(re.findall(r"(?m)^sha256 +(\w+)$", run_info(capsys))))
    assert len(digest) == 64


def run_info(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["info", *TOK]) == 0
    return capsys.readouterr().out


def next_line(printed: str) -> list[str]:
    return shlex.split(next(line for line in printed.splitlines() if line.startswith("next: ")))[1:]


def test_next_commands_can_be_pasted(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a b.jsonl", "c.jsonl"):
        Path(name).write_text('{"body": "once upon a time"}\n')
    train = ["train", "a b.jsonl", "c.jsonl", "--field", "body", "--special", SPECIAL, "--vocab-size", "260"]
    assert main([*train, "--out", "new tok"]) == 0
    command = next_line(capsys.readouterr().out)
    assert command[0] == "tinybpe"
    assert main(command[1:]) == 0
    assert TokenFileInfo.read("train.bin").num_documents == 2
    command = next_line(capsys.readouterr().out)
    assert command[:3] == ["python", "-m", "lm.train"]
    parser = argparse.ArgumentParser()
    add_flags(parser, command[3:])
    chosen = parser.parse_args(command[3:])
    assert ("train.bin" in chosen.train_bin, chosen.vocab_size, chosen.tokenizer) == (True, 260, "new tok")
    # The name is taken now.
    assert main([*train, "--out", "new tok"]) == 0
    assert next_line(capsys.readouterr().out)[-1] == "train-2.bin"
    assert free_name("train", ".bin") == "train-2.bin"
    monkeypatch.setattr("tinybpe.cli.has_trainer", lambda: False)
    assert main(["encode", "--tok", "new tok", "s.md", "--output", "x.npy"]) == 0
    printed = capsys.readouterr().out
    assert "next: tinybpe decode --tok 'new tok' --input x.npy | head" in printed


def test_how_this_program_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert runner("tinybpe") == ["uv", "run", "tinybpe"]
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    monkeypatch.setenv("PATH", "")
    assert runner("tinybpe") == [sys.executable, "-m", "tinybpe"]
    assert runner("python") == [sys.executable]
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    if Path(sys.executable).name == "python":
        assert runner("python") == ["python"]


def test_one_and_many(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.txt").write_text("once")
    assert main(["encode", *TOK, "one.txt", "--output", "one.bin", "--shards", "1"]) == 0
    printed = capsys.readouterr().out
    assert "1 document," in printed
    assert "1 shard: one-00000-of-00001.bin" in printed
    assert "of text" in " ".join(printed.split())
    assert main(["train", "s.md", "one.txt", "--vocab-size", "257", "--out", "new"]) == 0
    assert "1 merge from 2 files (" in capsys.readouterr().out


# --- Rates --------------------------------------------------------------------------------------------------


def test_rates_only_of_time_that_can_be_rated() -> None:
    assert format_rate(100, "tokens", LEAST_RATED_S / 2) == ""
    assert format_rate(100, "tokens", 1) == "100 tokens/s"
    info = TokenFileInfo(
        path=Path("x.bin"), dtype="uint16", num_tokens=4_000_000, num_documents=1, num_bytes=10_000_000,
        vocab_size=300, tokenizer_sha256="", sources=(),
    )  # fmt: skip
    assert encode_summary("x.bin", info, 0.2).endswith("in 0.2 s")
    assert encode_summary("x.bin", info, 2).endswith("in 2.0 s (5.0 MB/s, 2,000,000 tokens/s)")
    shards = TokenFileInfo.of_set("x.bin", [info, info])
    # What an earlier run had finished is no work of this one.
    from dataclasses import replace

    half, whole = replace(shards, num_kept_shards=1), replace(shards, num_kept_shards=2)
    assert encode_summary("x.bin", half, 2).endswith("1 shard kept; in 2.0 s (5.0 MB/s, 2,000,000 tokens/s)")
    assert encode_summary("x.bin", whole, 2).endswith("; 2 shards kept")


def test_the_bar_and_the_summary_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    for elapsed_s, rated in [(0.01, False), (2.0, True)]:
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        bar = make_bar()
        assert isinstance(bar, TqdmBar)
        bar._started_at = time.time() - elapsed_s
        # All reports come at the end, as those of a small file do.
        bar("encoding", "bytes", 6_000_000, 6_000_000)
        bar("encoding", "tokens", 2_000_000, 0)
        bar.close()
        last = screen.getvalue().rstrip().rsplit("\r", 1)[-1]
        assert "encoding: 100%" in last
        assert ("/s" in last) == rated, last
        if rated:
            assert re.search(r"[23]\.\d+MB/s, (9\d\d,\d{3}|1,000,000) tokens/s", last), last


def test_kept_shards_are_no_progress(folder: Path) -> None:
    tokenizer = Tokenizer.load("tok")
    whole = tokenizer.encode_file("s.md", "x.bin", shard_tokens=100)
    assert len(whole.shards) > 2
    for shard in whole.shards[2:]:
        shard.path.with_name(shard.path.name + ".json").unlink()
    seen: list[tuple[str, int, int]] = []
    info = tokenizer.encode_file(
        "s.md", "x.bin", shard_tokens=100, resume=True, progress=lambda _, unit, *n: seen.append((unit, *n))
    )
    assert info.num_kept_shards == 2
    done, total = [(done, total) for unit, done, total in seen if unit == "bytes"][-1]
    assert done == total < Path("s.md").stat().st_size


# --- What is said before, or beside, the work ---------------------------------------------------------------


def test_text_that_cannot_be_cut(folder: Path) -> None:
    plain = Tokenizer.train("s.md", 300)
    for resume in (False, True):
        with pytest.raises(TokenFileError, match=r"s\.md: cannot be cut: .* give `end_of_document`"):
            plain.encode_file("s.md", "x.bin", shard_tokens=100, resume=resume)
    assert not list(folder.glob("x*"))
    with pytest.warns(TinyBPEWarning, match="cut between inputs alone"):
        plain.encode_file(["s.md", "s.md"], "x.bin", shard_tokens=100)
    # The token ends documents and the text has none.
    Path("long.txt").write_text("once upon a time " * 500)
    with pytest.warns(TinyBPEWarning, match=r"y-00000\.bin has [\d,]+ tokens, since no document ends"):
        Tokenizer.load("tok").encode_file("long.txt", "y.bin", shard_tokens=100)


def test_inputs_that_are_no_text(folder: Path) -> None:
    tokenizer = Tokenizer.load("tok")
    tokenizer.encode_file("s.md", "x.npy")
    for call in (
        lambda: tokenizer.encode_file("x.npy", "y.bin"),
        lambda: Tokenizer.train("x.npy", 300),
        lambda: WordCounts.from_files("x.npy"),
    ):
        with pytest.raises(InputError, match=r"x\.npy: is a token file, not text"):
            call()
    Path("b").write_bytes(b"\x7fELF\0\0")
    with pytest.warns(TinyBPEWarning, match="b has NUL bytes, so it is hardly text"):
        tokenizer.encode_file("b", "b.bin")
    Path("u").write_bytes("once".encode("utf-16"))
    with pytest.warns(TinyBPEWarning, match="u is UTF-16; convert it"):
        tokenizer.encode_file("u", "u.bin")


def test_nothing_to_do_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").touch()
    assert main(["encode", *TOK, "empty", "--output", "x.bin"]) == 0
    printed = capsys.readouterr()
    assert "warning: x.bin: there was no text to encode" in printed.err
    assert "next:" not in printed.out
    assert main(["train", "empty", "--vocab-size", "300", "--out", "new"]) == 0
    assert "warning: nothing to learn from" in capsys.readouterr().err


def test_names_that_contradict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, flags, reason in [
        ("x.uint8.bin", [], "the name says uint8"),
        ("x.int32.bin", [], "the name says int32"),
        ("x.bin", ["--format", "npy"], "a name that ends in .npy"),
        ("nodir/x.bin", [], "the folder nodir does not exist; make it first"),
    ]:
        assert main(["encode", *TOK, "s.md", "--output", name, *flags]) == 1
        assert reason in capsys.readouterr().err
    with pytest.raises(OSError, match="the folder nodir does not exist"):
        WordCounts.from_iterator(["a"]).save("nodir/x")


def test_columns_that_were_meant(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"content": ["once"]}), "x.parquet")
    with pytest.raises(InputError, match=r"no column 'contents' \(did you mean `content`\?\)"):
        Tokenizer.load("tok").encode_file("x.parquet", "x.bin", column="contents")


def test_a_pipe_without_a_name_for_it(folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tinybpe", "encode", *TOK, "--output", "x.bin"],
        input="once",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert "no input: give files after --input; - is standard input" in ran.stderr
