"""What the commands share: spelling of flags, errors as one line with an exit code, text made safe to show.

0 done, 1 failed, 2 bad input, 130 and 143 stopped by SIGINT and SIGTERM, 141 nobody reads the output.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unicodedata import category

import torch

from lm.config import UserError
from lm.devices import SelfTestError


class Parser(argparse.ArgumentParser):
    """An argument parser that takes hyphens and underscores alike and ends with one line and exit code 2."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after spelling every long flag with hyphens."""
        given = sys.argv[1:] if args is None else args
        spelled = [re.sub("^--[^=]+", lambda name: name[0].replace("_", "-"), arg) for arg in given]
        return super().parse_args(spelled, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line and leave."""
        self.exit(2, f"{self.prog}: {message}\n")


def escape(text: str) -> str:
    """Show control characters, and those that turn the direction of text, as escapes; keep newlines, tabs."""
    kept = "\n\t\u200c\u200d"
    return "".join(c if c.isprintable() or c in kept or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


@contextmanager
def clear_errors(program: str) -> Iterator[None]:
    """Turn what users can mend into one line and an exit code: 2 for bad input, 1 for the rest."""
    try:
        yield
        return
    except UserError as error:
        code, message = 2, str(error)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - so that closing it does not fail again
        raise SystemExit(141) from None
    except OSError as error:
        code = 2 if isinstance(error, FileNotFoundError) else 1
        message = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    except SelfTestError as error:
        code, message = 1, f"self-test failed: {error}"
    except torch.OutOfMemoryError as error:
        first = str(error).splitlines()[0]
        code, message = 1, f"out of memory: {first}; use a smaller `--batch-size` or `--device cpu`"
    print(f"{program}: {escape(message)}", file=sys.stderr)
    raise SystemExit(code)
