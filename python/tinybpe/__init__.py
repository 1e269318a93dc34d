"""Byte-level BPE: train a tokenizer, encode and decode text, write token files.

Example:
    >>> from tinybpe import Tokenizer
    >>> tokenizer = Tokenizer.train_from_iterator(["low lower lowest"], vocab_size=258)
    >>> tokenizer.encode("lower")
    [257, 101, 114]
    >>> tokenizer.decode([257, 101, 114])
    'lower'

All errors are in `tinybpe.errors`, and those that calls raise for bad input here as well.
"""

from tinybpe import errors
from tinybpe.errors import (
    InputError,
    OutputError,
    PatternError,
    SpecialTokenError,
    TinyBPEError,
    TokenFileError,
    TrainingError,
    UnknownTokenError,
    VocabError,
    VocabFileError,
)
from tinybpe.stream_decoder import StreamDecoder
from tinybpe.token_file import TokenFileInfo
from tinybpe.tokenizer import Tokenizer
from tinybpe.word_counts import WordCounts

__all__ = [
    "InputError",
    "OutputError",
    "PatternError",
    "SpecialTokenError",
    "StreamDecoder",
    "TinyBPEError",
    "TokenFileError",
    "TokenFileInfo",
    "Tokenizer",
    "TrainingError",
    "UnknownTokenError",
    "VocabError",
    "VocabFileError",
    "WordCounts",
    "errors",
]


def __dir__() -> list[str]:
    # Without the modules that the imports above leave here, which are no part of the interface.
    return sorted([*__all__, "__doc__", "__file__", "__name__", "__path__", "__version__"])


def __getattr__(name: str) -> str:
    # Only asked for now and then, and the metadata machinery is a large part of the import time.
    if name == "__version__":
        from importlib.metadata import version

        return version("tinybpe-lm")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
