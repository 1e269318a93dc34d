"""One page about a run, `report.html`: results, a story, the loss curve, settings, checksums.

    python -m lm.report runs/first      draws the curves and writes the page again

Made from the files of the run folder alone, so it can be made again at any time. It needs nothing beside
itself: pictures are inside, and there is no script. Whatever comes from files is escaped. The picture of the
perplexity is left out, since it shows the losses once more.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lm import folders
from lm.cli import Parser, clear_errors
from lm.config import UserError, Values, read_toml
from lm.plot import draw, read_metrics, run_name, series
from lm.runlog import duration

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} pre {{ background: #8882; padding: 1rem; white-space: pre-wrap }}
td {{ padding: 0 1rem 0 0; vertical-align: top }}
.digest {{ overflow-wrap: anywhere; font-family: monospace }}
</style>
<h1>{title}</h1>
"""


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return an HTML table of two columns; only what is as long as a digest may break within a line."""
    cells = (
        f"<tr><td>{escape(name)}</td><td{' class=digest' if len(str(value)) > 40 else ''}>"
        f"{escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


def number(value: Any, digits: int = 4) -> str:
    """Return a number with the digits that mean something; whatever else a file holds as it is."""
    if type(value) is int:
        return f"{value:,}"
    if type(value) is float and math.isfinite(value):
        return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return str(value)


def results(rows: Sequence[Mapping[str, Any]], settings: Values, state: Mapping[str, Any]) -> dict[str, str]:
    """Return what a reader wants to know first, as far as the run's files tell."""
    last = {key: value for row in rows for key, value in row.items() if value is not None}
    found: dict[str, str] = {}
    for prefix, where in (
        ("whole_valid", "whole validation file"),
        ("valid", "sample of the validation file"),
    ):
        if f"{prefix}_loss" in last and not found:
            found[f"loss, {where}"] = number(last[f"{prefix}_loss"])
            found["perplexity"] = number(last.get(f"{prefix}_perplexity"))
            if f"{prefix}_bits_per_byte" in last:
                found["bits per byte"] = number(last[f"{prefix}_bits_per_byte"], 3)
    steps, losses = series(rows, "valid_loss")
    if losses:
        best = min(losses)
        found["lowest validation loss"] = f"{number(best)}, at step {steps[losses.index(best)]:,}"
    if rows:
        found["steps"] = number(rows[-1]["step"])
    per_step = [settings.get(name) for name in ("batch_size", "context_length")]
    if rows and all(type(size) is int for size in per_step) and type(rows[-1]["step"]) is int:
        found["training tokens read"] = number(rows[-1]["step"] * math.prod(per_step))  # type: ignore[arg-type]
    if type(last.get("elapsed_s")) in (int, float):
        found["time"] = duration(last["elapsed_s"])
    if type(state.get("num_parameters")) is int:
        found["parameters"] = number(state["num_parameters"])
    if "device" in state:
        found["device"] = str(state["device"])
    return found


def write_report(run: Path) -> Path:
    """Write RUN/report.html and return its path; CheckpointError if the newest checkpoint is damaged."""
    rows = read_metrics(run / "metrics.jsonl")
    newest = folders.steps(run)[-1:]
    state = folders.read_state(newest[0]) if newest else {}
    try:
        settings = read_toml(run / "config.toml")
    except UserError:  # not there, or written by another program: the page does without
        settings = {}
    page = [HEAD.format(title=escape(f"Run {run_name(run)}")), table(results(rows, settings, state).items())]
    for path in sorted((run / "samples").glob("*.txt"))[-1:]:
        story = path.read_text("utf-8", errors="replace")
        page.append(f"<h2>The last story</h2><p>{escape(path.stem)}</p><pre>{escape(story)}</pre>")
    if (run / "loss_curve.png").exists():
        data = base64.b64encode((run / "loss_curve.png").read_bytes()).decode("ascii")
        page.append(f'<h2>Loss</h2><img alt="loss over steps" src="data:image/png;base64,{data}">')
    last = {key: number(value) for row in rows for key, value in row.items() if value is not None}
    page += ["<h2>Last values of metrics.jsonl</h2>", table(last.items())]
    if older := sorted((run / "samples").glob("*.txt"))[-4:-1]:
        page.append("<h2>Earlier stories</h2>")
        for path in older[::-1]:
            story = path.read_text("utf-8", errors="replace")
            page.append(f"<h3>{escape(path.stem)}</h3><pre>{escape(story)}</pre>")
    if (run / "config.toml").exists():
        text = (run / "config.toml").read_text("utf-8", errors="replace")
        page.append(f"<h2>Settings</h2><pre>{escape(text)}</pre>")
    if state:
        checksums = {k: v for k, v in state["identity"].items() if not k.startswith("model.")}
        checksums |= {"tokenizer": state["tokenizer_sha256"], newest[0].name: state["sha256"]}
        page += ["<h2>Data and checksums</h2>", table((checksums | {"torch": state["torch"]}).items())]
    folders.replace_file(run / "report.html", "\n".join([*page, "</html>"]).encode())
    return run / "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.report", description="Draw the curves and write the page of a run again.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        run = folders.existing_run(args.run)
        draw(run)
        print(write_report(run))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
