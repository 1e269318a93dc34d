"""Token files, and windows drawn from them.

A token file is raw little-endian ids. Beside `x.bin` may stand `x.bin.json`, which says the type of the ids,
how many there are, and which tokenizer made them; a bare file tells its type by a name like `x.uint16.bin`.

Which windows make up a step is a pure function of (seed, step), so that resuming needs nothing but the step,
and any number of processes sees the same order. A window is never shuffled in memory: position `i` of an
epoch is mapped to a window by a keyed permutation (a Feistel network, walked until it lands inside), which
costs the same for any size of file. NumPy's own `permutation` would need memory for all windows and may
change between versions.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.config import UserError

TYPES = {"uint16": "<u2", "uint32": "<u4"}


class TokenFileError(UserError):
    """A token file that cannot be used as it is."""


class TokenFile:
    """A memory-mapped token file.

    `dtype` is a name in `TYPES`, for files that do not tell. Ids have to be below `vocab_size`: checked here
    as far as the sidecar tells, in `windows` one by one.

    Raises:
        OSError: not there or not readable.
        TokenFileError: type unknown, odd size, or not what its sidecar says.
    """

    def __init__(self, path: str | Path, *, dtype: str | None = None, vocab_size: int | None = None) -> None:
        self.path, self.vocab_size = Path(path), vocab_size
        size, fits = self.path.stat().st_size, TokenFileError.unless
        fits(self.path.is_file(), f"{path} is not a file")
        self.sidecar = told = read_sidecar(self.path)
        self.tokenizer_sha256: str | None = told.get("tokenizer_sha256")
        self.dtype = token_dtype(self.path, told, dtype)
        layout, width = told.get("layout", "bin"), self.dtype.itemsize
        fits(layout in ("bin", "datatrove"), f"{path} has the header of {layout}; encode the text as `bin`")
        fits(size > 0, f"{path} is empty")
        fits(size % width == 0, f"{path} has {size} bytes, not a multiple of {width} ({self.dtype.name})")
        self.num_tokens = size // width
        count = told.get("num_tokens", self.num_tokens)
        fits(count == self.num_tokens, f"{path} holds {self.num_tokens} tokens, but its sidecar says {count}")
        made_for = told.get("vocab_size")
        if vocab_size is not None and isinstance(made_for, int):
            made = f"{path} was made with a vocabulary of {made_for}, the model has {vocab_size}"
            fits(made_for <= vocab_size, made)
        self.ids: NDArray[Any] = np.memmap(self.path, dtype=self.dtype, mode="r")

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Return (len(starts), length) ids; TokenFileError if one is not below `vocab_size`."""
        batch = np.empty((len(starts), length), dtype=np.int64)
        for row, start in zip(batch, starts, strict=True):
            row[:] = self.ids[start : start + length]
        if self.vocab_size is not None and batch.size and batch.max() >= self.vocab_size:
            raise TokenFileError(
                f"{self.path} holds id {batch.max()}, but the vocabulary has {self.vocab_size}: "
                "wrong `--vocab-size`, or the file's ids are of another type"
            )
        return batch

    def fingerprint(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data, to notice another file on resume.

        The digest is of pieces spread over the file: reading all of a large one would take minutes.
        """
        hasher = hashlib.sha256()
        for start in np.linspace(0, max(0, self.num_tokens - 2048), 64).astype(np.int64):
            hasher.update(self.ids[start : start + 2048].tobytes())
        told = {"num_tokens": self.num_tokens, "pieces_sha256": hasher.hexdigest()[:16]}
        return told | {"tokenizer_sha256": self.tokenizer_sha256}


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
    version = told.get("version")
    TokenFileError.unless(version == 1, f"{sidecar} has version {version}, this program reads version 1")
    return told


def token_dtype(path: Path, sidecar: dict[str, Any], told: str | None) -> np.dtype[Any]:
    """Return the little-endian type of the ids, from the sidecar, the file's name, or the caller."""
    suffix = next((name for name in TYPES if path.name.endswith(f".{name}.bin")), None)
    known = sidecar.get("dtype") or suffix or told
    TokenFileError.unless(told in (None, known), f"{path} holds {known} ids, but {told} was asked for")
    if known not in list(TYPES):
        raise TokenFileError(
            f"the type of the ids in {path} is unknown: it has no sidecar {path.name}.json; "
            "name it *.uint16.bin or *.uint32.bin, or give `--dtype uint16`"
        )
    return np.dtype(TYPES[known])


def mix(x: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Return well-mixed 64-bit values (the finaliser of SplitMix64)."""
    z = x + np.uint64((key * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def permute(positions: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Map each of 0 .. size-1 to another of them, one to one, in an order that `key` decides.

    Six Feistel rounds on the smallest even number of bits that holds `size`; values that land outside are
    sent through again: on average, at most four rounds of work.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    out = positions.astype(np.uint64)
    todo = np.ones(out.shape, dtype=bool)
    while todo.any():
        left, right = out[todo] >> np.uint64(half), out[todo] & mask
        for step in range(6):
            left, right = right, left ^ (mix(right, key * 8 + step) & mask)
        out[todo] = (left << np.uint64(half)) | right
        todo = out >= size
    return out.astype(np.int64)


class Sampler:
    """Says where the `batch_size` windows of each step start, over all processes.

    A window is `length` tokens to predict, and one before. `kind` is "shuffled": each window once an epoch;
    or "random": places drawn with replacement. TokenFileError if the file has no single window.
    """

    def __init__(
        self, num_tokens: int, length: int, batch_size: int, seed: int, kind: str = "shuffled"
    ) -> None:
        check_length("the training file", num_tokens, length)
        self.num_tokens, self.length, self.batch_size = num_tokens, length, batch_size
        self.seed, self.kind = seed, kind
        # Windows of an epoch start at a random phase, so that their borders differ from epoch to epoch; the
        # number of windows is the same for each phase.
        self.num_windows = max(1, (num_tokens - length) // length)

    def starts(self, step: int) -> NDArray[np.int64]:
        """Return the first token of each window of a step."""
        if self.kind == "random":
            generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, step]))
            return generator.integers(0, self.num_tokens - self.length, size=self.batch_size, dtype=np.int64)
        samples = np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
        epochs, positions = np.divmod(samples, self.num_windows)
        starts = np.empty_like(samples)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            key = self.seed * 1_000_003 + int(epoch)
            room = self.num_tokens - 1 - self.num_windows * self.length  # tokens left beside the windows
            phase = int(mix(np.array([epoch], dtype=np.uint64), key)[0] % np.uint64(room + 1))
            starts[now] = phase + permute(positions[now], self.num_windows, key) * self.length
        return starts

    def epoch(self, step: int) -> float:
        """Return how many times the file has been seen when a step begins."""
        return step * self.batch_size * self.length / self.num_tokens


def check_length(name: str, num_tokens: int, length: int) -> None:
    """Raise TokenFileError if a file holds no single window."""
    few = f"{name}: {num_tokens} tokens are too few for one window of {length} and its targets"
    TokenFileError.unless(num_tokens > length, f"{few}; use more data or a smaller `--context-length`")


def to_device(windows: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
    """Split (B, T + 1) ids into (B, T) inputs and targets on the device, in one copy.

    No pinned memory: it crashes or misbehaves on Apple GPUs (pytorch#86060, #181374).
    """
    ids = torch.from_numpy(windows).to(device)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def spread(num_tokens: int, length: int, count: int) -> NDArray[np.int64]:
    """Return the starts of at most `count` windows spread evenly over a file; of all if `count` is 0."""
    num_windows = (num_tokens - 1) // length
    count = min(count or num_windows, num_windows)
    return np.arange(count, dtype=np.int64) * num_windows // max(1, count) * length
