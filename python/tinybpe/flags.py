"""The command line's own words: flags where Python has arguments, exit codes, whole numbers, what was meant.

Messages are written once, with the names of Python's arguments: as `` `name` `` or `name=value`. On the
command line each argument that has a flag is shown as that flag; the parser itself is the table, since each
flag is stored under the name of its argument.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tinybpe.suggest import closest

UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
VALUE = r"=('[^']*'|\"[^\"]*\"|[^\s:,;`]+)"


class Parser(argparse.ArgumentParser):
    """A parser that suggests the flag or command that was meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an unknown flag is told by the command that it was given to."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command: Parser = getattr(parsed, "parser", self)
            command.refuse(unknown)
        return parsed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is known, and remember what was given for the message about what is not."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Leave with exit code 2."""
        if unknown[0].startswith("-"):
            remedy = self.hint(unknown[0])
        else:
            remedy = ": files go together, after --input, and every other flag takes one value"
        self.error(f"unrecognized arguments: {' '.join(unknown)}{remedy}")

    def hint(self, argument: str) -> str:
        """Return the flag that was meant by one that is unknown."""
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        flag = argument.partition("=")[0]
        is_known = any(name.startswith(flag) for name in known)
        return "" if is_known or not flag.startswith("--") else closest(flag, known)

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2, with a hint at the choice or flag that was meant."""
        found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
        if found:
            message += closest(found[1], re.findall(r"[\w.-]+", found[2]))
        elif "are required" in message:
            hints = [(argument, self.hint(argument)) for argument in getattr(self, "_given", ())]
            message += "".join(f"; {argument} is unknown{hint}" for argument, hint in hints if hint)
        super().error(message)

    def as_flags(self, message: str) -> str:
        """Return a message of Python's with flags in place of arguments.

        Example:
            >>> parser = Parser()
            >>> _ = parser.add_argument("--threads", dest="num_threads")
            >>> _ = parser.add_argument("--overwrite", action="store_true")
            >>> parser.as_flags("num_threads=0: give `num_threads` of 1, or `overwrite=True`")
            '--threads 0: give `--threads` of 1, or `--overwrite`'
        """
        flags = {
            action.dest: action.option_strings[0]
            for action in self._actions
            if action.option_strings and action.option_strings[0].startswith("--")
        }
        if not flags:
            return message
        names = "|".join(map(re.escape, flags))
        message = re.sub(rf"`({names})(?:=True)?`", lambda found: f"`{flags[found[1]]}`", message)
        message = re.sub(rf"(?<![\w.`-])({names})=True\b", lambda found: flags[found[1]], message)
        return re.sub(
            rf"(?<![\w.`-])({names}){VALUE}", lambda found: f"{flags[found[1]]} {found[2]}", message
        )

    def is_about_a_flag(self, message: str) -> bool:
        """Whether a message of Python's begins with an argument: then its value is what is wrong."""
        return self.as_flags(message).startswith("--") and not message.startswith("--")


def parse_number(text: str) -> int:
    """Return a number as a flag takes it: `10000`, `10_000`, `10,000`, `10k`, `2M`.

    Example:
        >>> parse_number("10k"), parse_number("50,257")
        (10000, 50257)

    Raises:
        ArgumentTypeError: It is none.
    """
    found = re.fullmatch(r"([+-]?\d[\d_,]*)([kmg]?)", text.strip().lower())
    if found is None:
        message = f"{text!r} is no whole number; write it as 10000 or 10k (k is 1,000, M 1,000,000)"
        raise argparse.ArgumentTypeError(message)
    return int(re.sub("[_,]", "", found[1])) * UNITS[found[2]]


def not_stdout(path: str) -> str:
    """Return the name of something to write that cannot go to standard output.

    Raises:
        ArgumentTypeError: It is `-`.
    """
    if path == "-":
        raise argparse.ArgumentTypeError(
            "'-' is standard output, which takes only what `tinybpe decode` writes; "
            "give a name (`./-` for one called `-`)"
        )
    return path
