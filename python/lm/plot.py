"""Curves of a run, drawn from its metrics.jsonl.

`loss_curve.png` and `ppl_curve.png` show training and validation in one picture. Drawing from the file, not
from what is in memory, means that a resumed run has its whole curve, and that any run can be drawn again.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Points = tuple[list[float], list[float]]  # steps, values


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
    """Return the exponential average over a fortieth of a series, corrected for its start."""
    weight = 1 - min(1.0, 40 / max(1, len(values)))
    average, total, out = 0.0, 0.0, []
    for value in values:
        average = weight * average + (1 - weight) * value
        total = weight * total + (1 - weight)
        out.append(average / total)
    return out


def draw(run: Path) -> list[Path]:
    """Draw both curves of a run; return the files written (none before there is anything to draw)."""
    rows = read_metrics(run / "metrics.jsonl")
    train, valid = series(rows, "loss"), series(rows, "valid_loss")
    if not train[0] and not valid[0]:
        return []
    files = [run / "loss_curve.png", run / "ppl_curve.png"]
    draw_picture(files[0], str(run), "loss, nats per token", [("", train, valid)])
    train, valid = ((steps, [math.exp(min(v, 30.0)) for v in values]) for steps, values in (train, valid))
    draw_picture(files[1], str(run), "perplexity", [("", train, valid)], log=True)
    return files


@contextmanager
def picture(path: Path, title: str, xlabel: str, ylabel: str) -> Iterator[Any]:
    """Yield the axes of a new picture, which is written as PNG at the end, whole or not at all."""
    from matplotlib.figure import Figure  # no global state, no window system, safe in a thread

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3, which="both")
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
    path: Path, title: str, ylabel: str, runs: Sequence[tuple[str, Points, Points]], *, log: bool = False
) -> None:
    """Draw training (thin, smoothed line on top) and validation (dots) of one or several named runs."""
    shown = [v for _, train, valid in runs for v in (*smooth(train[1]), *valid[1])]
    with picture(path, title, "step", ylabel) as axes:
        for index, (name, train, valid) in enumerate(runs):
            colour, prefix = f"C{index}", f"{name} " if name else ""
            alone = len(runs) == 1 or not valid[0]  # of several runs each has one line in the legend
            if train[0]:
                axes.plot(*train, color=colour, alpha=0.25, linewidth=0.8)
                label = f"{prefix}training" if alone else None
                axes.plot(train[0], smooth(train[1]), color=colour, linewidth=1.6, label=label)
            if valid[0]:
                text = f"{prefix}validation, last {valid[1][-1]:.3f}"
                colour = "C1" if len(runs) == 1 else colour
                axes.plot(*valid, color=colour, marker="o", markersize=4, linestyle="--", label=text)
        if log:
            axes.set_yscale("log", subs=(2, 5))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        elif len(shown) > 20:  # the first few steps would squeeze the rest of the picture
            low, high = min(shown), sorted(shown)[int(0.98 * len(shown))]
            axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
