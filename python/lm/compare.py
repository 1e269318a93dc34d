"""Curves of several runs in one picture, and their last losses: `python -m lm.compare RUN...`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lm.checkpoint import run_folder
from lm.cli import Parser, clear_errors
from lm.config import ConfigError
from lm.plot import draw_picture, read_metrics, series


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.compare", description="Curves of runs in one picture, and a table.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", default="compare.png", help="picture to write (default compare.png)")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        folders = [run_folder(run) for run in args.runs]
        rows = [read_metrics(folder / "metrics.jsonl") for folder in folders]
        if empty := [str(folder) for folder, found in zip(folders, rows, strict=True) if not found]:
            raise ConfigError([f"no rows in the metrics.jsonl of {', '.join(empty)}"])
        common = os.path.commonpath([folder.parent.absolute() for folder in folders])
        names = [os.path.relpath(folder.absolute(), common) for folder in folders]
        curves = [
            (name, series(found, "loss"), series(found, "valid_loss"))
            for name, found in zip(names, rows, strict=True)
        ]
        draw_picture(Path(args.out), "validation and training loss", "loss, nats per token", curves)
        width = max(map(len, names))
        print(f"{'run':{width}}  {'steps':>7}  {'valid':>7}  {'best':>7}  {'whole':>7}")
        for (name, _, valid), found in zip(curves, rows, strict=True):
            whole = series(found, "whole_valid_loss")[1]
            shown = [*valid[1][-1:], *sorted(valid[1])[:1], *whole[-1:]]
            cells = "  ".join(f"{loss:7.4f}" for loss in shown)
            print(f"{name:{width}}  {found[-1]['step']:7}  {cells}")
        print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
