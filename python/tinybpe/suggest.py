"""The name that was probably meant, for messages about an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known name most like `word`, to end a message with, or an empty string.

    Args:
        word: The unknown name.
        known: The names that exist. Neither case nor the difference of `-` and `_` counts.

    Returns:
        A hint that begins with a space, or `""` where no known name is like the word.

    Example:
        >>> closest("--vocabsize", ["--vocab-size", "--threads"])
        ' (did you mean `--vocab-size`?)'
        >>> closest("--colour", ["--vocab-size", "--threads"])
        ''
    """
    by_folded = {fold(name): name for name in reversed(list(known))}
    matches = difflib.get_close_matches(fold(word), by_folded, n=1)
    return f" (did you mean `{by_folded[matches[0]]}`?)" if matches else ""


def fold(name: str) -> str:
    """Return the name without the differences that do not count."""
    return name.casefold().replace("-", "_")
