"""What the commands share: flags, errors as one line with an exit code, torch, text made safe to show.

A command is a file with the name of a verb (`train.py`). It reads its arguments before it imports anything
that takes long, so `--help` and what is wrong with a flag come at once; what does the work is in files with
the names of things (`trainer.py`), which may import torch.

Exit codes: 0 done, 1 failed, 2 wrong flags or settings, 130 and 143 stopped by SIGINT and SIGTERM, 141 nobody
reads the output.
"""

import argparse
import atexit
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unicodedata import category

from lm.config import DEVICES, UserError
from lm.hints import meant

EXTRA = ("torch", "numpy", "matplotlib", "safetensors", "tqdm", "huggingface_hub")  # what `[lm]` installs
LONG_S = 1.0  # what takes longer is announced


class Parser(argparse.ArgumentParser):
    """An argument parser that takes hyphens and underscores alike and ends with one line and exit code 2.

    Its help shows the defaults.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, formatter_class=HelpFormatter, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after spelling every long flag with hyphens."""
        given = sys.argv[1:] if args is None else args
        spelled = [re.sub("^--[^=]+", lambda name: name[0].replace("_", "-"), arg) for arg in given]
        found, rest = self.parse_known_args(spelled, namespace)
        if rest:
            known = list(self._option_string_actions)
            hints = (meant(word.split("=")[0], known) for word in rest if word.startswith("--"))
            self.error(f"unrecognized arguments: {' '.join(rest)}{next(hints, '')}")
        return found

    def error(self, message: str) -> NoReturn:
        """Print one line and leave."""
        self.exit(2, f"{self.prog}: {escape(message)}\n")

    def add_device(self) -> None:
        """Add `--device`."""
        names = "|".join(DEVICES)
        self.add_argument(
            "--device", default="auto", choices=DEVICES, metavar=names, help="device to compute on"
        )


class HelpFormatter(argparse.HelpFormatter):
    """Ends the help of a flag with its default, where there is one; keeps the lines of lists."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n  " in text else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str:
        doc = action.help or ""
        none = action.default is None or action.default is False or action.default == argparse.SUPPRESS
        plain = none or not action.option_strings or "(default" in doc
        return doc if plain else f"{doc} (default %(default)s)"


def escape(text: str) -> str:
    """Show control characters, and those that turn the direction of text, as escapes; keep newlines, tabs."""
    kept = "\n\t\u200c\u200d"
    return "".join(c if c.isprintable() or c in kept or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


def load_torch() -> None:
    """Import torch, and say so where that takes long, as it does on a busy or slow machine."""
    timer = threading.Timer(LONG_S, lambda: print("loading torch ...", file=sys.stderr, flush=True))
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        import torch  # noqa: F401
    finally:
        timer.cancel()


@contextmanager
def clear_errors(program: str) -> Iterator[None]:
    """Turn what users can mend into one line and an exit code: 2 for wrong settings, 1 for the rest."""
    try:
        yield
        return
    except UserError as error:
        code, message = error.exit_code, str(error)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - so that closing it does not fail again
        raise SystemExit(141) from None
    except OSError as error:
        code, message = 1, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in EXTRA:
            raise
        code, message = 1, f'{name} is not installed; `pip install "tinybpe-lm[lm]"` installs it'
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported
            raise
        first = str(error).splitlines()[0]
        code, message = 1, f"out of memory: {first}; use a smaller `--batch-size` or `--device cpu`"
    print(f"{program}: {escape(message)}", file=sys.stderr)
    raise SystemExit(code)


def leave(command: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code.

    One process of several skips the end of the interpreter: threads of gloo, which outlive the group once DDP
    has used it, may still let go of a tensor and ask for the interpreter, and then abort the process
    (pytorch#179291). `SystemExit` has to carry a number, as all commands' do.
    """
    try:
        code = command()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        atexit._run_exitfuncs()  # TensorBoard's rows, for instance
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
