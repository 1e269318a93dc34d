"""The extension module: `Core` is a tokenizer, `Stream` an encoding in progress; `Tokenizer` wraps both.

`Counts` are counted words, which `WordCounts` wraps.

Lists of special tokens in `encode*`: `None` means all of the tokenizer's, and what is allowed wins over what
is disallowed. `num_threads=None` means all cores; results do not depend on it. Long calls release the GIL and
stop on Ctrl-C.
"""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_Progress = Callable[[str, str, int, int], object]  # stage, unit, done, total (0: not known)
_Ids = NDArray[np.uint16] | NDArray[np.uint32]

PATTERNS: dict[str, list[str]]
"""The names of patterns, each with its regexes."""

@final
class Core:
    """An immutable tokenizer; safe to share between threads, picklable."""

    @property
    def vocab_size(self) -> int:
        """The highest id plus one."""

    @property
    def pattern(self) -> str:
        """The regex: canonical for a named pattern, else as given."""

    @property
    def pattern_name(self) -> str | None:
        """The name of the pattern, `None` for a custom one."""

    @property
    def pattern_not_compiled(self) -> str | None:
        """Why a regex engine runs the pattern, `None` if it is compiled."""

    @property
    def files(self) -> list[PathLike[str]]:
        """What it was read from."""

    @property
    def sha256(self) -> str:
        """The hex digest of all that decides ids."""

    @staticmethod
    def train_files(
        paths: Sequence[str],
        field: str | None,
        vocab_size: int,
        special_tokens: Sequence[str],
        pattern: str,
        tie_break: str,
        num_threads: int | None,
        max_memory: int | None,
        progress: _Progress | None,
    ) -> Core:
        """Train on files, each one text."""

    @staticmethod
    def train_iterator(
        texts: Iterable[str | bytes],
        vocab_size: int,
        special_tokens: Sequence[str],
        pattern: str,
        tie_break: str,
        num_threads: int | None,
        max_memory: int | None,
        progress: _Progress | None,
    ) -> Core:
        """Train on an iterable, each item one text."""

    @staticmethod
    def train_counts(
        counts: Counts, vocab_size: int, tie_break: str, initial: Core | None, progress: _Progress | None
    ) -> Core:
        """Train on words counted before, with their pattern and special tokens; go on from `initial`."""

    @staticmethod
    def load(
        path: str,
        family: str | None,
        pattern: str | None,
        special_tokens: Sequence[tuple[str, int | None]],
    ) -> Core:
        """Read a tokenizer of any format; what its format lacks is given."""

    @staticmethod
    def from_gpt2(vocab: str, merges: str, special_tokens: Sequence[str]) -> Core:
        """Read a `vocab.json` and a `merges.txt`."""

    @staticmethod
    def from_tiktoken(path: str, pattern: str, special_tokens: Sequence[tuple[str, int | None]]) -> Core:
        """Read a file of base64 tokens and ranks; special tokens without an id get the next free ones."""

    @staticmethod
    def from_parts(
        tokens: dict[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Sequence[tuple[str, int | None]],
        pattern: str,
    ) -> Core:
        """Build a tokenizer from its tokens, ids as given; special tokens with their ids, or `None`."""

    @staticmethod
    def from_state(state: bytes) -> Core:
        """Read what a pickle carries."""

    @property
    def template(self) -> tuple[list[int], list[int]]:
        """Ids that are put before and after a text."""

    def end_of_document(self, or_only: bool) -> int | None:
        """The token that ends documents unless another is asked for; perhaps the only special one."""

    @property
    def pipeline(self) -> str:
        """What is done beside splitting and merging, as JSON."""

    @property
    def alphabet(self) -> tuple[bool, int]:
        """Whether merging begins with characters, and how many bytes have no token."""

    def encode_with_spans(
        self,
        text: str | bytes,
        allowed: Sequence[str] | None,
        disallowed: Sequence[str] | None,
        characters: bool,
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text, and where each token is in it."""

    def normalize(self, text: str | bytes) -> bytes:
        """Return the text as it is before it is split."""

    def save(self, dir: str, overwrite: bool) -> None:
        """Write the four files of a tokenizer directory."""

    def export_gpt2(self, dir: str) -> None:
        """Write `vocab.json` and `merges.txt`."""

    def export_tiktoken(self, path: str) -> None:
        """Write a file of base64 tokens and ranks."""

    def encode(
        self, text: str | bytes, allowed: Sequence[str] | None, disallowed: Sequence[str] | None
    ) -> list[int]:
        """Return the ids of a text."""

    def encode_to_numpy(
        self, text: str | bytes, allowed: Sequence[str] | None, disallowed: Sequence[str] | None
    ) -> _Ids:
        """Return the ids of a text as an array, (num_tokens,)."""

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: Sequence[str] | None,
        disallowed: Sequence[str] | None,
        num_threads: int | None,
    ) -> list[list[int]]:
        """Return the ids of each text."""

    def encode_batch_to_numpy(
        self,
        texts: Sequence[str | bytes],
        allowed: Sequence[str] | None,
        disallowed: Sequence[str] | None,
        num_threads: int | None,
    ) -> tuple[_Ids, NDArray[np.uint64]]:
        """Return all ids, (num_tokens,), and the offsets of the texts in them, (num_texts + 1,)."""

    def stream(self, ordinary: bool) -> Stream:
        """Start the encoding of a text that comes in chunks."""

    def encode_file(
        self,
        paths: Sequence[str],
        field: str | None,
        output: str,
        options: dict[str, Any],
        progress: _Progress | None,
    ) -> tuple[list[tuple[str, dict[str, Any]]], int]:
        """Encode files, `-` for standard input.

        Return each token file with its sidecar, and how many of them an earlier run had finished.
        """

    def encode_documents(
        self,
        documents: Iterable[str | bytes],
        sources: Sequence[tuple[str, int]],
        output: str,
        options: dict[str, Any],
        progress: _Progress | None,
    ) -> tuple[list[tuple[str, dict[str, Any]]], int]:
        """Encode documents, and return what `encode_file` does."""

    def count_files(
        self, paths: Sequence[str], field: str | None, options: dict[str, Any], progress: _Progress | None
    ) -> list[tuple[int, int, int]]:
        """Count files, `-` for standard input: tokens, documents and bytes of text of each."""

    def count_documents(
        self, documents: Iterable[str | bytes], options: dict[str, Any], progress: _Progress | None
    ) -> tuple[int, int, int]:
        """Count documents: tokens, documents and bytes of text of all."""

    def decode_bytes(self, ids: list[int] | NDArray[Any], begins: bool) -> bytes:
        """Return the bytes of the ids, in a list or an array of uint16 or uint32."""

    def tokens(self, ids: list[int] | NDArray[Any]) -> list[bytes]:
        """Return the bytes of each id."""

    def spans(self, ids: list[int] | NDArray[Any], characters: bool) -> list[tuple[int, int]]:
        """Return where each token starts and ends in the text, in characters or bytes."""

    def token_id(self, token: bytes) -> int | None:
        """Return the id of a token, ordinary or special."""

    def vocab(self) -> dict[int, bytes]:
        """Return the bytes of every id, special tokens included."""

    def merges(self) -> list[tuple[bytes, bytes]]:
        """Return the merges in order of rank."""

    def added_tokens(self, special: bool) -> dict[str, int]:
        """Return the id of each special token, in order of ids."""

@final
class Stream:
    """A text that is encoded chunk by chunk; the ids are those of the whole."""

    def push(self, text: str | bytes) -> list[int]:
        """Take the next chunk and return the ids that are now certain."""

    def finish(self) -> list[int]:
        """Return the remaining ids; the stream is then done."""

@final
class Counts:
    """Immutable counts of distinct words; picklable."""

    @property
    def pattern(self) -> str:
        """The regex that made the words: canonical for a named pattern, else as given."""

    @property
    def pattern_name(self) -> str | None:
        """The name of the pattern, `None` for a custom one."""

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens that were cut out, in the order given."""

    @staticmethod
    def from_files(
        paths: Sequence[str],
        field: str | None,
        special_tokens: Sequence[str],
        pattern: str,
        num_threads: int | None,
        max_memory: int | None,
        progress: _Progress | None,
    ) -> Counts:
        """Count the words of files, each one text."""

    @staticmethod
    def from_iterator(
        texts: Iterable[str | bytes],
        special_tokens: Sequence[str],
        pattern: str,
        num_threads: int | None,
        max_memory: int | None,
        progress: _Progress | None,
    ) -> Counts:
        """Count the words of an iterable, each item one text."""

    @staticmethod
    def from_words(words: dict[bytes, int], special_tokens: Sequence[str], pattern: str) -> Counts:
        """Take words with their counts as they are."""

    @staticmethod
    def load(path: str) -> Counts:
        """Read what `save` wrote."""

    def save(self, path: str, overwrite: bool) -> None:
        """Write a file; equal counts make equal files."""

    @staticmethod
    def from_bytes(bytes: bytes) -> Counts:
        """Read what `to_bytes` gave."""

    def to_bytes(self) -> bytes:
        """Return what `save` writes."""

    def merge(self, other: Counts) -> Counts:
        """Return the counts of both together."""

    def items(self) -> list[tuple[bytes, int]]:
        """Return each word with its count, in the order of bytes."""

    def __len__(self) -> int:
        """Return the number of distinct words."""
