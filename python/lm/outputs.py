"""What commands write, and what it may take the place of: nothing, unless that is asked for.

Whatever is there stays, unless `--overwrite` is given or it is exactly what would be written; what a command
reads stays in any case. Files and folders are compared by device and inode, so through links too.
"""

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lm.config import UserError
from lm.folders import steps

# All that training writes into a run folder, but for its lock.
RUN_FILES = ("config.toml", "metrics.jsonl", "loss_curve.png", "ppl_curve.png", "report.html")
RUN_FOLDERS = ("checkpoints", "samples", "tensorboard", "tokenizer")
FOREIGN = ("tokenizer.json", "vocab.json", "merges.txt", "model.safetensors", "config.json")
OVERWRITE = "replace what is there by what is made now"  # the help of `--overwrite`


class OutputError(UserError):
    """Something would be lost that nobody has asked to replace."""


def same(one: Path, other: Path) -> bool:
    """Return whether both are there and are one file or folder."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - Path.samefile resolves nothing else
    except OSError:
        return False


def check_not_read(out: Path, inputs: Iterable[Path]) -> None:
    """Raise OutputError if an output is one of the inputs, or a folder around one."""
    for path in inputs:
        if path.exists() and any(same(out, above) for above in (path, *path.absolute().parents)):
            what = "is read by this command" if same(out, path) else f"holds {path}, which this command reads"
            raise OutputError(f"{out} {what} and would be written over; give another output")


def equal(one: Path, other: Path) -> bool:
    """Return whether two files have the same content, or all files in two folders."""
    if one.is_dir() and other.is_dir():
        names = [sorted(p.relative_to(top) for p in top.rglob("*")) for top in (one, other)]
        return names[0] == names[1] and all(
            equal(one / p, other / p) for p in names[0] if (one / p).is_file()
        )
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


@contextmanager
def made_folder(folder: Path, *traces: str) -> Iterator[None]:
    """Make a folder, with those above it; if what follows fails, remove what is new and empty again.

    `traces` are names of files in it that count for nothing.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    new_traces = [folder / name for name in traces if not (folder / name).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in new_traces:
                path.unlink(missing_ok=True)
            for path in new:
                path.rmdir()
        raise


@contextmanager
def output(out: Path, *, inputs: Iterable[Path] = (), overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write a file or a folder to, which then gets the name of the output.

    Raises:
        OutputError: The output is read, or is there, is not what was written, and may not be overwritten.
    """
    check_not_read(out, inputs)
    holder = out.absolute().with_name(f".{out.absolute().name}.tmp-{os.getpid()}")
    temporary = holder / out.absolute().name  # some files tell the name of their folder
    with made_folder(holder.parent):
        try:
            holder.mkdir()
            yield temporary
            empty = out.is_dir() and not any(out.iterdir())
            if equal(temporary, out):
                return
            if out.exists() and not empty and not overwrite:
                raise OutputError(f"{out} is there already and differs; `--overwrite` replaces it")
            if out.is_dir() != temporary.is_dir() and out.exists():
                raise OutputError(f"{out} is a {'folder' if out.is_dir() else 'file'}; give another output")
            put(temporary, out)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def put(source: Path, target: Path) -> None:
    """Move a file, or a folder whose files replace those of the same name."""
    if not source.is_dir() or not target.exists():
        source.replace(target)
        return
    for path in sorted(source.iterdir()):
        put(path, target / path.name)


def leftover(run: Path) -> list[str]:
    """Return the names in a folder that training would write over or remove."""
    files = [name for name in RUN_FILES if (run / name).exists()]
    return files + [name for name in RUN_FOLDERS if (run / name).is_dir() and any((run / name).iterdir())]


def check_new_run(run: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Raise OutputError unless a run may begin in a folder: nothing is read from it or would be lost.

    A tokenizer that the run uses may be where the run would save it.
    """
    inputs = [path for path in inputs if not same(path, run / "tokenizer")]
    for path in inputs:
        if same(path, run) or same(path.parent, run) or any(same(path.parent, run / n) for n in RUN_FOLDERS):
            raise OutputError(f"{run} holds {path}, which is read; give another folder as `--ckpt-path`")
    if foreign := [name for name in FOREIGN if (run / name).exists()]:
        raise OutputError(
            f"{run} holds {foreign[0]} of a tokenizer or model; give another folder as `--ckpt-path`"
        )
    if overwrite:
        return
    if found := steps(run):
        raise OutputError(f"{run} holds {found[-1].name} of a run already: add `--resume`, or `--overwrite`")
    kept = [name for name in leftover(run) if name != "tokenizer"]
    if kept:
        raise OutputError(
            f"{run} holds {', '.join(kept)} already: `--overwrite` removes them, `--resume auto` begins anew"
        )


def clear_run(run: Path) -> None:
    """Remove a run from its folder, but for its tokenizer, which the new one may use."""
    for name in leftover(run):
        if name in RUN_FILES:
            (run / name).unlink()
        elif name != "tokenizer":
            shutil.rmtree(run / name)
