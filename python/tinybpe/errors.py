"""The exceptions of `tinybpe`; the extension raises them too.

What the operating system refuses stays an `OSError` that names the file, and Ctrl-C stays
`KeyboardInterrupt`.
"""

__all__ = [
    "InputError",
    "InternalError",
    "OutputError",
    "PatternError",
    "SpecialTokenError",
    "TinyBPEError",
    "TinyBPEWarning",
    "TokenFileError",
    "TrainingError",
    "UnknownTokenError",
    "VocabError",
    "VocabFileError",
]


class TinyBPEError(Exception):
    """The base of all errors that are `tinybpe`'s own."""


class TinyBPEWarning(UserWarning):
    """Something that works and is probably not what was meant."""


class VocabFileError(TinyBPEError, ValueError):
    """A vocabulary file cannot be read; the message names file, line and rule."""


class VocabError(TinyBPEError, ValueError):
    """A vocabulary breaks a rule, or a format cannot express it."""


class SpecialTokenError(TinyBPEError, ValueError):
    """A special token stands in text where it is not allowed, or the special tokens given cannot be used."""


class UnknownTokenError(TinyBPEError, KeyError):
    """The vocabulary has no such id or token."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which puts a whole sentence in quotes.
        return str(self.args[0]) if self.args else ""


class PatternError(TinyBPEError, ValueError):
    """A pretokenizer pattern is not a regex, or too costly to match."""


class InputError(TinyBPEError, ValueError):
    """A text file is not what it was said to be: no JSON on a line, a damaged stream, no such column."""


class TrainingError(TinyBPEError, ValueError):
    """A training request cannot be met."""


class OutputError(TinyBPEError, OSError):
    """Something at an output would be lost: a file that is also read, or another one; or it has no folder."""


class TokenFileError(TinyBPEError, ValueError):
    """A token file and what belongs to it do not fit: dtype, size, tokenizer."""


class InternalError(TinyBPEError, RuntimeError):
    """A bug of `tinybpe`: please report it with the message."""
