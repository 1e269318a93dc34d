"""Progress of long calls on stderr: a bar where `tqdm` is installed, else a line every few seconds.

The extension calls a reporter with `(stage, unit, done, total)` at most every tenth of a second; a total of
0 is not known. Stages follow one another, each counting from 0. Encoding also reports what it makes, in the
unit `tokens`, after each report of what it reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ProgressCallback = Callable[[str, str, int, int], object]
Progress = bool | ProgressCallback | None

PLAIN_INTERVAL_S = 5.0
TOKENS = "tokens"


@contextmanager
def reporter(progress: Progress) -> Iterator[ProgressCallback | None]:
    """Turn the argument `progress` of a public call into a callback, closed at the end.

    Raises:
        TypeError: `progress` is neither a bool nor callable.
    """
    if progress is None or progress is False:
        yield None
    elif progress is True:
        bar = make_bar()
        try:
            yield bar
        finally:
            bar.close()
    elif callable(progress):
        yield progress
    else:
        raise TypeError(
            f"progress={progress!r}: give True, False or a function of (stage, unit, done, total)"
        )


def make_bar() -> TqdmBar | PlainLines:
    """Return the best reporter for what is installed."""
    try:
        import tqdm
    except ImportError:
        return PlainLines()
    return TqdmBar(tqdm.tqdm)


class TqdmBar:
    """A `tqdm` bar per stage, with rate and time left."""

    def __init__(self, tqdm_class: Any) -> None:
        self._class = tqdm_class
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, unit: str, done: int, total: int) -> None:
        """Show how far the stage is; a new stage gets a new bar."""
        if unit == TOKENS:
            elapsed_s = self._bar.format_dict["elapsed"]
            self._bar.set_postfix_str(f"{done / max(elapsed_s, 1e-9):,.0f} tokens/s", refresh=False)
            return
        if stage != self._stage:
            self.close()
            unit = "B" if unit == "bytes" else f" {unit}"
            self._bar = self._class(
                desc=stage, unit=unit, unit_scale=True, file=sys.stderr, dynamic_ncols=True
            )
            self._stage = stage
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the last bar on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._stage = ""


class PlainLines:
    """A line on stderr every few seconds, for terminals without `tqdm`."""

    def __init__(self, interval_s: float = PLAIN_INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._stage = ""
        self._tokens = 0
        self._started_at = self._printed_at = time.monotonic()

    def __call__(self, stage: str, unit: str, done: int, total: int) -> None:
        """Print how far the stage is, if the last line is old enough."""
        now = time.monotonic()
        if unit == TOKENS:
            # Told in the next line: it is at most a tenth of a second old then.
            self._tokens = done
            return
        if stage != self._stage:
            self._stage, self._started_at, self._printed_at = stage, now, now
            self._tokens = 0
        if now - self._printed_at < self._interval_s:
            return
        self._printed_at = now
        elapsed_s = now - self._started_at
        rate = done / elapsed_s if elapsed_s > 0 else 0.0
        line = f"{stage}: {format_amount(done, unit)}"
        if total:
            line += f" of {format_amount(total, unit)} ({100 * done / total:.0f} %)"
        line += f", {format_amount(rate, unit)}/s"
        if self._tokens and elapsed_s > 0:
            line += f", {self._tokens / elapsed_s:,.0f} tokens/s"
        if total and rate > 0:
            line += f", {max(0, total - done) / rate:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing: each line stands for itself."""


def format_amount(amount: float, unit: str) -> str:
    """Write an amount for people: bytes in powers of 1000, everything else with thousands separated.

    Example:
        >>> format_amount(6_040_000, "bytes"), format_amount(9743, "merges")
        ('6.0 MB', '9,743 merges')
    """
    if unit != "bytes":
        return f"{amount:,.0f} {unit}"
    for prefix in ("", "k", "M", "G"):
        if amount < 1000:
            return f"{amount:.0f} bytes" if not prefix else f"{amount:.1f} {prefix}B"
        amount /= 1000
    return f"{amount:.1f} TB"
