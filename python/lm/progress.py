"""How far a loop is: a bar on a terminal, elsewhere a line every now and then."""

import sys
import time
from collections.abc import Collection, Iterator
from typing import TypeVar

from tqdm import tqdm

INTERVAL_S = 10.0  # between two lines
Item = TypeVar("Item")


def followed(items: Collection[Item], what: str) -> Iterator[Item]:
    """Yield items and show on stderr how many there have been; nothing of what is done in seconds is left."""
    if sys.stderr.isatty():
        yield from tqdm(items, what, leave=False)
        return
    started_s = told_s = time.monotonic()
    for index, item in enumerate(items):
        now_s = time.monotonic()
        if index and now_s - told_s >= INTERVAL_S:
            told_s, left_s = now_s, (now_s - started_s) * (len(items) - index) / index
            print(f"{what}: {index / len(items):.0%}, {left_s:.0f} s left", file=sys.stderr, flush=True)
        yield item
