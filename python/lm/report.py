"""One page about a run, `report.html`: curves, results, stories, settings, checksums.

Made from the files of the run folder alone, so it can be made again at any time. It needs nothing beside
itself: pictures are inside, and there is no script. Whatever comes from files is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from lm import checkpoint as ckpt
from lm.plot import read_metrics

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} pre {{ background: #f4f4f4; padding: 1rem; white-space: pre-wrap }}
td {{ padding: 0 1rem 0 0; overflow-wrap: anywhere; vertical-align: top }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Return an HTML table of two columns."""
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def section(title: str, body: str) -> str:
    """Return a heading and what it heads, nothing if there is nothing."""
    return f"<h2>{escape(title)}</h2>\n{body}\n" if body else ""


def write_report(run: Path) -> Path:
    """Write RUN/report.html and return its path.

    Raises:
        OSError: it cannot be written.
        CheckpointError: the newest checkpoint is damaged.
    """
    rows = read_metrics(run / "metrics.jsonl")
    last = {key: value for row in rows for key, value in row.items()}
    results = list(last.items())
    if valid := [(row["valid_loss"], row["step"]) for row in rows if "valid_loss" in row]:
        results.append(("lowest validation loss, at step", "{:.4f}, {}".format(*min(valid))))
    pictures = ""
    for name in ("loss_curve.png", "ppl_curve.png"):
        if (run / name).exists():
            data = base64.b64encode((run / name).read_bytes()).decode("ascii")
            pictures += f'<img alt="{name}" src="data:image/png;base64,{data}">\n'
    stories = ""
    for path in sorted((run / "samples").glob("*.txt"))[:-4:-1]:
        story = path.read_text("utf-8", errors="replace")
        stories += f"<h3>{escape(path.stem)}</h3><pre>{escape(story)}</pre>\n"
    checksums: list[tuple[str, Any]] = []
    for folder in ckpt.steps(run)[-1:]:
        state = ckpt.read_state(folder)
        checksums = [*state["identity"].items(), ("tokenizer", state["tokenizer_sha256"])]
        checksums = [(name, value) for name, value in checksums if not name.startswith("model.")]
        checksums += [(folder.name, state["sha256"]), ("torch", state["torch"])]
    config = run / "config.toml"
    settings = f"<pre>{escape(config.read_text('utf-8'))}</pre>" if config.exists() else ""
    parts = [("Curves", pictures), ("Results", table(results)), ("Stories, newest first", stories)]
    parts += [("Settings", settings), ("Data and checksums", table(checksums) if checksums else "")]
    body = "".join(section(title, part) for title, part in parts)
    target = run / "report.html"
    ckpt.replace_file(target, PAGE.format(title=escape(str(run)), body=body).encode())
    return target
