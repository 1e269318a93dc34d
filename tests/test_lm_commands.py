"""The commands of `lm` as a user meets them: help, hints, exit codes, what is said before long work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from lm import __main__ as command
from lm import cli, evaluate, generate, report, runlog, sweep, train
from lm.config import FIELDS, from_values, layers, preset_names
from lm.hints import meant
from lm_tools import tiny_config, tiny_data

MODULES = ["lm", *(f"lm.{name}" for name in command.COMMANDS)]
HEAVY = {"torch", "numpy", "matplotlib", "safetensors", "tqdm", "huggingface_hub"}


def run_module(module: str, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module as `python -m` does; the last line on stdout lists the heavy modules it imported."""
    program = f"""
import json, runpy, sys
{before}
sys.argv[1:] = {list(arguments)!r}
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
finally:
    print(json.dumps(sorted({HEAVY!r} & sys.modules.keys())))
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    sources = (ROOT / "python/lm").glob("*.py")
    commands = {path.stem for path in sources if "\ndef main(" in path.read_text(encoding="utf-8")}
    assert commands == {*command.COMMANDS, "__main__"}
    with pytest.raises(SystemExit):
        command.main(["--help"])
    out = capsys.readouterr().out
    for name, line in command.COMMANDS.items():
        assert any(f"python -m lm.{name} " in row and row.endswith(line) for row in out.splitlines())


@pytest.mark.parametrize("module", MODULES)
def test_help_and_wrong_flags_come_before_torch(module: str) -> None:
    """The time is bounded loosely, for busy machines; what is imported decides it."""
    started_s = time.monotonic()
    helped = run_module(module, "--help")
    assert time.monotonic() - started_s < 20
    *lines, imported = helped.stdout.splitlines()
    assert (helped.returncode, imported) == (0, "[]")
    assert max(map(len, lines)) <= 80
    wrong = run_module(module, "--overwritten=1", "--cpkt", "x")
    assert (wrong.returncode, wrong.stdout) == (2, "[]\n")
    assert wrong.stderr.startswith(f"python -m {module}: ")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("lm", "--minutes 0"),
        ("lm.train", "--num-heads 7"),
        ("lm.train", "--preset nope"),
        ("lm.train", ""),
        ("lm.generate", "--ckpt x --max-tokens 0"),
        ("lm.generate", "--ckpt x --temperature -1"),
        ("lm.evaluate", "--ckpt x --bin y --batch-size 0"),
        ("lm.sweep", "--rates 0 --batches 4 --tokens 1e5"),
    ],
)
def test_wrong_values_come_before_torch(module: str, line: str) -> None:
    done = run_module(module, *line.split())
    assert done.returncode == 2
    assert "torch" not in json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", MODULES)
def test_without_torch(module: str, tmp_path: Path) -> None:
    """What is not installed is named, with the remedy; some commands do without."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    given = {
        "lm": ["--out", str(tmp_path / "first")],
        "lm.train": ["--check"],
        "lm.evaluate": ["--ckpt", "x", "--bin", "y"],
        "lm.generate": ["--ckpt", "x"],
        "lm.sweep": ["--rates", "1", "--batches", "1", "--tokens", "1e5", "--out", str(tmp_path / "s")],
        "lm.export": ["--from-llama", str(tmp_path), "--out", str(tmp_path / "e")],
        "lm.download": ["tinystories", "--out", str(tmp_path / "d")],
    }.get(module, [str(tmp_path)])
    if module == "lm.compare":
        given += ["--out", str(tmp_path / "c.png")]
    block = f"for name in {sorted(HEAVY - {'numpy'})}: sys.modules[name] = None"
    done = run_module(module, *given, before=block)
    assert "Traceback" not in done.stderr
    if module != "lm.report":
        assert done.returncode == 1
        assert 'pip install "tinybpe-lm[lm]"' in done.stderr
    assert not list(tmp_path.glob("[a-l]*"))


# --- Defaults -----------------------------------------------------------------------------------------------


def helped(main: object, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])  # type: ignore[operator]
    return squeezed(capsys.readouterr().out)


def squeezed(text: str) -> str:
    """Without spaces: argparse breaks lines at them and at hyphens."""
    return "".join(text.split())


def shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("command_line", [train.main, sweep.main])
@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_defaults_in_the_help_are_those_of_the_preset(
    command_line: object, preset: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped(command_line, capsys, *(["--preset", preset] if preset else []))
    config = from_values(layers({}, preset, None)[0])
    for name, value in config.flat().items():
        if value is not None and name not in config.derived:
            assert squeezed(f"{FIELDS[name][1].metadata['doc']} (default {shown(value)})") in text
    assert f"(default{preset or 'default'})" in text


def test_defaults_in_the_help_of_a_file_and_of_the_references_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('preset = "muon"\nbeta2 = 0.875\n')
    text = helped(train.main, capsys, "--config", str(file))
    assert "gradient(default0.875)" in text
    assert "insideblocks(defaultmuon)" in text
    assert "gradient(default0.999)" in helped(train.main, capsys, "--cosine_cycle_iters", "9")
    assert "(defaultdefault)" in helped(train.main, capsys, "--preset", "nope")


def test_defaults_of_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(generate.main, capsys)
    for default in (0.8, 0.95, 256, "Once upon a time", 0, 1, "auto"):
        assert squeezed(f"(default {default})") in text
    assert "(default16)" in helped(evaluate.main, capsys)


# --- Hints --------------------------------------------------------------------------------------------------


def failed(main: object, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))  # type: ignore[operator]
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("--learning-rate 1e-3", "--lr"),
        ("--learning_rate=1e-3", "--lr"),
        ("--max-itres 7", "--max-iters"),
        ("--n_layer 7", "--num-layers"),
        ("--block-size 7", "--context-length"),
        ("--preset moun", "muon"),
    ],
)
def test_did_you_mean(arguments: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = failed(train.main, capsys, *arguments.split())
    assert code == 2
    assert err.endswith(f"(did you mean `{hint}`?)\n")


def test_no_hint_where_nothing_is_close() -> None:
    assert meant("zzzzzzzz", FIELDS) == ""


@pytest.mark.fault("L10")
def test_faults_of_a_settings_file_name_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("max_iters = 7\n[model]\nd_modell = 64\n\n[optim]\n  lr = -1\n")
    code, err = failed(train.main, capsys, "--config", str(file))
    assert code == 2
    assert f"{file}:3: unknown setting `d_modell` (did you mean `d_model`?)" in err
    assert f"{file}:6: `lr` is -1, expected at least 0.0" in err


# --- What is said -------------------------------------------------------------------------------------------


def test_counted() -> None:
    assert [runlog.counted(n, "token") for n in (0, 1, 2000)] == ["0 tokens", "1 token", "2,000 tokens"]


class Terminal:
    """A stdout that is a terminal and keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.fault("L6")
def test_the_last_loss_stays_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os
    import signal

    from lm.trainer import Trainer

    original = Trainer.train_step

    def stepping(self: Trainer) -> object:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    monkeypatch.setattr(Trainer, "train_step", stepping)
    screen = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        with pytest.raises(SystemExit) as caught:
            train.train(tiny_config(tmp_path))
    assert caught.value.code == 130
    last = screen.text[screen.text.rindex("step  3/12") :]
    assert last.splitlines()[0].endswith("left")  # not wiped
    assert "stopped at step 5" in last
    assert f"python -m lm.train --resume --ckpt-path {tmp_path / 'run'}" in last
    assert (tmp_path / "run/loss_curve.png").exists()


def test_lines_fit_and_say_what_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_data(tmp_path)
    config = tiny_config(Path(), threads=1)
    train.train(config, "preset default")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "1 CPU thread," in out
    assert "training  begins; a line every 3 steps" in out
    for noise in ("self-test", "mfu"):
        assert noise not in out
    assert "whole     all 120 tokens of valid.bin ..." in out
    runlog.show_progress(
        {
            "step": 5000,
            "loss": 2.5,
            "lr": 1e-3,
            "grad_norm": 0.5,
            "tokens_per_s": 12345,
            "mfu": 0.4,
            "memory_mb": 9,
        },
        5000,
        3600.0,
        on_cpu=True,
    )
    assert len(capsys.readouterr().out) <= 80


def test_idle_steps_are_told_before_they_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.train(tiny_config(tmp_path, cosine_cycle_iters=10))
    out = capsys.readouterr().out
    told = out.index("warning: steps 11 to 12 have a learning rate of 0")
    assert told < out.index("step  3/12")
    assert "--cosine-cycle-iters 12" in out
    train.train(tiny_config(tmp_path, "low", cosine_cycle_iters=10, min_lr=1e-4))
    assert "warning" not in capsys.readouterr().out
    train.train(tiny_config(tmp_path, "low", cosine_cycle_iters=10, min_lr=1e-4), resume="strict")
    assert "step 12 of 12 is reached" in capsys.readouterr().out


def test_a_longer_run_learns_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was never given follows `--max-iters`; what was given stays."""
    run = train.train(tiny_config(tmp_path))
    assert "# cosine_cycle_iters = 12  (not given)" in (run / "config.toml").read_text()
    assert train.main(["--resume", "--ckpt-path", str(run), "--max-iters", "40"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["lr"] for row in rows if "lr" in row}
    assert all(rates[step] > 0 for step in rates if 12 < step <= 40)
    assert from_values({"max_iters": 9, "warmup_iters": 2}).derived == ["cosine_cycle_iters"]


@pytest.mark.parametrize("name", ["report", "plot"])
def test_report_and_curves_again(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lm import plot

    main = {"report": report.main, "plot": plot.main}[name]
    run = train.train(tiny_config(tmp_path))
    files = [run / "report.html"] if name == "report" else [run / "loss_curve.png", run / "ppl_curve.png"]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    capsys.readouterr()
    assert main([str(run)]) == 0
    assert capsys.readouterr().out.split() == [str(path) for path in files]
    assert [path.read_bytes() for path in files] == before
    for bad, told in (("nope", "does not exist"), ("", "is not a run")):
        code, err = failed(main, capsys, str(tmp_path / bad))
        assert code == 1
        assert told in err


def test_tokenizer_beside_the_token_file(tmp_path: Path) -> None:
    """Of several with the digest, one with a usual name; never one with another digest."""
    from lm.data import TokenFile
    from lm.tokenizer import find_tokenizer
    from tinybpe import Tokenizer

    text = tmp_path / "t.txt"
    text.write_text("low lower lowest " * 50)
    made, other = (Tokenizer.train([text], vocab_size=size) for size in (260, 258))
    made.encode_file([text], tmp_path / "t.bin")
    for name in ("exported", "zoo", "tok"):
        made.save(tmp_path / name)
    other.save(tmp_path / "a")
    tokens = TokenFile(tmp_path / "t.bin")
    assert find_tokenizer(None, tokens)[1] == f"tokenizer {tmp_path / 'tok'}, which made the token file"
    (tmp_path / "tok").rename(tmp_path / "other")
    assert str(tmp_path / "exported") in find_tokenizer(None, tokens)[1]


def test_torch_is_announced_where_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import builtins

    original = builtins.__import__

    def slow(name: str, *rest: object) -> object:
        if name == "torch":
            time.sleep(0.3)
        return original(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", slow)
    monkeypatch.setattr(cli, "LONG_S", 0.05)
    cli.load_torch()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    cli.load_torch()
    assert "loading torch" in capsys.readouterr().err


def test_progress_of_an_evaluation_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lm import progress

    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    assert list(progress.followed([1, 2, 3, 4], "evaluation")) == [1, 2, 3, 4]
    assert "evaluation: 75%, 0 s left" in capsys.readouterr().err
