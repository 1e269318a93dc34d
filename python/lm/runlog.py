"""What a run leaves behind and shows: its lock, metrics.jsonl, and the progress line."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from lm.checkpoint import replace_file
from lm.config import ConfigError
from lm.plot import read_metrics


def lock(run: Path) -> IO[str]:
    """Take the lock of a run folder, held while the returned file is open; ConfigError if it is taken."""
    file = (run / ".lock").open("w")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows has no flock; two trainers in one folder are then the user's care
        pass
    except OSError:
        file.close()
        raise ConfigError(f"another process is training in {run}") from None
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


def say(line: str = "") -> None:
    """Print a line, over a progress line if one is shown."""
    try:
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)
    except BrokenPipeError:  # nobody reads us any more: train on in silence
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123


def show_progress(row: Mapping[str, Any], num_steps: int, left_s: float) -> None:
    """Show a row of metrics.jsonl: rewritten in place on a terminal, a line of its own elsewhere."""
    line = (
        f"step {row['step']:>{len(str(num_steps))}}/{num_steps}  loss {row['loss']:.4f}  "
        f"lr {row['lr']:.2e}  grad {row['grad_norm']:.2f}  {row['tokens_per_s']:,.0f} tok/s  "
        f"mfu {row['mfu']:.0%}  {row['memory_mb']:,} MB  {duration(left_s)} left"
    )
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:width]}", end="", flush=True)
    else:
        say(line)
