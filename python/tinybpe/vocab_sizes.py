"""`tinybpe train --vocab-size`, one size or several: how they are given, and where each tokenizer goes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinybpe.flags import parse_number
from tinybpe.outputs import STDIO


class VocabSizes(argparse.Action):
    """Whole numbers; the files that follow them are input files, as they are after a flag of one value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the sizes to those given before, and the files to the input."""
        sizes: list[int] = list(getattr(namespace, self.dest) or ())
        files: list[str] = []
        for index, value in enumerate(values):
            if files:
                files.append(value)
                continue
            try:
                # A number is a size, whatever files there are: training would take another text unasked.
                sizes.append(parse_number(value))
            except argparse.ArgumentTypeError as error:
                if index == 0 or not (value == STDIO or Path(value).exists()):
                    raise argparse.ArgumentError(self, str(error)) from None
                files.append(value)
        repeated = next((size for size in sizes if sizes.count(size) > 1), None)
        if repeated is not None:
            raise argparse.ArgumentError(self, f"{repeated} is given twice")
        setattr(namespace, self.dest, sizes)
        namespace.input = [*namespace.input, *files]


def tokenizer_directories(out: str, sizes: Sequence[int]) -> list[str]:
    """Return the directory of each size: `out` for a single one, else `out` with the size after it.

    Example:
        >>> tokenizer_directories("tok", [500]), tokenizer_directories("runs/tok/", [500, 1000])
        (['tok'], ['runs/tok-500', 'runs/tok-1000'])

    Raises:
        ValueError: `out` has no name after which a size can stand.
    """
    if len(sizes) == 1:
        return [out]
    path = Path(out)
    if path.name in ("", ".."):
        raise ValueError(f"{out}: is no name to add sizes to; give one, such as {path / 'tok'}")
    return [str(path.with_name(f"{path.name}-{size}")) for size in sizes]
