"""Checks that public calls share: each refusal names the argument, its value and what to give."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

Text = str | bytes
StrPath = str | os.PathLike[str]

_UNITS = {
    unit.lower(): base**power
    for base, infix in ((1000, ""), (1024, "i"))
    for power, prefix in enumerate(("", "k", "M", "G", "T"))
    for unit in [f"{prefix}{infix if prefix else ''}B"]
}
MAX_UINT64 = 2**64 - 1
MAX_THREADS = 1024  # the core's limit, said here in Python's words


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
        ValueError: It is less than one or more than `MAX_THREADS`.
    """
    if num_threads is None:
        return None
    if isinstance(num_threads, bool) or not isinstance(num_threads, int):
        raise TypeError(f"num_threads={num_threads!r}: give a whole number, or None for all cores")
    if num_threads < 1:
        raise ValueError(f"num_threads={num_threads}: give at least 1; the default is all cores")
    if num_threads > MAX_THREADS:
        raise ValueError(f"num_threads={num_threads}: give at most {MAX_THREADS}; the default is all cores")
    return num_threads


def check_max_memory(max_memory: int | str | None) -> int | None:
    """Return a number of bytes, None for no limit.

    Example:
        >>> check_max_memory("1.5GB"), check_max_memory("2 MiB"), check_max_memory(9)
        (1500000000, 2097152, 9)

    Raises:
        TypeError: It is neither a whole number nor a string.
        ValueError: It is less than one, or a string that names no amount.
    """
    if max_memory is None:
        return None
    if isinstance(max_memory, bool) or not isinstance(max_memory, int | str):
        raise TypeError(f"max_memory={max_memory!r}: give bytes, or a string such as '2GB'")
    num_bytes = max_memory
    if isinstance(max_memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", max_memory)
        factor = _UNITS.get(found[2].lower() or "b") if found else None
        if found is None or factor is None:
            raise ValueError(
                f"max_memory={max_memory!r} is no amount; write it as '2GB', '500MB' or '1.5GiB'"
            )
        num_bytes = int(float(found[1]) * factor)
    assert isinstance(num_bytes, int)
    if num_bytes < 1:
        raise ValueError(f"max_memory={max_memory!r}: give at least 1 byte; by default there is no limit")
    return min(num_bytes, MAX_UINT64)
