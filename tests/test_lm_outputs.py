"""Nothing is destroyed unasked: what is there stays, and an output is never an input, in all commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from lm import __main__ as first
from lm import checkpoint as ckpt
from lm import compare, download, export, llama, sweep, train
from lm.config import ConfigError
from lm.data import TokenFileError
from lm.outputs import OutputError, check_not_read, made_folder, output
from lm_tools import TINY, tiny_config, tiny_data


def content(folder: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, but for locks."""
    paths = [p for p in folder.rglob("*") if p.name != ".lock"]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def settings(folder: Path, *without: str) -> list[str]:
    files = [f"--{split}-bin={folder / split}.bin" for split in ("train", "valid")]
    return [*files, *(f"--{name}={value}" for name, value in TINY.items() if name not in without)]


@dataclass(frozen=True)
class Case:
    """A command that writes.

    `line` makes its arguments from the working folder, `made` names what it writes there.
    """

    main: Callable[[list[str]], int]
    line: Callable[[Path], list[str]]
    made: str
    again: bool  # the same command, once more, is fine: it makes exactly the same, or keeps what is there


def sweep_line(folder: Path) -> list[str]:
    fixed = ("lr", "batch_size", "max_iters", "eval_every")
    own = ["--rates", "0.01", "--batches", "4", "--tokens", "128", "--out", str(folder / "out")]
    return [*settings(folder, *fixed), *own]


CASES = {
    "train": Case(train.main, lambda f: [*settings(f), "--ckpt-path", str(f / "out")], "out", again=False),
    "sweep": Case(sweep.main, sweep_line, "out", again=True),
    "export": Case(
        export.main, lambda f: ["--ckpt", str(f / "run"), "--out", str(f / "out")], "out", again=True
    ),
    "import": Case(
        export.main, lambda f: ["--from-llama", str(f / "hf"), "--out", str(f / "out")], "out", again=True
    ),
    "compare": Case(
        compare.main, lambda f: [str(f / "run"), "--out", str(f / "out.png")], "out.png", again=True
    ),
    "lm": Case(first.main, lambda f: ["--out", str(f / "out"), "--device", "cpu"], "out", again=False),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token files, a run and an export of it; each test works on a copy."""
    folder = tmp_path_factory.mktemp("made")
    tiny_data(folder)
    train.train(tiny_config(folder))
    llama.export(folder / "run", folder / "hf")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "work"))


def refused(case: Case, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        case.main(arguments)
    assert caught.value.code == 1


@pytest.mark.fault("L13")
@pytest.mark.parametrize("name", CASES)
def test_what_is_there_stays(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's own files under the names that would be written."""
    case = CASES[name]
    target = folder / case.made
    if case.made.endswith(".png"):
        target.write_bytes(b"mine")
    else:
        target.mkdir()
        for own in ("config.toml", "metrics.jsonl", "model.safetensors", "tokenizer.json", "sweep.csv"):
            (target / own).write_bytes(b"mine,0.5,9\nmine,0.5,9\n")
    before = content(folder)
    refused(case, case.line(folder))
    assert content(folder) == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.fault("L13")
@pytest.mark.parametrize("name", [name for name in CASES if name != "lm"])  # tests/test_lm_main.py has it
def test_a_second_time(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result of the first time is kept, or is what would be written; `--overwrite` makes it anew."""
    case = CASES[name]
    assert case.main(case.line(folder)) == 0
    before = content(folder)
    if case.again:
        assert case.main(case.line(folder)) == 0
    else:
        refused(case, case.line(folder))
        assert "`--overwrite`" in capsys.readouterr().err
    assert content(folder) == before
    assert case.main([*case.line(folder), "--overwrite"]) == 0
    assert content(folder).keys() == before.keys()


@pytest.mark.fault("L13")
@pytest.mark.parametrize("link", [False, True])
def test_no_output_is_an_input(folder: Path, link: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Also through links, around an input, and where `--overwrite` is given."""
    tokenizer = folder / "tok"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    run, hf = str(folder / "run"), str(folder / "hf")
    checkpoint = str(ckpt.find(run))
    lines: list[tuple[Callable[[list[str]], int], list[str], str, str]] = [
        (export.main, ["--ckpt", run], "--out", run),
        (export.main, ["--ckpt", run], "--out", checkpoint),
        (export.main, ["--ckpt", checkpoint], "--out", run),
        (export.main, ["--ckpt", run], "--out", str(folder)),
        (export.main, ["--from-llama", hf], "--out", hf),
        (compare.main, [run], "--out", f"{run}/metrics.jsonl"),
        (compare.main, [run], "--out", f"{run}/loss_curve.png"),
        (train.main, settings(folder), "--ckpt-path", str(folder)),
        (train.main, settings(folder), "--ckpt-path", str(folder / "train.bin")),
        (train.main, [*settings(folder), "--tokenizer", str(tokenizer)], "--ckpt-path", str(tokenizer)),
        (train.main, settings(folder), "--ckpt-path", str(tokenizer)),
        (train.main, ["--config", f"{run}/config.toml"], "--ckpt-path", run),
    ]
    for number, (main, arguments, flag, out) in enumerate(lines):
        if link:
            (folder / f"link{number}").symlink_to(out)
            if "train.bin" in out:
                continue
            out = str(folder / f"link{number}")
        before = content(folder)
        with pytest.raises(SystemExit) as caught:
            main([*arguments, flag, out, "--overwrite"])
        assert caught.value.code == 1, arguments
        assert content(folder) == before, arguments
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.fault("L13")
def test_export_leaves_the_tokenizer_of_the_run_alone(tmp_path: Path) -> None:
    """That from which the run was made, wherever it is."""
    tokenizer = tmp_path / "elsewhere/tok"
    tokenizer.mkdir(parents=True)
    with pytest.raises(OutputError, match="is read by this command"):
        check_not_read(tokenizer, [tokenizer])
    with pytest.raises(OutputError, match=r"holds .*tok, which this command reads"):
        check_not_read(tmp_path, [tokenizer])
    check_not_read(tmp_path / "free", [tokenizer, tmp_path / "gone"])


# --- A start that fails -------------------------------------------------------------------------------------


@pytest.mark.fault("L13")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"train_bin": "none.uint16.bin"}, FileNotFoundError),
        ({"context_length": 1000}, TokenFileError),
        ({"vocab_size": 9}, TokenFileError),
        ({"batch_size": 6, "accumulate": 2, "device": "mps"}, ConfigError),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_fails_leaves_all_as_it_was(
    folder: Path, changes: dict[str, object], error: type[Exception], there: bool
) -> None:
    """No run folder where there was none; a run that was to be overwritten is still there."""
    before = content(folder)
    with pytest.raises(error):
        train.train(tiny_config(folder, "run" if there else "a/b/c", **changes), overwrite=there)
    assert content(folder) == before
    assert not (folder / "a").exists()


@pytest.mark.fault("L13")
def test_a_sweep_of_other_settings_keeps_its_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs of one name with other settings, or a table with other rows."""
    line = sweep_line(folder)
    assert sweep.main(line) == 0
    before = content(folder)
    refused(CASES["sweep"], [*line, "--tokens", "256"])
    assert "max_iters: 4 -> 8" in capsys.readouterr().err
    refused(CASES["sweep"], [*line, "--rates", "0.02"])
    assert "rate 0.01, batch 4" in capsys.readouterr().err
    assert content(folder) == before
    assert sweep.main([*line, "--rates", "0.01", "0.02"]) == 0  # more rates lose nothing
    run = "out/lr-0.01-batch-4/metrics.jsonl"
    assert content(folder)[run] == before[run]


@pytest.mark.fault("L13")
def test_overwriting_removes_a_run_and_nothing_else(folder: Path) -> None:
    (folder / "run/samples").mkdir()
    (folder / "run/samples/step-00000999.txt").write_text("of the old run")
    (folder / "run/notes.txt").write_text("mine")
    train.train(tiny_config(folder, max_iters=3), overwrite=True)
    names = {path.name for path in (folder / "run").iterdir()}
    assert "notes.txt" in names
    assert "samples" not in names
    assert [path.name for path in ckpt.steps(folder / "run")] == ["step-00000003"]


@pytest.mark.fault("L13")
def test_a_log_without_a_checkpoint_is_not_trained_over(folder: Path) -> None:
    """What a run leaves that was killed before its first checkpoint."""
    shutil.rmtree(folder / "run/checkpoints")
    before = content(folder)
    with pytest.raises(OutputError, match=r"metrics\.jsonl"):
        train.train(tiny_config(folder))
    assert content(folder) == before
    train.train(tiny_config(folder), resume="auto")


def fail_in(folder: Path, name: str = "part") -> None:
    """Write a file, then raise FileNotFoundError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    (folder / "gone").read_bytes()


def test_output(tmp_path: Path) -> None:
    """A file or folder gets its name at the end; nothing is left of one that failed."""
    out = tmp_path / "new/folder/x"
    with pytest.raises(FileNotFoundError), output(out) as temporary:
        fail_in(temporary)
    assert not (tmp_path / "new").exists()
    for text in ("one", "one"):
        with output(out) as temporary:
            temporary.write_text(text)
    with pytest.raises(OutputError, match="`--overwrite`"), output(out) as temporary:
        temporary.write_text("two")
    assert out.read_text() == "one"
    with output(out, overwrite=True) as temporary:
        temporary.write_text("two")
    assert out.read_text() == "two"
    with pytest.raises(OutputError, match="is a file"), output(out, overwrite=True) as temporary:
        temporary.mkdir()
    assert [path.name for path in out.parent.iterdir()] == ["x"]


def test_made_folder_keeps_what_is_in_use(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), made_folder(tmp_path / "a/b", ".lock"):
        fail_in(tmp_path / "a/b", ".lock")
    assert not (tmp_path / "a").exists()
    with pytest.raises(FileNotFoundError), made_folder(tmp_path / "a/b", ".lock"):
        fail_in(tmp_path / "a/b", "result")
    assert (tmp_path / "a/b/result").exists()


@pytest.mark.fault("L13")
def test_download_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a look at the network; tests/test_lm_text.py has `--overwrite`."""
    for name in download.FILES.values():
        (tmp_path / name).write_text("mine")
    assert download.main(["tinystories", "--out", str(tmp_path), "--endpoint", "http://127.0.0.1:1"]) == 0
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
