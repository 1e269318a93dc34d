"""Token files on disk: which files a name means, and the ids of each.

A name means, whichever comes first:

1. the file of that name;
2. a folder: the token files in it, which have to be one set;
3. a pattern such as `web-*.bin` (quoted, so that the shell leaves it alone): the files that match, by name;
4. the name that a set of shards was written under: `web.bin` is `web-00000.bin`, `web-00001.bin`, … or
   `web-00000-of-00004.bin`, …, as `tinybpe encode --output web.bin --shard-tokens N` writes them.

For 2 and 4, shards that are missing are an error; patterns and lists of files may leave some out on purpose,
to validate on them.

| layout | before the ids | known by |
|---|---|---|
| `bin`, `datatrove` | nothing | the sidecar, or a name such as `x.uint16.bin` |
| `npy` | NumPy's header | the name `x.npy` |
| `llm.c` | 256 int32: magic number, version, number of tokens | the sidecar, or that header itself |

Ids are little-endian. The sidecar `x.bin.json` says the type of the ids, how many there are, and which
tokenizer made them.
"""

import errno
import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lm.config import UserError

TYPES = {"uint16": "<u2", "uint32": "<u4"}
ENDINGS = (".uint16.bin", ".uint32.bin", ".bin", ".npy", ".ds")
# llm.c: (magic number, version) -> type of the ids; https://github.com/karpathy/llm.c/blob/master/dev/data/data_common.py
LLM_C = {(20240520, 1): "uint16", (20240801, 7): "uint32"}
LLM_C_HEADER_BYTES = 1024
NUMBER = re.compile(r"(?P<stem>.*?)[-_.]?(?P<index>\d+)(?P<count>-of-\d+)?")

Given = str | Path | Sequence[str] | Sequence[Path]  # a name as above, or several


class TokenFileError(UserError):
    """A token file that cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A token file, mapped into memory."""

    path: Path
    dtype: str  # a name in TYPES
    ids: NDArray[Any]
    sidecar: dict[str, Any] = field(default_factory=dict)  # empty where there is none


def split_ending(name: str) -> tuple[str, str]:
    """Return a file's name without the ending that makes it a token file, and that ending ("" if none)."""
    ending = next((e for e in ENDINGS if name.endswith(e) and name != e), "")
    return name.removesuffix(ending), ending


def set_name(path: Path) -> str:
    """Return what the files of a set have in common: `web-*.bin` of `web-00003.bin`, else the name itself."""
    stem, ending = split_ending(path.name)
    numbered = NUMBER.fullmatch(stem)
    return f"{numbered['stem']}-*{numbered['count'] or ''}{ending}" if numbered else path.name


def only_set(files: Sequence[Path], given: Path) -> list[Path]:
    """Return the files, which have to be one set, none of it missing."""
    names = sorted({set_name(path) for path in files})
    if len(names) > 1:
        raise TokenFileError(f"{given} is not one set of token files: there are {', '.join(names)}; name one")
    shards = [s for path in files if isinstance(s := read_sidecar(path).get("shard"), dict)]
    if len(shards) < len(files):  # from elsewhere; or not finished, and then its type is unknown
        return list(files)
    for number, (path, shard) in enumerate(zip(files, shards, strict=True)):
        if shard.get("run_sha256") != shards[0].get("run_sha256"):
            raise TokenFileError(
                f"{path} was not written together with {files[0].name}; encode the text again"
            )
        if shard.get("index") != number:
            raise TokenFileError(f"{given}: shard {number} is missing; the next one is {path.name}")
    if not shards[-1].get("last"):
        raise TokenFileError(
            f"{given}: there is no shard after {files[-1].name}; go on with `tinybpe encode --resume`"
        )
    return list(files)


def find_files(given: Given) -> list[Path]:
    """Return the token files that a name means, or several names; see the top of this file.

    Raises:
        FileNotFoundError: There is none.
        TokenFileError: A folder or name that means several sets, a set of which shards are missing, or a file
            given twice.
    """
    if not isinstance(given, str | Path):
        files = [path for name in given for path in find_files(name)]
        if twice := [path for path in files if files.count(path) > 1]:
            raise TokenFileError(f"{twice[0]} is given twice")
        return files
    path = Path(given)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if split_ending(p.name)[1] and p.is_file())
        if not files:
            raise TokenFileError(f"{path} is a folder without token files ({', '.join(ENDINGS[2:])})")
        return only_set(files, path)
    if path.exists():
        return [path]
    if glob.has_magic(str(given)):
        matches = sorted(Path(name) for name in glob.glob(str(given), recursive=True))  # noqa: PTH207 - may be absolute
        if files := [p for p in matches if p.is_file() and split_ending(p.name)[1]]:
            return files
        raise FileNotFoundError(errno.ENOENT, "no token file matches this pattern", str(given))
    stem, ending = split_ending(path.name)
    shard = re.compile(re.escape(stem) + r"-\d{5,}(-of-\d{5,})?" + re.escape(ending))
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    if files := sorted(p for p in beside if shard.fullmatch(p.name)):
        return only_set(files, path)
    reason = f"no such token file, and no shards of it ({stem}-00000{ending}, ...)"
    raise FileNotFoundError(errno.ENOENT, reason, str(given))


def vocab_size_of(given: Given) -> int | None:
    """Return the vocabulary's size that the sidecar of the (first) token file names, if it does."""
    size = read_sidecar(find_files(given)[0]).get("vocab_size")
    return size if isinstance(size, int) and size > 0 else None


def open_shard(path: Path, dtype: str | None = None) -> Shard:
    """Map a token file.

    Args:
        path: The file; empty ones are allowed.
        dtype: A name in `TYPES`, for files that do not tell.

    Raises:
        OSError: not there or not readable.
        TokenFileError: type unknown, odd size, or not what its sidecar says.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise TokenFileError(f"{path} is not a file")
    sidecar = read_sidecar(path)
    layout = sidecar.get("layout", "npy" if path.suffix == ".npy" else "bin")
    ids: NDArray[Any]
    if layout == "npy":
        ids = open_npy(path)
        known = check_dtype(path, sidecar, {v: k for k, v in TYPES.items()}[ids.dtype.str], dtype)
    else:
        header = llm_c_dtype(path, size) if layout == "llm.c" or not sidecar else None
        if layout not in ("bin", "datatrove", "llm.c") or (layout == "llm.c" and header is None):
            problem = (
                "is damaged: it has not llm.c's header" if layout == "llm.c" else f"has the layout {layout!r}"
            )
            raise TokenFileError(f"{path} {problem}; encode the text again")
        known = check_dtype(path, sidecar, header, dtype)
        start, kind = LLM_C_HEADER_BYTES if header else 0, np.dtype(TYPES[known])
        if (size - start) % kind.itemsize:
            raise TokenFileError(f"{path} has {size} bytes, not a multiple of {kind.itemsize} ({known})")
        # an empty file cannot be mapped
        ids = np.memmap(path, kind, "r", start) if size > start else np.empty(0, kind)
    count = sidecar.get("num_tokens", len(ids))
    if count != len(ids):
        raise TokenFileError(f"{path} holds {len(ids)} tokens, but its sidecar says {count}")
    return Shard(path, known, ids, sidecar)


def open_npy(path: Path) -> NDArray[Any]:
    """Map an array of ids as NumPy saves it."""
    try:
        ids: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TokenFileError(f"{path} is damaged or no .npy file: {error}") from None
    if ids.ndim != 1 or ids.dtype.str not in TYPES.values():
        raise TokenFileError(
            f"{path} has {ids.ndim} dimensions of {ids.dtype.str}, expected one of {' or '.join(TYPES)}"
        )
    return ids


def llm_c_dtype(path: Path, size: int) -> str | None:
    """Return the type of the ids that llm.c's header names, None if the file does not begin with one."""
    with path.open("rb") as file:
        head = file.read(12)
    if len(head) < 12 or size < LLM_C_HEADER_BYTES:
        return None
    magic, version, count = np.frombuffer(head, "<i4").tolist()
    dtype = LLM_C.get((magic, version))
    fits = dtype is not None and LLM_C_HEADER_BYTES + count * np.dtype(TYPES[dtype]).itemsize == size
    return dtype if fits else None


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the content of a token file's sidecar, or nothing if it has none; TokenFileError if damaged."""
    sidecar = path.with_name(path.name + ".json")
    try:
        told = json.loads(sidecar.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # the latter: nested a thousand levels deep
        raise TokenFileError(f"{sidecar} is damaged: {error}") from None
    if not isinstance(told, dict) or told.get("format") != "tinybpe-token-file":
        raise TokenFileError(f"{sidecar} is not the sidecar of a token file")
    if (version := told.get("version")) != 1:
        raise TokenFileError(f"{sidecar} has version {version}, this program reads version 1")
    return told


def check_dtype(path: Path, sidecar: dict[str, Any], header: str | None, asked: str | None) -> str:
    """Return the type of the ids, from the file's header, its sidecar, its name, or the caller, who agree."""
    suffix = next((name for name in TYPES if path.name.endswith(f".{name}.bin")), None)
    known = header or sidecar.get("dtype") or suffix or asked
    if header and sidecar.get("dtype", header) != header:
        raise TokenFileError(f"{path} holds {header} ids, but its sidecar says {sidecar['dtype']}")
    if asked not in (None, known):
        raise TokenFileError(f"{path} holds {known} ids, but {asked} was asked for")
    if known not in list(TYPES):
        raise TokenFileError(
            f"the type of the ids in {path} is unknown: it has no sidecar {path.name}.json; "
            "name it *.uint16.bin or *.uint32.bin, or give `--dtype uint16`"
        )
    return str(known)
