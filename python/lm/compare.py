"""Curves of several runs in one picture, what differs between them, and their last losses.

    python -m lm.compare runs/a runs/b --out compare.png

A loss per token does not compare between tokenizers: longer tokens are harder to predict, and fewer. Runs of
different tokenizers are therefore drawn in bits per byte of text, by the bytes per token of each run's
validation file; where a run does not know these, the comparison is refused.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm import folders
from lm.cli import Parser, clear_errors
from lm.config import UserError, Values, read_toml
from lm.outputs import OVERWRITE, output
from lm.plot import Curves, Points, draw_picture, read_metrics, series

# Settings that say where a run is or how it was watched, not what it learns.
WHERE = {
    "ckpt_path", "device", "threads", "log_every", "eval_every", "keep_last", "tensorboard", "sample_tokens",
    "prompt", "tokenizer", "compile", "checkpoint_activations",
}  # fmt: skip


class Run:
    """A run as its folder tells of it; UserError if there is none."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.rows = name, read_metrics(folder / "metrics.jsonl")
        if not self.rows:
            raise UserError(f"{folder} holds no run: its metrics.jsonl has no rows or is not there")
        self.settings: Values = read_toml(folder / "config.toml") if (folder / "config.toml").exists() else {}
        self.last = {key: value for row in self.rows for key, value in row.items() if value is not None}
        newest = folders.steps(folder)[-1:]
        state = folders.read_state(newest[0]) if newest else {}
        self.num_parameters: int | None = state.get("num_parameters")
        self.tokenizer = state.get("tokenizer_sha256") or self.settings.get("vocab_size")

    def bits_per_nat(self) -> float | None:
        """Return what turns a loss per token into bits per byte of text, None if bytes are not known."""
        loss, bits = self.last.get("valid_loss"), self.last.get("valid_bits_per_byte")
        return bits / loss if loss and bits else None

    def points(self, key: str, scale: float = 1.0) -> Points:
        """Return steps and values of a field of metrics.jsonl."""
        steps, values = series(self.rows, key)
        return steps, [value * scale for value in values]


def different(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the settings in which the runs differ, with the value of each run."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in WHERE)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    values["parameters"] = [run.num_parameters for run in runs]
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a table, its first column on the left, the others flush right."""
    texts = {type(None): lambda _: "-", int: "{:,}".format}
    cells = [[texts.get(type(cell), str)(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def losses(runs: Sequence[Run]) -> list[list[Any]]:
    """Return the table of last losses; bits per byte are of the whole file if known, else of the sample."""
    table: list[list[Any]] = [["run", "steps", "valid", "best", "whole", "bits/byte"]]
    for run in runs:
        valid = run.points("valid_loss")[1]
        numbers = [valid[-1] if valid else None, min(valid, default=None), run.last.get("whole_valid_loss")]
        numbers.append(run.last.get("whole_valid_bits_per_byte") or run.last.get("valid_bits_per_byte"))
        table.append([run.name, run.rows[-1]["step"], *(n if n is None else f"{n:.4f}" for n in numbers)])
    return table


def draw(path: Path, runs: Sequence[Run]) -> None:
    """Draw the curves, in bits per byte where tokenizers differ; UserError if a run knows no bytes then."""
    title, ylabel, scales = "Training and validation loss", "loss, nats per token", [1.0] * len(runs)
    if len({run.tokenizer for run in runs}) > 1:
        if unknown := [run.name for run in runs if run.bits_per_nat() is None]:
            raise UserError(
                f"the runs have different tokenizers, so their losses per token do not compare, and "
                f"{unknown[0]} has no bits per byte: train it with `--tokenizer`"
            )
        scales = [run.bits_per_nat() or math.nan for run in runs]
        title, ylabel = f"{title} (the tokenizers differ)", "loss, bits per byte of text"
    curves = [
        Curves(name=run.name, train=run.points("loss", scale), valid=run.points("valid_loss", scale))
        for run, scale in zip(runs, scales, strict=True)
    ]
    draw_picture(path, title, ylabel, curves)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.compare", description="Curves of runs in one picture, and tables.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", default="compare.png", help="picture to write")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        paths = [folders.existing_run(run).absolute() for run in args.runs]
        common = os.path.commonpath([path.parent for path in paths])
        runs = [Run(path, os.path.relpath(path, common)) for path in paths]
        read = [path for run in paths for path in run.iterdir()]
        with output(Path(args.out), inputs=read, overwrite=args.overwrite) as picture:
            draw(picture, runs)
        print(*columns(losses(runs)), sep="\n")
        if found := different(runs):
            table = [["what differs", *(run.name for run in runs)]]
            print("", *columns([*table, *([name, *values] for name, values in found.items())]), sep="\n")
        if len({run.tokenizer for run in runs}) > 1:
            print("\nDifferent tokenizers: only bits per byte compare; the picture shows these.")
        print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
