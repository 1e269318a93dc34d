"""Curves of several runs in one picture, and their last losses: `python -m lm.compare RUN...`."""

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
        folders = [run_folder(run).absolute() for run in args.runs]
        common = os.path.commonpath([folder.parent for folder in folders])
        runs = {os.path.relpath(f, common): read_metrics(f / "metrics.jsonl") for f in folders}
        empty = ", ".join(name for name, rows in runs.items() if not rows)
        ConfigError.unless(not empty, f"no rows in the metrics.jsonl of {empty}")
        curves = [(name, series(rows, "loss"), series(rows, "valid_loss")) for name, rows in runs.items()]
        draw_picture(Path(args.out), "validation and training loss", "loss, nats per token", curves)
        width = max(map(len, runs))
        print(f"{'run':{width}}  {'steps':>7}  {'valid':>7}  {'best':>7}  {'whole':>7}")
        for name, rows in runs.items():
            valid, whole = series(rows, "valid_loss")[1], series(rows, "whole_valid_loss")[1]
            cells = [f"{loss:7.4f}" for loss in (*valid[-1:], *sorted(valid)[:1], *whole[-1:])]
            print(f"{name:{width}}  {rows[-1]['step']:7}  {'  '.join(cells)}")
        print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
