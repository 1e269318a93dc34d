"""What a run leaves behind and shows: its lock, metrics.jsonl, and the progress line."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from lm.config import UserError
from lm.folders import replace_file
from lm.plot import read_metrics


def lock(run: Path) -> IO[str]:
    """Take the lock of a run folder, held while the returned file is open; UserError if it is taken."""
    file = (run / ".lock").open("w")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows has no flock; two trainers in one folder are then the user's care
        pass
    except OSError:
        file.close()
        raise UserError(f"another process is training in {run}") from None
    return file


class Metrics:
    """Rows of metrics.jsonl, one JSON object a line, each with its step.

    A full disk never stops the training: the first failure is told, the rest are silent. The numbers go to
    TensorBoard too, into the folder `tensorboard` beside the file, if that is asked for and installed.
    """

    def __init__(self, path: Path, writing: bool = True, tensorboard: bool = False) -> None:
        self.path, self.writing, self.tensorboard = path, writing, tensorboard
        self.failed = False
        self.board: Any = None
        self.first_step = 0

    def keep_until(self, step: int) -> None:
        """Drop rows after a step, which a resumed run will write again."""
        if self.writing:
            self.first_step = step + 1
            rows = [row for row in read_metrics(self.path) if row["step"] <= step]
            replace_file(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        if not self.writing:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            if not self.failed:
                say(f"warning: cannot write {self.path}: {error.strerror}; training goes on")
            self.failed = True
        if self.tensorboard and self.board is None:
            try:
                from torch.utils.tensorboard.writer import SummaryWriter

                # told to forget what a resumed run writes again
                folder = str(self.path.parent / "tensorboard")
                self.board = SummaryWriter(folder, purge_step=self.first_step)
            except ImportError:
                say("warning: no TensorBoard, install `tinybpe-lm[tensorboard]`; training goes on without")
                self.tensorboard = False
        for name, value in row.items() if self.board else ():
            if name != "step" and value is not None:
                self.board.add_scalar(name, value, row["step"])


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds, as 0:03:20."""
    return str(timedelta(seconds=round(seconds)))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if there is not exactly one.

    Example:
        >>> counted(1, "step"), counted(2500, "step")
        ('1 step', '2,500 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def to_type(*words: str | Path) -> str:
    """Return a command as it is typed in the shell that this one came from.

    The environment of `uv run` is not that of the shell.
    """
    line = shlex.join(map(str, words))
    return f"uv run {line}" if "UV_RUN_RECURSION_DEPTH" in os.environ else line


def lm_command(name: str, *words: str | Path) -> str:
    """Return `python -m lm.NAME` with its arguments, as it is typed."""
    return to_type("python", "-m", f"lm.{name}", *words)


class Screen:
    """What stands on the screen: whether the last line is one of progress, and whether details are shown."""

    progress = False
    brief = False


@contextmanager
def brief() -> Iterator[None]:
    """Show progress and warnings alone for a while, for commands that train many runs."""
    Screen.brief = True
    try:
        yield
    finally:
        Screen.brief = False


def say(line: str = "", *, always: bool = False) -> None:
    """Print a line, over a progress line if one is shown; `always` also where details are not."""
    if Screen.brief and not always and not line.lower().startswith("warning"):
        return
    try:
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)
        Screen.progress = False
    except BrokenPipeError:  # nobody reads us any more: train on in silence
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123


def keep_progress() -> None:
    """Let the progress line stay on the screen above what follows."""
    if Screen.progress:
        print(flush=True)
        Screen.progress = False


def show_progress(row: Mapping[str, Any], num_steps: int, left_s: float, *, on_cpu: bool) -> None:
    """Show a row of metrics.jsonl: rewritten in place on a terminal, a line of its own elsewhere.

    Of a CPU, utilisation and memory are left out: both are of the whole machine's, and of little use.
    """
    line = (
        f"step {row['step']:>{len(str(num_steps))}}/{num_steps}  loss {row['loss']:.4f}  "
        f"lr {row['lr']:.2e}  grad {row['grad_norm']:.2f}  {row['tokens_per_s']:,.0f} tok/s  "
    )
    line += "" if on_cpu else f"mfu {row['mfu']:.0%}  {row['memory_mb']:,} MB  "
    line += f"{duration(left_s)} left"
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:width]}", end="", flush=True)
        Screen.progress = True
    else:
        say(line)
