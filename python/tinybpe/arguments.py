"""Checks that public calls share: each refusal names the argument, its value and type, and what to give."""

from __future__ import annotations

import codecs
import operator
import os
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

Text = str | bytes
StrPath = str | os.PathLike[str]
Value = TypeVar("Value")

_UNITS = {
    unit.lower(): base**power
    for base, infix in ((1000, ""), (1024, "i"))
    for power, prefix in enumerate(("", "k", "M", "G", "T"))
    for unit in [f"{prefix}{infix if prefix else ''}B"]
}
MAX_UINT64 = 2**64 - 1
MAX_THREADS = 1024  # the core's limit, said here in Python's words


# Values in messages are cut to about a line.
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60


def wrong_type(argument: str, value: object, remedy: str) -> TypeError:
    """Return the error for a value of a type that the argument cannot have.

    Example:
        >>> wrong_type("path", 3, "a path")
        TypeError('path=3 is an int; give a path')
    """
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    return TypeError(f"{argument}={_SHOWN.repr(value)} is {article} {name}; give {remedy}")


def check_type(argument: str, value: Value, types: type | tuple[type, ...], remedy: str) -> Value:
    """Return a value that has one of the types.

    Raises:
        TypeError: It has none of them.
    """
    if not isinstance(value, types):
        raise wrong_type(argument, value, remedy)
    return value


def check_flags(**values: bool) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: One of the arguments is something else.
    """
    for argument, value in values.items():
        check_type(argument, value, bool, "True or False")


def whole_number(argument: str, value: Any, remedy: str = "a whole number") -> int:
    """Return a number as an int, also if it is one of NumPy's.

    Raises:
        TypeError: It is no whole number; True and False are none.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrong_type(argument, value, remedy)
    try:
        return operator.index(value)
    except TypeError:  # an array has the method, and refuses
        raise wrong_type(argument, value, remedy) from None


def check_errors(errors: str) -> str:
    """Return the name of a way to treat bytes that are not UTF-8.

    Raises:
        TypeError: It is no `str`.
        ValueError: Python knows no such way.
    """
    remedy = "'replace', 'ignore', 'strict' or another error handler of Python"
    check_type("errors", errors, str, remedy)
    try:
        codecs.lookup_error(errors)
    except LookupError:
        raise ValueError(f"errors={errors!r} is unknown; give {remedy}") from None
    return errors


def is_open_file(value: object) -> bool:
    """Return whether a value is an open file, whose lines are no paths."""
    return hasattr(value, "read") and not isinstance(value, os.PathLike)


def path_string(argument: str, path: object) -> str:
    """Return a path as a string.

    Raises:
        TypeError: It is no path.
    """
    remedy = "a path, as a str or a pathlib.Path"
    if is_open_file(path) and isinstance(name := getattr(path, "name", None), str) and Path(name).exists():
        remedy = f"its path, {name!r}"
    if not isinstance(path, str | os.PathLike):
        raise wrong_type(argument, path, remedy)
    return check_type(argument, os.fspath(path), str, remedy)


def is_iterable(value: object) -> bool:
    """Return whether `iter` takes a value, without calling it."""
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")


def listed(argument: str, values: Iterable[Value], remedy: str) -> list[Value]:
    """Return what an iterable gives.

    Raises:
        TypeError: It is no iterable, or one string.
    """
    if isinstance(values, str | bytes | bytearray | memoryview) or not is_iterable(values):
        raise wrong_type(argument, values, remedy)
    return list(values)


def listed_paths(files: StrPath | Iterable[StrPath], argument: str = "files") -> list[str]:
    """Return one path or several as a list.

    Raises:
        TypeError: It is neither a path nor an iterable of paths.
    """
    if isinstance(files, str | os.PathLike) or is_open_file(files):
        return [path_string(argument, files)]  # which refuses the open file
    paths = listed(argument, files, "a path or a list of paths, each a str or a pathlib.Path")
    return [path_string(f"{argument}[{index}]", path) for index, path in enumerate(paths)]


def listed_strings(argument: str, values: Iterable[str]) -> list[str]:
    """Return strings as a list.

    Raises:
        TypeError: It is one string or no iterable, or an item is no string.
    """
    example = f", such as [{values!r}]" if isinstance(values, str) else ""
    strings = listed(argument, values, f"a list of str{example}")
    for index, value in enumerate(strings):
        check_type(f"{argument}[{index}]", value, str, "a str")
    return strings


def check_texts(argument: str, texts: object) -> None:
    """Refuse what is no iterable of texts; its items are looked at when their turn comes.

    Raises:
        TypeError: It is one text, or no iterable.
    """
    if isinstance(texts, str | bytes | bytearray | memoryview):
        raise wrong_type(argument, texts, "a list of texts; of one text each character would be a text")
    if not is_iterable(texts):
        raise wrong_type(argument, texts, "a list or another iterable of texts, each a str or bytes")


def check_num_threads(num_threads: int | None) -> int | None:
    """Return a number of threads, None for all cores.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than one or more than `MAX_THREADS`.
    """
    if num_threads is None:
        return None
    num_threads = whole_number("num_threads", num_threads, "a whole number, or None for all cores")
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
    if not isinstance(max_memory, str):
        num_bytes = whole_number("max_memory", max_memory, "bytes, or a string such as '2GB'")
    else:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", max_memory)
        factor = _UNITS.get(found[2].lower() or "b") if found else None
        if found is None or factor is None:
            raise ValueError(
                f"max_memory={max_memory!r} is no amount; write it as '2GB', '500MB' or '1.5GiB'"
            )
        num_bytes = int(float(found[1]) * factor)
    if num_bytes < 1:
        raise ValueError(f"max_memory={max_memory!r}: give at least 1 byte; by default there is no limit")
    return min(num_bytes, MAX_UINT64)
