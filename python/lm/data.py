"""Token files as one stream of ids, and windows drawn from it.

Several files, such as the shards of a set (`token_files.py` says which files a name means), are read as if
they were one, each after the other: windows run across their borders, so where the text was cut into files
changes neither a loss nor the order of the data.

Which windows make up a step is a pure function of (seed, step), so that resuming needs nothing but the step,
and any number of processes sees the same order. A window is never shuffled in memory: position `i` of an
epoch is mapped to a window by a keyed permutation (a Feistel network, walked until it lands inside), which
costs the same for any size of file. NumPy's own `permutation` would need memory for all windows and may
change between versions.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.token_files import Given, TokenFileError, find_files, open_shard

__all__ = ["Sampler", "TokenFile", "TokenFileError", "check_length", "permute", "spread", "to_device"]


class TokenFile:
    """The ids of one token file, or of several as one stream, mapped into memory.

    Args:
        given: A file, a folder, a pattern, the name of a set, or several of these; see `token_files.py`.
        dtype: `uint16` or `uint32`, for files that do not tell.
        vocab_size: What all ids have to be below: checked here as far as the sidecars tell, in `windows` one
            by one.

    Raises:
        OSError: not there or not readable.
        TokenFileError: type unknown, odd size, not what a sidecar says, or files that do not fit together.
    """

    def __init__(self, given: Given, *, dtype: str | None = None, vocab_size: int | None = None) -> None:
        self.vocab_size = vocab_size
        self.shards = [open_shard(path, dtype) for path in find_files(given)]
        self.path = self.shards[0].path
        self.name = str(given) if isinstance(given, str | Path) else ", ".join(map(str, given))
        self.dtype = np.dtype(self.agreed("dtype", [shard.dtype for shard in self.shards]))
        told = [shard.sidecar for shard in self.shards]
        self.tokenizer_sha256 = self.agreed("tokenizer_sha256", [t.get("tokenizer_sha256") for t in told])
        made_for = self.agreed("vocab_size", [t.get("vocab_size") for t in told])
        if vocab_size is not None and isinstance(made_for, int) and made_for > vocab_size:
            raise TokenFileError(
                f"{self.name} was made with a vocabulary of {made_for}, the model has {vocab_size}"
            )
        self.ends = np.cumsum([len(shard.ids) for shard in self.shards])
        self.num_tokens = int(self.ends[-1])
        if self.num_tokens == 0:
            raise TokenFileError(f"{self.name} is empty")
        sizes = [size for t in told if isinstance(size := t.get("num_bytes"), int)]
        # bytes of text, None if a sidecar does not tell
        self.num_bytes = sum(sizes) if len(sizes) == len(told) else None

    def agreed(self, what: str, values: list[Any]) -> Any:
        """Return the value of all files that tell one, None if none does; TokenFileError if they differ."""
        known = [
            (value, shard) for value, shard in zip(values, self.shards, strict=True) if value is not None
        ]
        for value, shard in known:
            if value != known[0][0]:
                first = f"{known[0][1].path} {known[0][0]}"
                raise TokenFileError(
                    f"{shard.path} has the {what} {value}, {first}: they do not fit together"
                )
        return known[0][0] if known else None

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the ids from `start` to before `stop`, or to the end."""
        if len(self.shards) == 1:
            return self.shards[0].ids[start:stop]
        index = int(np.searchsorted(self.ends, start, side="right"))  # the first that ends after `start`
        parts: list[NDArray[Any]] = []
        while index < len(self.shards) and (start < stop or not parts):
            ids = self.shards[index].ids
            first = start - (int(self.ends[index]) - len(ids))
            parts.append(ids[first : first + stop - start])
            start += len(parts[-1])
            index += 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, self.dtype)])

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Return (len(starts), length) ids; TokenFileError if one is not below `vocab_size`."""
        batch = np.empty((len(starts), length), dtype=np.int64)
        for row, start in zip(batch, starts.tolist(), strict=True):
            row[:] = self.read(start, start + length)
        if self.vocab_size is not None and batch.size and batch.max() >= self.vocab_size:
            raise TokenFileError(
                f"{self.name} holds id {batch.max()}, but the vocabulary has {self.vocab_size}: "
                "wrong `--vocab-size`, or the file's ids are of another type"
            )
        return batch

    def fingerprint(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of the data, to notice other data on resume.

        The digest is of pieces spread over the stream: reading all of a large one would take minutes. Of
        several files, a second digest holds the length, the checksum in the sidecar and both ends of each.
        """
        hasher = hashlib.sha256()
        for start in np.linspace(0, max(0, self.num_tokens - 2048), 64).astype(np.int64).tolist():
            hasher.update(self.read(start, start + 2048).tobytes())
        told = {"num_tokens": self.num_tokens, "pieces_sha256": hasher.hexdigest()[:16]}
        if len(self.shards) > 1:
            hasher = hashlib.sha256()
            for shard in self.shards:
                hasher.update(f"{len(shard.ids)} {shard.sidecar.get('crc32')}\n".encode())
                hasher.update(shard.ids[:512].tobytes() + shard.ids[-512:].tobytes())
            told["shards_sha256"] = hasher.hexdigest()[:16]
        return told | {"tokenizer_sha256": self.tokenizer_sha256}


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
