"""What a corpus may come as: plain text, lines of JSON, Parquet; and what is refused because it is neither.

The extension reads text and JSON lines, `.gz` and `.zst` of both, by itself. Parquet goes through `pyarrow`,
an optional dependency, which hands over one batch of rows after the other.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinybpe.arguments import check_type
from tinybpe.errors import InputError, TinyBPEWarning
from tinybpe.suggest import closest
from tinybpe.token_file import is_token_file

STDIO = "-"
COMPRESSED = (".gz", ".zst")
OTHER_COMPRESSED = (".bz2", ".xz", ".zip", ".7z", ".lz4", ".br", ".Z")
JSON_LINES = (".jsonl", ".ndjson", ".json")
PARQUET = ".parquet"
ROWS_PER_BATCH = 256
LOOK_BYTES = 4096


def check_form(paths: Sequence[str], field: str | None, column: str | None) -> None:
    """Refuse files that are not what the caller says, as far as their names tell.

    Raises:
        ValueError: Both `field` and `column` are given, or one is empty.
        InputError: A Parquet file without `column`, or a compression that is not read here.
    """
    for name, value in (("field", field), ("column", column)):
        check_type(name, value, (str, type(None)), f"the name of the {name} that holds the text, or None")
        if value == "":
            raise ValueError(f"{name} is empty; give the name of the one that holds the text")
    if field is not None and column is not None:
        raise ValueError(
            f"field={field!r} is for JSON lines and column={column!r} for Parquet; give one of them"
        )
    for path in paths:
        suffixes = [suffix.lower() for suffix in Path(path).suffixes]
        if suffixes[-1:] and suffixes[-1] in OTHER_COMPRESSED:
            raise InputError(
                f"{path}: {suffixes[-1]} is not decompressed here, only {' and '.join(COMPRESSED)}; "
                "decompress it, or pipe it into standard input, `-`"
            )
        plain = next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSED), "")
        if plain == PARQUET and column is None:
            raise InputError(f"{path}: is Parquet, not text; give the one that holds the text as `column`")
        if column is not None and path == STDIO:
            raise InputError("standard input cannot be read as Parquet, which needs a file")
        if plain in JSON_LINES and field is None and column is None:
            message = (
                f"{path} is taken as plain text, braces and all; give the one that holds the text as `field`"
            )
            warnings.warn(message, TinyBPEWarning, stacklevel=4)
        if path != STDIO:
            check_content(path, suffixes)


def check_content(path: str, suffixes: Sequence[str]) -> None:
    """Refuse a token file, and warn of what is hardly text, as far as a look at the start tells.

    Raises:
        InputError: A token file, known by its sidecar.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode) or suffixes[-1:] in ([PARQUET], [".gz"], [".zst"]):
            return
        if is_token_file(Path(path)):
            raise InputError(f"{path}: is a token file, not text; `tinybpe decode` makes text of it")
        with Path(path).open("rb") as file:
            start = file.read(LOOK_BYTES)
    except OSError:
        return  # told by the call that reads it
    if b"\0" in start:
        utf16 = start[:2] in (b"\xff\xfe", b"\xfe\xff")
        what = "is UTF-16; convert it to UTF-8" if utf16 else "has NUL bytes, so it is hardly text"
        warnings.warn(f"{path} {what}", TinyBPEWarning, stacklevel=5)


def parquet_sources(paths: Sequence[str]) -> list[tuple[str, int]]:
    """Return name and size of each file."""
    return [(Path(path).name, Path(path).stat().st_size) for path in paths]


def parquet_texts(paths: Sequence[str], column: str) -> Iterator[str | bytes]:
    """Yield the text of each row; memory is bounded by the row groups of the files.

    Raises:
        InputError: `pyarrow` is not installed; a file is damaged or no Parquet; there is no such column, it
            holds something else than text, or a row has none.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            "reading Parquet needs pyarrow, which is not installed: pip install 'tinybpe-lm[parquet]'"
        ) from None
    for path in paths:
        num_rows = 0
        try:
            with pq.ParquetFile(path) as file:
                check_column(path, file.schema_arrow, column)
                for batch in file.iter_batches(ROWS_PER_BATCH, columns=[column]):
                    texts = batch.column(0).to_pylist()
                    if None in texts:
                        row = num_rows + texts.index(None)
                        raise InputError(f"{path}: row {row} has no text in the column {column!r}")
                    num_rows += len(texts)
                    yield from texts
        except pa.ArrowException as error:
            # Its messages may have several lines, and do not name the file.
            reason = str(error).split("\n")[0]
            raise InputError(f"{path}: cannot be read as Parquet: {reason}") from None


def check_column(path: str | os.PathLike[str], schema: Any, column: str) -> None:
    """Refuse a column that is not there or holds no text.

    Raises:
        InputError: See above.
    """
    import pyarrow as pa

    if column not in schema.names:
        hint = closest(column, schema.names)
        raise InputError(
            f"{path}: has no column {column!r}{hint}; it has {', '.join(map(repr, schema.names))}"
        )
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(test(kind) for test in is_text):
        raise InputError(f"{path}: the column {column!r} holds {kind}, not text")
