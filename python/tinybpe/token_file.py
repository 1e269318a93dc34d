"""Token files as Python reads them: raw little-endian ids in `x.bin`, a sidecar in `x.bin.json`.

The extension writes both, the sidecar last, so a file without one is unfinished unless its name says its
dtype (`x.uint16.bin`, `x.uint32.bin`: the convention of files from elsewhere).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybpe.errors import TokenFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = "tinybpe-token-file"
VERSION = 1
ITEM_BYTES = {"uint16": 2, "uint32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileInfo:
    """What a token file holds."""

    path: Path
    """The token file itself."""
    dtype: str
    """`uint16` or `uint32`, little-endian."""
    num_tokens: int
    """Ids in the file."""
    num_documents: int
    """Documents: each ends at a special token or at the end of an input file."""
    num_bytes: int
    """Bytes of text that were encoded."""
    vocab_size: int
    """Ids that the tokenizer has."""
    tokenizer_sha256: str
    """The digest of the tokenizer, equal to `Tokenizer.sha256`."""
    sources: tuple[tuple[str, int], ...]
    """Name and size in bytes of each input file."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TokenFileInfo:
        """Read the sidecar of a token file and check the file's size against it.

        Raises:
            FileNotFoundError: There is no such token file, or it has no sidecar.
            TokenFileError: The sidecar is damaged or of another version, or the size of the file differs.
        """
        path = Path(path)
        sidecar = sidecar_path(path)
        num_bytes_found = path.stat().st_size
        try:
            content = json.loads(sidecar.read_bytes())
        except (ValueError, RecursionError) as error:
            raise TokenFileError(f"{sidecar}: not JSON ({error}); encode the text again") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise TokenFileError(f"{sidecar}: not the sidecar of a token file; encode the text again")
        if content.get("version") != VERSION:
            found = content.get("version")
            raise TokenFileError(
                f"{sidecar}: version {found!r}, this build reads {VERSION}; encode the text again"
            )
        info = cls.from_sidecar(path, content)
        expected = info.num_tokens * ITEM_BYTES[info.dtype]
        if num_bytes_found != expected:
            raise TokenFileError(
                f"{path}: {num_bytes_found:,} bytes, but {info.num_tokens:,} tokens of {info.dtype} are "
                f"{expected:,} bytes; the file was cut or changed, encode the text again"
            )
        return info

    @classmethod
    def from_sidecar(cls, path: str | os.PathLike[str], content: Mapping[str, Any]) -> TokenFileInfo:
        """Build it from the content of a sidecar.

        Raises:
            TokenFileError: A field is missing or of the wrong type.
        """
        path = Path(path)
        try:
            dtype = content["dtype"]
            if dtype not in ITEM_BYTES:
                raise ValueError(f"dtype {dtype!r} is neither {' nor '.join(ITEM_BYTES)}")
            numbers = {}
            for name in ("num_tokens", "num_documents", "num_bytes", "vocab_size"):
                numbers[name] = content[name]
                if type(numbers[name]) is not int or numbers[name] < 0:
                    raise ValueError(f"{name} is {numbers[name]!r}")
            return cls(
                path=path,
                dtype=dtype,
                tokenizer_sha256=str(content["tokenizer_sha256"]),
                sources=tuple(
                    (str(source["path"]), int(source["num_bytes"])) for source in content["sources"]
                ),
                **numbers,
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise TokenFileError(f"{sidecar_path(path)}: {reason}; encode the text again") from None


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a token file stands."""
    return path.with_name(path.name + ".json")


def open_ids(path: str | os.PathLike[str], dtype: str | None = None) -> NDArray[np.unsignedinteger[Any]]:
    """Map the ids of a token file, (num_tokens,), without reading them all.

    Args:
        path: A token file. Its sidecar says the dtype, else its name does.
        dtype: `uint16` or `uint32`, for a file that has neither.

    Raises:
        TokenFileError: The dtype is not known or contradicts the sidecar, or the size does not fit.
    """
    path = Path(path)
    if sidecar_path(path).exists():
        known: str | None = TokenFileInfo.read(path).dtype
    else:
        known = next((name for name in ITEM_BYTES if path.name.endswith(f".{name}.bin")), None)
    if dtype is not None and known is not None and dtype != known:
        raise TokenFileError(f"{path}: its ids are {known}, not {dtype}")
    dtype = dtype or known
    size = path.stat().st_size
    if dtype is None:
        raise TokenFileError(
            f"{path}: no {sidecar_path(path).name} beside it, so it is unfinished or comes from elsewhere; "
            f"encode the text again, or say its dtype ({', '.join(ITEM_BYTES)})"
        )
    if size % ITEM_BYTES[dtype]:
        raise TokenFileError(
            f"{path}: {size:,} bytes are no whole number of {dtype} ids of {ITEM_BYTES[dtype]} bytes each; "
            "the file was cut, encode the text again"
        )
    import numpy as np

    little_endian = np.dtype(dtype).newbyteorder("<")
    if size == 0:
        return np.empty(0, dtype=little_endian)
    return np.memmap(path, dtype=little_endian, mode="r")
