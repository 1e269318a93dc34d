"""The sweep over rate and batch size, and the rows handed to TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lm import sweep, train, trainer
from lm.plot import read_metrics
from lm_tools import TINY, tiny_config, tiny_data


def command(folder: Path, *more: str) -> list[str]:
    tiny_data(folder)
    fixed = ("lr", "batch_size", "max_iters", "eval_every", "vocab_size")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name not in fixed]
    files = ["--train-bin", str(folder / "train.bin"), "--valid-bin", str(folder / "valid.bin")]
    return [*files, *flags, "--out", str(folder / "out"), "--tokens", "128", *more]


def test_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each pair with as many steps as its tokens make; nothing is run twice."""
    line = command(tmp_path, "--preset", "reference", "--rates", "0.003", "0.03", "--batches", "4", "8")
    assert sweep.main(line) == 0
    text = capsys.readouterr().out
    rows = [row.split() for row in text.splitlines()]
    assert ["rate", "batch", "4", "batch", "8"] in rows
    runs = {path.name: read_metrics(path / "metrics.jsonl")[-1] for path in (tmp_path / "out").glob("lr-*")}
    assert {name: row["step"] for name, row in runs.items()} == {
        f"lr-{rate}-batch-{batch}": 128 // (8 * batch) for rate in ("0.003", "0.03") for batch in (4, 8)
    }
    table = next(row for row in rows if row[:1] == ["0.03"] and len(row) == 3)
    assert table[1] == f"{runs['lr-0.03-batch-4']['whole_valid_loss']:.4f}"
    settings = (tmp_path / "out/lr-0.03-batch-4/config.toml").read_text()
    assert "min_lr = 0.003\n" in settings  # a tenth, as in the reference
    assert "vocab_size = 50\n" in settings
    assert (tmp_path / "out/sweep.png").read_bytes()[:4] == b"\x89PNG"
    monkeypatch.setattr(sweep, "train", None)
    assert sweep.main(line) == 0


def test_sweep_goes_on_after_a_run_that_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = trainer.Trainer.train_step

    def exploding(self: trainer.Trainer) -> torch.Tensor:
        if self.config.optim.lr == 1.0:
            with torch.no_grad():
                self.model.norm.weight.fill_(float("nan"))
        return original(self)

    monkeypatch.setattr(trainer.Trainer, "train_step", exploding)
    assert sweep.main(command(tmp_path, "--rates", "1.0", "0.01", "--batches", "4")) == 0
    out = capsys.readouterr().out
    assert "inf" in out
    assert "at rate 0.01, batch 4" in out


@pytest.mark.parametrize("more", [("--lr", "1"), ("--rates", "0"), ("--tokens", "3"), ("--batches", "0")])
def test_sweep_refuses(tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        sweep.main(command(tmp_path, "--rates", "0.1", "--batches", "4", *more))
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


class Writer:
    """What torch's SummaryWriter is called with."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.made.append(self)

    def add_scalar(self, *scalar: Any) -> None:
        self.scalars.append(scalar)


def test_tensorboard_gets_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("torch.utils.tensorboard.writer")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", type(sys)("torch.utils.tensorboard"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    run = train.train(tiny_config(tmp_path, tensorboard=True))
    (board,) = Writer.made
    rows = read_metrics(run / "metrics.jsonl")
    expected = {(k, v, row["step"]) for row in rows for k, v in row.items() if k != "step" and v is not None}
    assert set(board.scalars) == expected
    train.train(tiny_config(tmp_path, tensorboard=True, max_iters=15), resume="strict")
    assert Writer.made[1].purge_step == 13


def test_missing_tensorboard_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    train.train(tiny_config(tmp_path, tensorboard=True))
    assert capsys.readouterr().out.count("warning: no TensorBoard") == 1
