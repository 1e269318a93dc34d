"""One page about a run, `report.html`: curves, results, stories, settings, checksums.

Made from the files of the run folder alone, so it can be made again at any time. It needs nothing beside
itself: pictures are inside, and there is no script. Whatever comes from files is escaped.
"""

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from lm import checkpoint as ckpt
from lm.plot import read_metrics, series

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} pre {{ background: #f4f4f4; padding: 1rem; white-space: pre-wrap }}
td {{ padding: 0 1rem 0 0; overflow-wrap: anywhere; vertical-align: top }}
</style>
<h1>{title}</h1>
"""


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return an HTML table of two columns."""
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def write_report(run: Path) -> Path:
    """Write RUN/report.html and return its path; CheckpointError if the newest checkpoint is damaged."""
    page = [HEAD.format(title=escape(str(run))), "<h2>Curves</h2>"]
    for path in (run / "loss_curve.png", run / "ppl_curve.png"):
        if path.exists():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            page.append(f'<img alt="{path.name}" src="data:image/png;base64,{data}">')
    rows = read_metrics(run / "metrics.jsonl")
    results = {key: value for row in rows for key, value in row.items()}
    steps, losses = series(rows, "valid_loss")
    if losses:
        best = min(losses)
        results["lowest validation loss, at step"] = f"{best:.4f}, {steps[losses.index(best)]}"
    page += ["<h2>Results</h2>", table(results.items()), "<h2>Stories, newest first</h2>"]
    for path in sorted((run / "samples").glob("*.txt"))[:-4:-1]:
        story = path.read_text("utf-8", errors="replace")
        page.append(f"<h3>{escape(path.stem)}</h3><pre>{escape(story)}</pre>")
    if (run / "config.toml").exists():
        settings = (run / "config.toml").read_text("utf-8")
        page.append(f"<h2>Settings</h2><pre>{escape(settings)}</pre>")
    for folder in ckpt.steps(run)[-1:]:
        state = ckpt.read_state(folder)
        checksums = {k: v for k, v in state["identity"].items() if not k.startswith("model.")}
        checksums |= {"tokenizer": state["tokenizer_sha256"], folder.name: state["sha256"]}
        page += ["<h2>Data and checksums</h2>", table((checksums | {"torch": state["torch"]}).items())]
    ckpt.replace_file(run / "report.html", "\n".join([*page, "</html>"]).encode())
    return run / "report.html"
