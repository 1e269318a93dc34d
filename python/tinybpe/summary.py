"""What the commands print at the end: lines of at most 80 columns, and the command to run next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

COLUMNS = 80
# A line with more inputs than this helps nobody.
MOST_INPUTS = 20


def wrap(text: str, indent: str = "  ") -> str:
    """Break a sentence between words into lines of at most 80 columns; a longer word has its own."""
    return textwrap.fill(
        text, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def wrap_items(items: Iterable[str], width: int) -> list[str]:
    """Put items that are never broken, even where they hold spaces, into lines.

    Example:
        >>> wrap_items(["' a b'", "' c'", "' d'"], 11)
        ["' a b' ' c'", "' d'"]
    """
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 1 + len(item) <= width:
            lines[-1] += f" {item}"
        else:
            lines.append(item)
    return lines


def table(rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return names and their values, which never break, in lines of at most 80 columns."""
    rows = list(rows)
    name_width = max(len(name) for name, _ in rows) + 1
    lines = []
    for name, items in rows:
        for line in wrap_items(items, COLUMNS - name_width) or [""]:
            lines.append(f"{name:<{name_width}}{line}".rstrip())
            name = ""
    return "\n".join(lines)


def next_command(*words: str) -> str:
    """Return the line with the command to run next, as it works where this one was typed."""
    return f"next: {shlex.join([*runner(words[0]), *words[1:]])}"


def runner(program: str) -> list[str]:
    """Return how `tinybpe` or `python` is started here.

    The environment of `uv run` is on the path of this process only, not on that of the shell that it came
    from.
    """
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return ["uv", "run", program]
    if shutil.which("python") == sys.executable and shutil.which(program):
        return [program]
    return [sys.executable] if program == "python" else [sys.executable, "-m", program]


def free_name(stem: str, ending: str) -> str:
    """Return the name of a file that is not there yet."""
    name, number = f"{stem}{ending}", 1
    while Path(name).exists():
        number += 1
        name = f"{stem}-{number}{ending}"
    return name


def has_trainer() -> bool:
    """Whether `lm` can be run here: it comes with this package, and torch does not."""
    from importlib.util import find_spec

    return find_spec("lm") is not None and find_spec("torch") is not None
