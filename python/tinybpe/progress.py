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

from tinybpe.arguments import wrong_type

ProgressCallback = Callable[[str, str, int, int], object]
Progress = bool | ProgressCallback | None

PLAIN_INTERVAL_S = 5.0
TOKENS = "tokens"
# A rate over less time than this is that of the clock, not of the work.
LEAST_RATED_S = 0.5
# What tqdm shows by itself, without the rate.
BAR_WITHOUT_RATE = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"
COUNT_WITHOUT_RATE = "{desc}: {n_fmt}{unit} [{elapsed}]"


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
        raise wrong_type("progress", progress, "True, False or a function of (stage, unit, done, total)")


def make_bar() -> TqdmBar | PlainLines:
    """Return the best reporter for what is installed."""
    try:
        import tqdm
    except ImportError:
        return PlainLines()
    return TqdmBar(tqdm.tqdm)


class TqdmBar:
    """A `tqdm` bar per stage, with time left and the rate over the whole stage."""

    def __init__(self, tqdm_class: Any) -> None:
        self._class = tqdm_class
        self._bar: Any = None
        self._stage = ""
        # The first report comes after the first tenth of a second of work, or after all of it.
        self._started_at = time.time()

    def __call__(self, stage: str, unit: str, done: int, total: int) -> None:
        """Show how far the stage is; a new stage gets a new bar."""
        if unit == TOKENS:
            if rate := format_rate(done, TOKENS, time.time() - self._started_at):
                self._bar.set_postfix_str(rate, refresh=False)
            return
        if stage != self._stage:
            if self._bar is not None:
                self.close()
                self._started_at = time.time()
            unit = "B" if unit == "bytes" else f" {unit}"
            self._bar = self._class(
                desc=stage, unit=unit, unit_scale=True, file=sys.stderr, dynamic_ncols=True, smoothing=0
            )
            self._bar.start_t = self._started_at
            self._stage = stage
        self._bar.total = total or None
        self._set_format()
        self._bar.update(done - self._bar.n)

    def _set_format(self) -> None:
        if time.time() - self._started_at >= LEAST_RATED_S:
            self._bar.bar_format = None
        else:
            self._bar.bar_format = BAR_WITHOUT_RATE if self._bar.total else COUNT_WITHOUT_RATE

    def close(self) -> None:
        """Leave the last bar on the screen."""
        if self._bar is not None:
            self._set_format()
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


def format_rate(amount: float, unit: str, elapsed_s: float) -> str:
    """Write an amount in a second, or nothing where the time is too short to mean something.

    Example:
        >>> format_rate(6_040_000, "bytes", 2.0), format_rate(6_040_000, "bytes", 0.1)
        ('3.0 MB/s', '')
    """
    return f"{format_amount(amount / elapsed_s, unit)}/s" if elapsed_s >= LEAST_RATED_S else ""


def format_count(count: int, noun: str) -> str:
    """Write how many there are of something.

    Example:
        >>> format_count(1, "document"), format_count(2000, "document")
        ('1 document', '2,000 documents')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


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
