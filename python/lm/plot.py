"""Curves of a run, drawn from its metrics.jsonl.

`loss_curve.png` and `ppl_curve.png` show training and validation in one picture. Drawing from the file, not
from what is in memory, means that a resumed run has its whole curve, and that any run can be drawn again.

The losses of the first steps fall so far that they would squeeze the rest: a picture ends a little above the
loss after a twentieth of the steps, and its legend says where the curve begins.

    python -m lm.plot runs/default      draws both pictures of a run again
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.cli import Parser, clear_errors
from lm.config import UserError
from lm.folders import existing_run

Points = tuple[list[float], list[float]]  # steps, values
MARKS = "os^Dv"  # of the validation losses of several runs


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file; a torn last line is left out; none if there is no file."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [row for row in rows if isinstance(row, dict) and "step" in row]


def series(rows: Sequence[Mapping[str, Any]], key: str) -> Points:
    """Return steps and values of the rows that have the key."""
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [p[0] for p in points], [p[1] for p in points]


def smooth(values: Sequence[float]) -> list[float]:
    """Return the means over windows around each value, at most a twenty-fifth of the series wide.

    A window has as many values before its centre as after it, so the curve does not lag, and it reaches no
    further than a third of the way to the start, where losses fall fastest. At the end, where they hardly
    fall, the half before the centre stays, so that the curve does not end in one noisy value. Short series,
    whose noise can be seen through, stay as they are.
    """
    last, widest = len(values) - 1, len(values) // 50
    means = []
    for centre in range(len(values)):
        reach = min(widest, centre // 3)
        after = min(reach, last - centre)
        window = values[centre - max(after, reach // 2) : centre + after + 1]
        means.append(math.fsum(window) / len(window))
    return means


@dataclass(slots=True, kw_only=True)
class Curves:
    """What is drawn of a run, and its name ("" if it is the only one)."""

    name: str = ""
    train: Points
    valid: Points


def run_name(run: Path) -> str:
    """Return the name that a run goes by: its folder's, with the folder above where that says nothing."""
    run = run.absolute()
    return f"{run.parent.name}/{run.name}" if run.name == "run" else run.name


def draw(run: Path) -> list[Path]:
    """Draw both curves of a run; return the files written (none before there is anything to draw)."""
    rows = read_metrics(run / "metrics.jsonl")
    curves = Curves(train=series(rows, "loss"), valid=series(rows, "valid_loss"))
    if not curves.train[0] and not curves.valid[0]:
        return []
    files = [run / "loss_curve.png", run / "ppl_curve.png"]
    draw_picture(files[0], f"Loss of the run {run_name(run)}", "loss, nats per token", [curves])
    title = f"Perplexity of the run {run_name(run)}"
    draw_picture(files[1], title, "perplexity", [curves], transform=lambda loss: math.exp(min(loss, 30.0)))
    return files


@contextmanager
def picture(path: Path, title: str, xlabel: str, ylabel: str) -> Iterator[Any]:
    """Yield the axes of a new picture, which is written as PNG at the end, whole or not at all."""
    from matplotlib.figure import Figure  # no global state, no window system, safe in a thread

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    if len(axes.get_legend_handles_labels()[0]) > 4:  # beside the curves, which it would cover
        figure.set_figwidth(11)
        figure.legend(loc="outside right upper")
    else:
        axes.legend()
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)


def draw_picture(
    path: Path,
    title: str,
    ylabel: str,
    runs: Sequence[Curves],
    *,
    transform: Callable[[float], float] = lambda loss: loss,
) -> None:
    """Draw training (each row faint, smoothed on top) and validation (open marks) of one or several runs.

    `transform` maps a loss to what is shown; means are taken of losses.
    """
    highest: list[float] = []
    with picture(path, title, "step", ylabel) as axes:
        training: list[Any] = []
        for index, run in enumerate(runs):
            (steps, losses), (valid_steps, valid_losses) = run.train, run.valid
            colour, prefix = f"C{index}", f"{run.name}: " if run.name else ""
            smoothed = [transform(loss) for loss in smooth(losses)]
            raw, valid = [transform(loss) for loss in losses], [transform(loss) for loss in valid_losses]
            if losses:
                plain = smoothed == raw
                axes.plot(steps, raw, color=colour, alpha=0.3, linewidth=0.0 if plain else 0.7)
                label = f"{prefix}training" + ("" if plain else ", smoothed")
                training += axes.plot(steps, smoothed, color=colour, linewidth=1.5, label=label)
            if valid:
                axes.plot(
                    valid_steps, valid, color="C1" if len(runs) == 1 else colour, linestyle="--", linewidth=1,
                    marker=MARKS[index % len(MARKS)], markersize=5, markerfacecolor="none",
                    label=f"{prefix}validation, last {valid[-1]:.4g}",
                )  # fmt: skip
            early = max((*steps, *valid_steps)) / 20
            points = zip((*steps, *valid_steps), (*smoothed, *valid), strict=True)
            highest.append(max(y for x, y in points if x >= early))
        cut(axes, max(highest), training)


def cut(axes: Any, highest: float, training: Sequence[Any]) -> None:
    """End the picture above the highest value that matters; the legend says where a curve begins higher."""
    drawn = [y for line in axes.lines for y in line.get_ydata()]
    low, margin = min(drawn), (highest - min(drawn)) / 20
    if margin == 0 or max(drawn) < highest + 4 * margin:
        return
    axes.set_ylim(low - margin, highest + margin)
    for line in training:
        if (first := line.get_ydata()[0]) > highest + margin:
            line.set_label(f"{line.get_label()} (cut off: begins at {first:.4g})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        "python -m lm.plot", description="Draw the curves of a run again, from its metrics.jsonl."
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        run = existing_run(args.run)
        files = draw(run)
        UserError.unless(bool(files), f"{run / 'metrics.jsonl'} has no losses yet")
        print(*files, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
