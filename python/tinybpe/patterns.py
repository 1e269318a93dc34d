"""Pretokenizer patterns: the names that are known, and how several regexes are one pattern."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import MappingProxyType

from tinybpe._tinybpe import PATTERNS as _PATTERNS

Pattern = str | Sequence[str]
"""A name of `PATTERNS`, a regex, or several regexes, of which each splits the pieces of the one before."""

PATTERNS = MappingProxyType(_PATTERNS)
"""The names of known patterns, each with its regexes."""


def as_string(pattern: Pattern) -> str:
    """Return a pattern as the core takes it: a name, a regex, or the JSON of a sequence of splits.

    Raises:
        TypeError: It is neither a string nor a sequence of strings.
    """
    if isinstance(pattern, str):
        return pattern
    if not isinstance(pattern, Sequence) or not all(isinstance(regex, str) for regex in pattern):
        raise TypeError(
            f"pattern={pattern!r} is a {type(pattern).__name__}; give a name, a regex, or a list of regexes"
        )
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in pattern
    ]
    return json.dumps({"type": "Sequence", "pretokenizers": splits})
