"""The command `tinybpe`: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tinybpe import Tokenizer
from tinybpe.cli import hyphenate, main
from tinybpe.progress import PlainLines, TqdmBar, format_amount, make_bar, reporter
from tinybpe.token_file import open_ids

SPECIAL = "<|endoftext|>"
COMMAND = [sys.executable, "-m", "tinybpe"]


@pytest.fixture
def folder(tmp_path: Path, stories: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text and a tokenizer trained on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinybpe.summary.runner", lambda program: [program])
    Path("stories.md").write_text(stories, encoding="utf-8")
    Tokenizer.train("stories.md", 400, special_tokens=[SPECIAL]).save("tok")
    return tmp_path


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=120)


# --- What each command does ---------------------------------------------------------------------------------


def test_train_encode_decode(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", "--input", "stories.md", "--vocab-size", "400", "--out", "new", "--special", SPECIAL])
        == 0
    )
    printed = capsys.readouterr()
    assert "400 ids, 143 merges" in printed.out
    assert "next: tinybpe encode --tok new --input stories.md" in printed.out
    assert printed.err == ""
    assert Tokenizer.load("new") == Tokenizer.load("tok")

    assert main(["encode", "--tok", "new", "--input", "stories.md", "--output", "x.bin", "--docs"]) == 0
    printed = capsys.readouterr()
    assert "5 documents" in printed.out
    assert "next: python -m lm.train --train-bin x.bin --vocab-size 400 --tokenizer new" in printed.out
    assert Path("x.bin.docs").stat().st_size == 5 * 8

    assert main(["decode", "--tok", "new", "--input", "x.bin", "--output", "back.md"]) == 0
    assert Path("back.md").read_bytes() == Path("stories.md").read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_flags_as_the_reference_scripts_spell_them(folder: Path) -> None:
    train = [
        "train",
        "stories.md",
        "--vocab_size=400",
        "--out",
        "new",
        "--tie_break",
        "huggingface",
        "--quiet",
    ]
    assert main([*train, "--special", SPECIAL, "--special", "<|pad|>", "--special", "<|x|>"]) == 0
    tokenizer = Tokenizer.load("new")
    assert list(tokenizer.special_tokens) == [SPECIAL, "<|pad|>", "<|x|>"]
    text = Path("stories.md")
    expected = Tokenizer.train(text, 400, special_tokens=tokenizer.special_tokens, tie_break="huggingface")
    assert tokenizer == expected


def test_hyphenate_leaves_values_alone() -> None:
    assert hyphenate(["--special=<|a_b|>", "a_b", "-x_y"]) == ["--special=<|a_b|>", "a_b", "-x_y"]


@pytest.mark.fault("T14")
def test_the_same_command_twice(folder: Path) -> None:
    for _ in range(2):
        assert (
            main(["encode", "--tok", "tok", "stories.md", "stories.md", "--output", "x.bin", "--quiet"]) == 0
        )
        train = ["train", "stories.md", "--vocab-size", "400", "--special", SPECIAL, "--out", "tok"]
        assert main([*train, "--quiet"]) == 0
    text = Path("stories.md").read_text()
    assert len(open_ids("x.bin")) == 2 * len(Tokenizer.load("tok").encode(text, allowed_special="all"))
    assert main(["train", "stories.md", "--vocab-size", "300", "--out", "tok", "--overwrite", "--quiet"]) == 0
    assert Tokenizer.load("tok").vocab_size == 300


def test_ordinary_dtype_and_threads(folder: Path) -> None:
    arguments = ["--ordinary", "--dtype", "uint32", "--threads", "2", "--quiet"]
    assert main(["encode", "--tok", "tok", "stories.md", "--output", "x.bin", *arguments]) == 0
    ids = open_ids("x.bin")
    assert ids.dtype == "uint32"
    tokenizer = Tokenizer.load("tok")
    assert ids.tolist() == tokenizer.encode_ordinary(Path("stories.md").read_text(encoding="utf-8"))


def test_pipes(folder: Path) -> None:
    text = Path("stories.md").read_bytes()
    train = run(
        "train", "--input", "-", "--vocab-size", "400", "--out", "piped", "--special", SPECIAL, stdin=text
    )
    assert (train.returncode, train.stderr) == (0, b"")
    assert Tokenizer.load("piped") == Tokenizer.load("tok")
    encode = run("encode", "--tok", "tok", "--input", "-", "--output", "x.bin", stdin=text)
    assert (encode.returncode, encode.stderr) == (0, b"")
    decode = run("decode", "--tok", "tok", "--input", "x.bin")
    assert (decode.returncode, decode.stdout, decode.stderr) == (0, text, b"")
    decode = run(
        "decode", "--tok", "tok", "--input", "-", "--dtype", "uint16", stdin=Path("x.bin").read_bytes()
    )
    assert (decode.returncode, decode.stdout) == (0, text)


@pytest.mark.fault("S4")
def test_reader_that_goes_away_is_no_error(folder: Path) -> None:
    Path("large.txt").write_text("once upon a time " * 100_000)
    assert main(["encode", "--tok", "tok", "large.txt", "--output", "x.bin", "--quiet"]) == 0
    command = [*COMMAND, "decode", "--tok", "tok", "--input", "x.bin"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4) == b"once"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--tok", "tok", "--json", "--input", "stories.md"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["vocab_size"] == 400
    assert facts["num_merges"] == 143
    assert facts["pattern"] == "gpt2"
    assert facts["special_tokens"] == {SPECIAL: 399}
    assert len(facts["longest_tokens"]) == 10
    text = Path("stories.md").read_text(encoding="utf-8")
    num_tokens = len(Tokenizer.load("tok").encode(text, allowed_special="all"))
    assert facts["bytes_per_token"] == pytest.approx(len(text.encode()) / num_tokens)
    assert main(["info", "--tok", "tok"]) == 0
    printed = capsys.readouterr().out
    assert "400" in printed
    assert "next: tinybpe encode" in printed


@pytest.mark.fault("S3")
def test_info_shows_no_control_characters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Tokenizer.train_from_iterator(["\x1b[31m\x1b[31m\x07\x07"] * 9, 270, pattern=r"[\s\S]+").save("evil")
    assert main(["info", "--tok", "evil"]) == 0
    assert not set(capsys.readouterr().out) & {"\x1b", "\x07"}


@pytest.mark.parametrize("to", ["hf", "gpt2", "tiktoken"])
def test_export_is_checked_in_the_target_library(
    folder: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    assert main(["export", "--tok", "tok", "--to", to, "--out", "exports/new"]) == 0
    printed = capsys.readouterr().out
    assert f"same ids in {'tiktoken' if to == 'tiktoken' else 'tokenizers'}" in printed
    assert "next: python -c" in printed
    tokenizer, out = Tokenizer.load("tok"), Path("exports/new")
    if to == "hf":
        assert Tokenizer.load(out) == tokenizer
    elif to == "gpt2":
        assert Tokenizer.from_gpt2(out / "vocab.json", out / "merges.txt", [SPECIAL]) == tokenizer
    else:
        assert Tokenizer.from_tiktoken(out, "gpt2", tokenizer.special_tokens) == tokenizer
    assert [path.name for path in Path("exports").iterdir()] == ["new"]


@pytest.mark.fault("S5")
def test_export_that_the_format_cannot_express(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"bc", 257: b"ab"}
    # tiktoken's ranks are ids, so it would merge `bc` first.
    Tokenizer.from_vocab(vocab, [(b"a", b"b"), (b"b", b"c")]).save("odd")
    assert main(["export", "--tok", "odd", "--to", "tiktoken", "--out", "odd.tiktoken"]) == 1
    assert "tinybpe: error: " in capsys.readouterr().err
    assert not Path("odd.tiktoken").exists()


# --- How they fail ------------------------------------------------------------------------------------------


@pytest.mark.fault("T5", "T11", "T14")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "COMMAND"),
        (["nonsense"], 2, "nonsense"),
        (["train"], 2, "--vocab-size"),
        (["train", "--vocab-size", "300", "--out", "new"], 2, "no input"),
        (["train", "stories.md", "--vocab-size", "10x", "--out", "new"], 2, "10k"),
        (["train", "stories.md", "--vocab-size", "300", "--out", "new", "--nonsense"], 2, "--nonsense"),
        (["train", "-", "-", "--vocab-size", "300", "--out", "new"], 2, "standard input"),
        (["train", "stories.md", "--vocab-size", "255", "--out", "new"], 2, "--vocab-size 255"),
        (["train", "stories.md", "--vocab-size", "300", "--out", "new", "--threads", "0"], 2, "--threads 0"),
        (["train", "stories.md", "--vocab-size", "300", "--out", "new", "--pattern", "("], 2, "("),
        (["train", "stories.md", "--vocab-size", "300", "--out", "new", *2 * ["--special", "a"]], 2, "a"),
        (["train", "missing.txt", "--vocab-size", "300", "--out", "new"], 1, "missing.txt: No such file"),
        (["train", "tok", "--vocab-size", "300", "--out", "new"], 1, "s a directory"),
        (
            ["train", "stories.md", "--vocab-size", "300", "--out", "stories.md"],
            1,
            "stories.md: Not a directory",
        ),
        (["train", "stories.md", "--vocab-size", "300", "--out", "."], 1, "holds other files"),
        (["encode", "--tok", "tok", "missing.txt", "--output", "x.bin"], 1, "missing.txt"),
        (["encode", "--tok", "missing", "stories.md", "--output", "x.bin"], 1, "missing"),
        (["encode", "--tok", "stories.md", "stories.md", "--output", "x.bin"], 1, "stories.md"),
        (["encode", "--tok", "tok", "stories.md", "--output", "none/x.bin"], 1, "none"),
        (
            ["encode", "--tok", "tok", "stories.md", "--output", "x.uint16.bin", "--dtype", "uint32"],
            1,
            "uint16",
        ),
        (["decode", "--tok", "tok", "missing.bin"], 1, "missing.bin"),
        (["decode", "--tok", "tok", "stories.md"], 1, "dtype"),
        (["decode", "--tok", "tok", "-"], 2, "--dtype"),
        (["export", "--tok", "tok", "--to", "gguf", "--out", "new"], 2, "gguf"),
        (["info", "--tok", "missing"], 1, "missing"),
    ],
)
def test_one_clear_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    returned: int | str | None
    try:
        returned = main(arguments)
    except SystemExit as stopped:
        returned = stopped.code
    printed = capsys.readouterr()
    assert returned == code
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    if code == 1:
        assert printed.err.startswith("tinybpe: error: ")
        assert printed.err.count("\n") == 1
    assert not Path("new").exists()


@pytest.mark.fault("B4")
def test_token_file_of_another_tokenizer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Tokenizer.train("stories.md", 300).save("other")
    assert main(["encode", "--tok", "other", "stories.md", "--output", "x.bin", "--quiet"]) == 0
    assert main(["decode", "--tok", "tok", "--input", "x.bin", "--output", "back.md"]) == 1
    assert "another tokenizer" in capsys.readouterr().err
    assert not Path("back.md").exists()


@pytest.mark.fault("B4")
def test_odd_sized_token_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.uint16.bin").write_bytes(b"abc")
    assert main(["decode", "--tok", "tok", "--input", "x.uint16.bin"]) == 1
    assert "no whole number" in capsys.readouterr().err


@pytest.mark.fault("E3")
def test_unknown_ids_in_a_token_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.uint16.bin").write_bytes(b"\xff\xff")
    assert main(["decode", "--tok", "tok", "--input", "x.uint16.bin", "--output", "back.md"]) == 1
    assert "65535" in capsys.readouterr().err
    assert not Path("back.md").exists()


@pytest.mark.fault("B2")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(folder: Path) -> None:
    assert main(["encode", "--tok", "tok", "stories.md", "--output", "x.bin", "--quiet"]) == 0
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*COMMAND, "decode", "--tok", "tok", "x.bin"], stdout=full, stderr=subprocess.PIPE
        )
    assert ran.returncode == 1
    assert ran.stderr.decode().startswith("tinybpe: error: ")
    assert ran.stderr.count(b"\n") == 1


@pytest.mark.fault("T1", "E7")
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child")
def test_interrupt(folder: Path) -> None:
    """Ctrl-C ends a command that reads a pipe, with nothing left behind."""
    fifo = folder / "endless"
    os.mkfifo(fifo)
    command = [*COMMAND, "encode", "--tok", "tok", str(fifo), "--output", "x.bin"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        # Opening waits for the command to open the other end, so it is at work when the signal comes.
        with fifo.open("wb", buffering=0) as writer:
            writer.write(b"once upon a time ")
            time.sleep(0.3)
            sent_at = time.monotonic()
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.wait(60) == 130
        assert time.monotonic() - sent_at < 2
        assert process.stderr.read() == b"tinybpe: interrupted\n"
    assert not Path("x.bin").exists()


@pytest.mark.fault("T3", "T12")
def test_training_warns_in_a_line_and_keeps_to_its_memory(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "long.txt").write_text("a" * 100_000)
    train = ["train", "long.txt", "--vocab-size", "260", "--out", "new"]
    assert main(train) == 0
    assert "tinybpe: warning: the longest piece of the text has 100000 bytes" in capsys.readouterr().err
    assert main([*train, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*train, "--max-memory", "64kB", "--overwrite"]) == 1
    assert "`--max-memory` is 64000" in capsys.readouterr().err


@pytest.mark.fault("T1")
def test_interrupt_while_training(folder: Path) -> None:
    Path("large.txt").write_text("".join(f"{i:x} " for i in range(3_000_000)))
    arguments = ["train", "large.txt", "--vocab-size", "100000", "--out", "new"]
    program = f"import sys, tinybpe.cli; print('ready', flush=True); sys.exit(tinybpe.cli.main({arguments}))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        sent_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - sent_at < 2
    assert not Path("new").exists()


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["train", "--help"], ["export", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    assert "tinybpe 0." in capsys.readouterr().out


# --- Progress -----------------------------------------------------------------------------------------------


def test_plain_progress_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines(interval_s=0)
    lines("counting", "bytes", 0, 2_000_000)
    time.sleep(0.01)
    lines("counting", "bytes", 1_000_000, 2_000_000)
    lines("merging", "merges", 5, 0)
    lines.close()
    printed = capsys.readouterr().err.splitlines()
    assert printed[1].startswith("counting: 1.0 MB of 2.0 MB (50 %), ")
    assert printed[1].endswith(" s left")
    assert printed[2].startswith("merging: 5 merges, ")


def test_progress_bar_follows_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    bar = make_bar()
    assert isinstance(bar, TqdmBar)
    bar("counting", "bytes", 10, 10)
    bar("merging", "merges", 3, 5)
    bar.close()
    printed = capsys.readouterr().err
    assert "counting: 100%" in printed
    assert "merging" in printed


def test_progress_argument() -> None:
    with reporter(None) as nothing, reporter(False) as silent:
        assert nothing is None
        assert silent is None
    with reporter(print) as callback:
        assert callback is print
    with pytest.raises(TypeError, match="progress"), reporter(3):  # type: ignore[arg-type]
        pass


def test_amounts() -> None:
    amounts = [format_amount(amount, "bytes") for amount in (0, 999, 1000, 1_500_000, 2.5e9, 7e15)]
    assert amounts == ["0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "2.5 GB", "7000.0 TB"]
    assert format_amount(1234, "merges") == "1,234 merges"


def test_import(folder: Path) -> None:
    Tokenizer.load("tok")._core.export_tiktoken("ranks")
    needs = run("import", "ranks", "--out", "new")
    assert needs.returncode == 1
    assert b"family" in needs.stderr
    assert not Path("new").exists()
    done = run("import", "ranks", "--pattern", "gpt2", "--special", SPECIAL, "--out", "new")
    assert done.returncode == 0, done.stderr
    assert b"tinybpe info new" in done.stdout
    assert Tokenizer.load("new") == Tokenizer.load("tok")
    again = run("import", "tok", "--out", "new")
    assert again.returncode == 0, again.stderr
