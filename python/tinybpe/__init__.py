"""Byte-level BPE: train a tokenizer, encode and decode text, write token files.

Example:
    >>> from tinybpe import Tokenizer
    >>> tokenizer = Tokenizer.train_from_iterator(["low lower lowest"], vocab_size=258)
    >>> tokenizer.encode("lower")
    [257, 101, 114]
    >>> tokenizer.decode([257, 101, 114])
    'lower'
"""

from tinybpe import errors
from tinybpe.errors import SpecialTokenError, TinyBPEError, UnknownTokenError
from tinybpe.token_file import TokenFileInfo
from tinybpe.tokenizer import StreamDecoder, Tokenizer
from tinybpe.word_counts import WordCounts

__all__ = [
    "SpecialTokenError",
    "StreamDecoder",
    "TinyBPEError",
    "TokenFileInfo",
    "Tokenizer",
    "UnknownTokenError",
    "WordCounts",
    "errors",
]


def __getattr__(name: str) -> str:
    # Only asked for now and then, and the metadata machinery is a large part of the import time.
    if name == "__version__":
        from importlib.metadata import version

        return version("tinybpe-lm")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
