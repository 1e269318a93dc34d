"""What the commands share: spelling of flags, errors as one line with an exit code, text made safe to show.

0 done, 1 failed, 2 bad input, 130 and 143 stopped by SIGINT and SIGTERM, 141 nobody reads the output.
"""

from __future__ import annotations

import argparse
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

from lm.checkpoint import CheckpointError
from lm.config import ConfigError
from lm.data import TokenFileError


class Parser(argparse.ArgumentParser):
    """An argument parser that takes hyphens and underscores alike and ends with one line and exit code 2."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after spelling every long flag with hyphens."""
        given = list(sys.argv[1:] if args is None else args)
        spelled = []
        for arg in given:
            name, equals, value = arg.partition("=")
            spelled.append(name.replace("_", "-") + equals + value if name.startswith("--") else arg)
        return super().parse_args(spelled, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line and leave."""
        self.exit(2, f"{self.prog}: {message}\n")


def escape(text: str) -> str:
    """Show control characters, and those that turn the direction of text, as escapes; keep newlines, tabs."""

    def shown(c: str) -> str:
        harmless = c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        return c if harmless or c in "\u200c\u200d" else c.encode("unicode_escape").decode("ascii")

    return "".join(map(shown, text))


@contextmanager
def clear_errors(program: str) -> Iterator[None]:
    """Turn what users can mend into one line and an exit code: 2 for bad input, 1 for the rest."""
    code = 1
    try:
        yield
        return
    except (ConfigError, TokenFileError, CheckpointError) as error:
        message, code = str(error), 2
    except FileNotFoundError as error:
        message, code = f"{error.filename}: no such file", 2
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - so that closing it does not fail again
        raise SystemExit(141) from None
    except OSError as error:
        message = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    except torch.OutOfMemoryError as error:
        message = (
            f"out of memory: {str(error).splitlines()[0]}; use a smaller `--batch-size` or `--device cpu`"
        )
    print(f"{program}: {escape(message)}", file=sys.stderr)
    raise SystemExit(code)
