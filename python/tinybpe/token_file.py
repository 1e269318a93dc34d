"""Token files as Python reads them: little-endian ids in `x.bin`, a sidecar in `x.bin.json`.

The extension writes both, in one of several layouts (`rust/token_file/layout.rs`), the sidecar last, so a
file without one is unfinished unless its name says its dtype (`x.uint16.bin`, `x.uint32.bin`: the convention
of files from elsewhere).
"""

import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tinybpe.arguments import (
    StrPath,
    check_flags,
    check_num_threads,
    check_type,
    path_string,
    whole_number,
)
from tinybpe.errors import TinyBPEWarning, TokenFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["bin", "npy", "llm.c", "datatrove"]

FORMAT = "tinybpe-token-file"
VERSION = 1
ITEM_BYTES = {"uint16": 2, "uint32": 4}
HEADER_BYTES = {"bin": 0, "npy": 128, "llm.c": 1024, "datatrove": 0}
READ_BYTES = 1 << 22
MAX_SHARDS = 99_999
DOCUMENT_END_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileInfo:
    """What a token file holds.

    Example:
        >>> from tinybpe import Tokenizer
        >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], 259, special_tokens=["<|endoftext|>"])
        >>> info = tokenizer.encode_documents(["low", "lower"], "low.bin", docs=True)
        >>> info.num_tokens, info.num_documents
        (6, 2)
        >>> info.ids()[:2].tolist(), info.document(1).tolist()
        ([257, 258], [257, 101, 114, 258])
    """

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
    layout: str = "bin"
    """What trainer reads it: `bin` (ids alone), `npy`, `llm.c` or `datatrove`."""
    vocab_size: int
    """Ids that the tokenizer has."""
    tokenizer_sha256: str
    """The digest of the tokenizer, equal to `Tokenizer.sha256`."""
    sources: tuple[tuple[str, int], ...]
    """Name and size in bytes of each input file that the ids come from."""
    end_of_document: str | None = None
    """The special token that ends documents, if there is one."""
    crc32: int | None = None
    """The checksum of the ids, as `zlib.crc32` gives it."""
    shards: "tuple[TokenFileInfo, ...]" = ()
    """The token files of a set that was written as several; all numbers are sums then."""
    num_kept_shards: int = 0
    """How many of the shards, the first ones, an earlier run had finished."""

    @classmethod
    def read(cls, path: StrPath, *, verify: bool = False) -> Self:
        """Read the sidecar of a token file and check the file's size against it.

        Args:
            path: The token file.
            verify: Also read all ids and compare their checksum.

        Raises:
            FileNotFoundError: There is no such token file, or it has no sidecar.
            TokenFileError: The sidecar is damaged or of another version, or the size of the file differs.
        """
        path = Path(path_string("path", path))
        check_flags(verify=verify)
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
        expected = HEADER_BYTES[info.layout] + info.num_tokens * ITEM_BYTES[info.dtype]
        if num_bytes_found != expected:
            raise TokenFileError(
                f"{path}: {num_bytes_found:,} bytes, but {info.num_tokens:,} tokens of {info.dtype} are "
                f"{expected:,} bytes; the file was cut or changed, encode the text again"
            )
        if verify:
            info.verify()
        return info

    def verify(self) -> None:
        """Read all ids and compare their checksum with that of the sidecar.

        Raises:
            TokenFileError: The ids have changed, or the sidecar is an older one without a checksum.
        """
        if self.crc32 is None:
            raise TokenFileError(f"{sidecar_path(self.path)}: has no checksum; encode the text again")
        checksum = 0
        with self.path.open("rb") as file:
            file.seek(HEADER_BYTES[self.layout])
            while part := file.read(READ_BYTES):
                checksum = zlib.crc32(part, checksum)
        if checksum != self.crc32:
            raise TokenFileError(
                f"{self.path}: its ids are not those that were written; the file is damaged, encode again"
            )

    def ids(self) -> "NDArray[np.unsignedinteger[Any]]":
        """Return the ids, (num_tokens,), as a read-only array that reads from the file what is used of it.

        Raises:
            TokenFileError: The file is not that of its sidecar any more, or this is a set of several files,
                whose `shards` have ids.
        """
        self._check_one_file()
        return open_ids(self.path, self.dtype)

    def document(self, index: int) -> "NDArray[np.unsignedinteger[Any]]":
        """Return the ids of one document, (num_tokens_of_it,), its end token among them; the first is 0.

        Raises:
            IndexError: There is no such document.
            TokenFileError: The file was written without `docs`, or see `ids`.
        """
        self._check_one_file()
        index = whole_number("index", index)
        if not 0 <= index < self.num_documents:
            raise IndexError(
                f"index={index}: {self.path} has {self.num_documents:,} documents, the first is 0"
            )
        import numpy as np

        ends_path = self.path.with_name(
            f"{self.path.name}.{'index' if self.layout == 'datatrove' else 'docs'}"
        )
        if not ends_path.exists():
            raise TokenFileError(
                f"{ends_path}: not there, so nothing says where documents end; encode again with docs=True"
            )
        if ends_path.stat().st_size != self.num_documents * DOCUMENT_END_BYTES:
            raise TokenFileError(f"{ends_path}: not of {self.num_documents:,} documents; encode again")
        ends = np.memmap(ends_path, dtype="<u8", mode="r")
        start = int(ends[index - 1]) if index else 0
        return self.ids()[start : int(ends[index])]

    def _check_one_file(self) -> None:
        if self.shards:
            first = self.shards[0].path
            raise TokenFileError(f"{self.path}: is a set of {len(self.shards):,} files; take one, as {first}")

    @classmethod
    def from_sidecar(cls, path: StrPath, content: Mapping[str, Any]) -> Self:
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
            layout = content.get("layout", "bin")
            if layout not in HEADER_BYTES:
                raise ValueError(f"layout {layout!r} is none of {', '.join(HEADER_BYTES)}")
            end, crc32 = content.get("end_of_document"), content.get("crc32")
            if not isinstance(end, str | None) or not (crc32 is None or type(crc32) is int):
                raise ValueError(f"end_of_document is {end!r}, crc32 {crc32!r}")
            return cls(
                path=path,
                dtype=dtype,
                layout=layout,
                end_of_document=end,
                crc32=crc32,
                tokenizer_sha256=str(content["tokenizer_sha256"]),
                sources=tuple(
                    (str(source["path"]), int(source["num_bytes"])) for source in content["sources"]
                ),
                **numbers,
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise TokenFileError(f"{sidecar_path(path)}: {reason}; encode the text again") from None

    @classmethod
    def of_set(cls, output: StrPath, shards: "Sequence[TokenFileInfo]") -> "TokenFileInfo":
        """Add up the token files of one run; `path` is the name that theirs are made from."""
        first = shards[0]
        sources = dict.fromkeys(source for shard in shards for source in shard.sources)
        return replace(
            first,
            path=Path(output),
            num_tokens=sum(shard.num_tokens for shard in shards),
            num_documents=sum(shard.num_documents for shard in shards),
            num_bytes=sum(shard.num_bytes for shard in shards),
            sources=tuple(sources),
            crc32=None,
            shards=tuple(shards),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCount:
    """What a token file of one input would hold."""

    path: str
    """The input file."""
    num_tokens: int
    """Ids, those that end documents among them."""
    num_documents: int
    """Documents: each ends at its end token or at the end of the file."""
    num_bytes: int
    """Bytes of text."""


def token_file_options(
    *,
    ordinary: bool,
    end_of_document: str | None,
    format: Format | None = None,
    dtype: str | None = None,
    docs: bool = False,
    shards: int | None = None,
    shard_tokens: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    also_read: Sequence[str] = (),
    num_threads: int | None,
) -> dict[str, Any]:
    """Return the options of a token file as the extension takes them; `also_read` are inputs unknown to it.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A number is too small, an unknown name, or both kinds of shards are asked for.
    """
    check_flags(ordinary=ordinary, docs=docs, resume=resume, overwrite=overwrite)
    names = {"end_of_document": "a special token as a str, '' for none, or None"}
    names |= {"format": f"one of {', '.join(HEADER_BYTES)}", "dtype": " or ".join(ITEM_BYTES)}
    for name, text in (("end_of_document", end_of_document), ("format", format), ("dtype", dtype)):
        check_type(name, text, (str, type(None)), names[name])
    numbers: dict[str, int | None] = {"shards": shards, "shard_tokens": shard_tokens}
    for name, value in numbers.items():
        if value is None:
            continue
        numbers[name] = value = whole_number(name, value)
        if not 1 <= value < 2**63 or (name == "shards" and value > MAX_SHARDS):
            most = f" and at most {MAX_SHARDS:,}" if name == "shards" else ""
            raise ValueError(f"{name}={value}: give at least 1{most}")
    if shards is not None and shard_tokens is not None:
        raise ValueError(f"shards={shards} and shard_tokens={shard_tokens} exclude each other; give one")
    if format is not None and format not in HEADER_BYTES:
        raise ValueError(f"format={format!r} is none of {', '.join(HEADER_BYTES)}")
    if resume and shards is None and shard_tokens is None:
        raise ValueError(
            "resume=True keeps the whole shards of a run that was stopped, and one file has none; "
            "give `shards` or `shard_tokens` as well"
        )
    if dtype is not None and dtype not in ITEM_BYTES:
        raise ValueError(f"dtype={dtype!r} is none of {', '.join(ITEM_BYTES)}")
    return {
        "ordinary": ordinary,
        "end_of_document": end_of_document,
        "format": format,
        "dtype": dtype,
        "docs": docs,
        **numbers,
        "resume": resume,
        "overwrite": overwrite,
        "also_read": also_read,
        "num_threads": check_num_threads(num_threads),
        "chunk_bytes": None,
    }


def written_info(
    output: StrPath,
    written: Sequence[tuple[str, Mapping[str, Any]]],
    num_kept: int,
    *,
    is_set: bool,
    shard_tokens: int | None,
) -> TokenFileInfo:
    """Return what a run has written; warns of no text, and of shards that are not as they were asked for."""
    infos = [TokenFileInfo.from_sidecar(path, sidecar) for path, sidecar in written]
    if not sum(info.num_bytes for info in infos):
        warnings.warn(f"{output}: there was no text to encode", TinyBPEWarning, stacklevel=3)
    if not is_set:
        return infos[0]
    info, whole = max(infos, key=lambda info: info.num_tokens), TokenFileInfo.of_set(output, infos)
    is_uncut = whole.num_documents <= len(whole.sources)
    if shard_tokens and is_uncut and info.num_tokens > 2 * shard_tokens:
        end = "" if info.end_of_document is None else f" at a {info.end_of_document!r}"
        message = (
            f"{info.path.name} has {info.num_tokens:,} tokens, since no document ends within its text{end}"
        )
        warnings.warn(message, TinyBPEWarning, stacklevel=3)
    empty = [info.path.name for info in infos if info.num_tokens == 0]
    if empty and len(infos) > 1:
        message = f"no document falls into {', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}"
        warnings.warn(f"{message}; fewer shards fit these documents", TinyBPEWarning, stacklevel=3)
    return replace(whole, num_kept_shards=num_kept)


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a token file stands."""
    return path.with_name(path.name + ".json")


def is_token_file(path: Path) -> bool:
    """Whether a sidecar says that it is one."""
    try:
        content = json.loads(sidecar_path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def open_ids(path: StrPath, dtype: str | None = None) -> "NDArray[np.unsignedinteger[Any]]":
    """Map the ids of a token file, (num_tokens,), without reading them all.

    Args:
        path: A token file. Its sidecar says the dtype, else its name does.
        dtype: `uint16` or `uint32`, for a file that has neither.

    Raises:
        TokenFileError: The dtype is not known or contradicts the sidecar, or the size does not fit.
    """
    path = Path(path)
    header_bytes = 0
    if sidecar_path(path).exists():
        info = TokenFileInfo.read(path)
        known: str | None = info.dtype
        header_bytes = HEADER_BYTES[info.layout]
    else:
        known = next((name for name in ITEM_BYTES if path.name.endswith(f".{name}.bin")), None)
    if dtype is not None and known is not None and dtype != known:
        raise TokenFileError(f"{path}: its ids are {known}, not {dtype}")
    dtype = dtype or known
    size = path.stat().st_size - header_bytes
    if dtype is None:
        raise TokenFileError(
            f"{path}: no {sidecar_path(path).name} beside it, so it is unfinished or comes from elsewhere; "
            f"encode the text again, or say its dtype with `dtype` ({', '.join(ITEM_BYTES)})"
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
    return np.memmap(path, dtype=little_endian, mode="r", offset=header_bytes)
