"""What Python writes, and what it may replace: never a file that is read, and others only on request.

The extension does the same for token files, tokenizers and word counts (`rust/atomic/existing.rs`). Files are
compared by device and inode, after following links.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from tinybpe.errors import OutputError

STDIO = "-"
COMPARE_BYTES = 1 << 20
REMEDY = "give another name, or `overwrite=True` to replace it"


class Writable(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


def refuse_read(output: str | os.PathLike[str], read: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that is one of the files that are read; `-` is standard output, or input.

    Raises:
        OutputError: The file would be lost.
    """
    found = file_id(output, is_output=True)
    if found is None:
        return
    for path in read:
        if file_id(path, is_output=False) == found:
            same = "is also read" if path == output else f"is the same file as {path}, which is read"
            name = "standard output" if output == STDIO else output
            raise OutputError(f"{name}: {same} and would be lost; give another output")


def file_id(path: str | os.PathLike[str], *, is_output: bool) -> tuple[int, int] | None:
    """Return device and inode of a regular file, None for anything else."""
    try:
        # Not `sys.stdin`, which a program may have replaced by something without a descriptor.
        found = os.fstat(1 if is_output else 0) if path == STDIO else Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


class Comparison:
    """Takes the bytes that a file would have and raises at the first that differs from what it has."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def write(self, data: bytes) -> None:
        """Compare the next bytes.

        Raises:
            OutputError: They differ.
        """
        if self._file.read(len(data)) != data:
            raise differs(self._path)

    def end(self) -> None:
        """Compare the ends.

        Raises:
            OutputError: The file has more bytes.
        """
        if self._file.read(1):
            raise differs(self._path)


def differs(path: Path) -> OutputError:
    """Return the error about a file that is there and stays."""
    return OutputError(f"{path}: is there already and differs from what would be written; {REMEDY}")


@contextmanager
def whole_file(output: str, *, read: Iterable[str | os.PathLike[str]], overwrite: bool) -> Iterator[Writable]:
    """Open a file that appears under its name only when it is whole; `-` is standard output.

    A file that is there is compared with what is written, and stays, unless `overwrite`. A pipe or a terminal
    is written to as it is.

    Raises:
        OutputError: The file is one of those that are read, or another one that stays, or has no folder.
        IsADirectoryError: It is a directory.
    """
    refuse_read(output, read)
    if output == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        check_is_stream(path, mode)
        with path.open("wb") as stream:
            yield stream
        return
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
    if mode is not None and not overwrite:
        with path.open("rb") as there:
            comparison = Comparison(path, there)
            yield comparison
            comparison.end()
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~current_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def check_is_stream(path: Path, mode: int) -> None:
    """Refuse a directory, or a disk.

    Raises:
        IsADirectoryError: It is a directory.
        OutputError: It is a disk or a socket.
    """
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OutputError(f"{path}: is neither a file nor a pipe; give another output")


def move_files(
    files: Mapping[Path, Path], *, read: Iterable[str | os.PathLike[str]], overwrite: bool
) -> None:
    """Move whole files to their places, in this order; nothing is moved if one of them may not be.

    Args:
        files: Where each file is to go.
        read: Files that stay whatever is asked, unless they are what would be written.
        overwrite: Replace other files.

    Raises:
        OutputError: A file that is there would be lost.
        IsADirectoryError: A directory is there.
    """
    read = list(read)
    moved = {}
    for source, target in files.items():
        if target.exists():
            if target.is_dir():
                raise IsADirectoryError(21, "Is a directory", str(target))
            if not target.is_file():
                raise OutputError(f"{target}: is a device or a pipe, and a file is to be written here")
            if same_content(source, target):
                continue
            refuse_read(target, read)
            if not overwrite:
                raise differs(target)
        moved[source] = target
    for source, target in moved.items():
        source.replace(target)


def same_content(left: Path, right: Path) -> bool:
    """Whether two files hold the same bytes."""
    if left.stat().st_size != right.stat().st_size:
        return False
    with left.open("rb") as one, right.open("rb") as other:
        while part := one.read(COMPARE_BYTES):
            if part != other.read(COMPARE_BYTES):
                return False
    return True


def current_umask() -> int:
    """Return the umask, which can be read only by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
