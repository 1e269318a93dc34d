"""Checks that public calls share: each refusal names the argument, its value and what to give."""

from __future__ import annotations

import os
from collections.abc import Iterable

Text = str | bytes
StrPath = str | os.PathLike[str]


def listed_paths(files: StrPath | Iterable[StrPath]) -> list[str]:
    """Return one path or several as a list."""
    if isinstance(files, str | os.PathLike):
        return [os.fspath(files)]
    return [os.fspath(path) for path in files]


def listed_strings(argument: str, values: Iterable[str]) -> list[str]:
    """Return strings as a list.

    Raises:
        TypeError: It is one string, or an item is none.
    """
    if isinstance(values, str | bytes):
        raise TypeError(f"{argument}={values!r} is one string; give a list, such as [{values!r}]")
    values = list(values)
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{argument} has {value!r}, a {type(value).__name__}; each must be a str")
    return values


def check_not_one_text(argument: str, texts: object) -> None:
    """Refuse a text where an iterable of texts is wanted.

    Raises:
        TypeError: It is one text.
    """
    if isinstance(texts, str | bytes | bytearray | memoryview):
        raise TypeError(
            f"{argument} is one text, whose characters would be taken one by one; give a list of texts"
        )


def check_num_threads(num_threads: int | None) -> int | None:
    """Return a number of threads, None for all cores.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than one.
    """
    if num_threads is None:
        return None
    if isinstance(num_threads, bool) or not isinstance(num_threads, int):
        raise TypeError(f"num_threads={num_threads!r}: give a whole number, or None for all cores")
    if num_threads < 1:
        raise ValueError(f"num_threads={num_threads}: give at least 1, or None for all cores")
    return num_threads
