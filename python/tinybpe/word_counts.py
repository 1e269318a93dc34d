"""Counts of distinct words: what training needs to know of a text, small enough to be sent and added up.

Counting is a sum, so machines can count a share of the text each and one can train: any engine that maps and
reduces will do. Train on what `merge` gives, and the tokenizer is the one of all the text together.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from tinybpe._tinybpe import Counts
from tinybpe.arguments import (
    StrPath,
    Text,
    check_flags,
    check_max_memory,
    check_num_threads,
    check_texts,
    check_type,
    listed_paths,
    listed_strings,
    path_string,
    whole_number,
)
from tinybpe.corpus import check_form, parquet_texts
from tinybpe.errors import TrainingError
from tinybpe.patterns import Pattern, as_string
from tinybpe.progress import Progress, reporter

MAX_COUNT = 2**63 - 1


class WordCounts:
    """Distinct words with how often each occurs, and the pattern and special tokens that they were cut by.

    Immutable and picklable. Make some with `from_files`, `from_iterator`, `from_words` or `load`, add them up
    with `+`, and give them to `Tokenizer.train_from_counts`.

    Example:
        >>> left, right = WordCounts.from_iterator(["low low"]), WordCounts.from_iterator(["low lower"])
        >>> left + right
        WordCounts(3 words, pattern='gpt2', special_tokens=[])
        >>> dict(left + right)
        {b' low': 1, b' lower': 1, b'low': 2}
    """

    __slots__ = ("core",)

    def __init__(self, core: Counts) -> None:
        self.core = core

    @classmethod
    def from_files(
        cls,
        files: StrPath | Iterable[StrPath],
        *,
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
        num_threads: int | None = None,
        max_memory: int | str | None = None,
        field: str | None = None,
        column: str | None = None,
        progress: Progress = None,
    ) -> Self:
        """Count the words of text files, read as bytes; `.gz` and `.zst` are decompressed.

        Args:
            files: One path or several. Their order does not matter.
            special_tokens: Cut out of the text before anything is counted.
            pattern: A name of `tinybpe.patterns.PATTERNS`, a regex, or a list of regexes, which cuts the text
                into words.
            num_threads: Threads to use, all cores by default. The result does not depend on it.
            max_memory: What the table of distinct words may take, in bytes or as `"2GB"`. Text that needs
                more is refused.
            field: The files are lines of JSON, and this field holds the text.
            column: The files are Parquet, and this column holds the text.
            progress: True shows a bar on stderr; a function is called with `(stage, unit, done, total)`.

        Raises:
            TrainingError: There is no file, or the words need more than `max_memory`.
            SpecialTokenError: A special token is empty or given twice.
            PatternError: `pattern` is not a regex.
            InputError: A file is not what `field` or `column` say, or damaged.
            OSError: A file cannot be read.
        """
        specials = listed_strings("special_tokens", special_tokens)
        num_threads, memory = check_num_threads(num_threads), check_max_memory(max_memory)
        paths = listed_paths(files)
        if not paths:
            raise TrainingError("no file to count; give at least one path")
        check_form(paths, field, column)
        options = (specials, as_string(pattern), num_threads, memory)
        with reporter(progress) as callback:
            if column is not None:
                return cls(Counts.from_iterator(parquet_texts(paths, column), *options, callback))
            return cls(Counts.from_files(paths, field, *options, callback))

    @classmethod
    def from_iterator(
        cls,
        texts: Iterable[Text],
        *,
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
        num_threads: int | None = None,
        max_memory: int | str | None = None,
        progress: Progress = None,
    ) -> Self:
        """Count the words of texts in memory or made on the fly; no word crosses the end of one.

        Args:
            texts: Any iterable of `str` or bytes, read once and not kept.
            special_tokens: See `from_files`, like the others.
            pattern: See `from_files`.
            num_threads: See `from_files`.
            max_memory: See `from_files`.
            progress: See `from_files`.

        Raises:
            TypeError: An item is neither `str` nor bytes.
        """
        specials = listed_strings("special_tokens", special_tokens)
        num_threads, memory = check_num_threads(num_threads), check_max_memory(max_memory)
        check_texts("texts", texts)
        with reporter(progress) as callback:
            return cls(
                Counts.from_iterator(texts, specials, as_string(pattern), num_threads, memory, callback)
            )

    @classmethod
    def from_words(
        cls, words: Mapping[bytes, int], *, special_tokens: Iterable[str] = (), pattern: Pattern = "gpt2"
    ) -> Self:
        """Take words that something else has counted, as they are: no pattern cuts them.

        Example:
            >>> len(WordCounts.from_words({b"low": 5, b" lower": 2}))
            2

        Args:
            words: How often each word occurs.
            special_tokens: What was cut out before.
            pattern: What the words were cut by; a tokenizer trained on them cuts text by it.

        Raises:
            TypeError: A word is not bytes, or a count not a whole number.
            TrainingError: A count is less than 1 or more than 2^63 - 1.
        """
        specials = listed_strings("special_tokens", special_tokens)
        for word, number in check_type("words", words, Mapping, "a dict of words and their counts").items():
            check_type("a word in words", word, bytes, "bytes, as in {b'low': 5}")
            count = whole_number(f"words[{word!r}]", number)
            if not 1 <= count <= MAX_COUNT:
                raise TrainingError(f"the count of {word!r} is {count}; give 1 to 2^63 - 1")
        return cls(Counts.from_words(dict(words), specials, as_string(pattern)))

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read what `save` wrote.

        Raises:
            VocabFileError: The file is another one, cut short or changed.
            OSError: The file cannot be read.
        """
        return cls(Counts.load(path_string("path", path)))

    def save(self, path: StrPath, *, overwrite: bool = False) -> None:
        """Write the counts into one file, whole or not at all; equal counts make equal files.

        Saving what is there already changes nothing.

        Example:
            >>> counts = WordCounts.from_iterator(["low lower"])
            >>> counts.save("part-0.counts")
            >>> WordCounts.load("part-0.counts") == counts
            True

        Args:
            path: The file.
            overwrite: Replace another file that is there.

        Raises:
            OutputError: Another file is there, and stays.
            OSError: The file cannot be written.
        """
        check_flags(overwrite=overwrite)
        self.core.save(path_string("path", path), overwrite)

    def merge(self, other: "WordCounts") -> Self:
        """Return the counts of both together; in which order parts are merged makes no difference.

        Raises:
            TrainingError: Pattern or special tokens differ, or a sum is beyond 2^63.
        """
        check_type("other", other, WordCounts, "WordCounts")
        return type(self)(self.core.merge(other.core))

    def __add__(self, other: "WordCounts") -> Self:
        if not isinstance(other, WordCounts):
            return NotImplemented
        return self.merge(other)

    @property
    def pattern(self) -> str:
        """The name of the pattern, or the regex itself if it has none."""
        return self.core.pattern_name or self.core.pattern

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens that were cut out, in the order given."""
        return self.core.special_tokens

    def __len__(self) -> int:
        return len(self.core)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        return iter(self.core.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordCounts):
            return NotImplemented
        return self.core == other.core

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = f"pattern={self.pattern!r}, special_tokens={self.special_tokens}"
        return f"WordCounts({len(self):,} words, {shown})"

    def __reduce__(self) -> tuple[type[Self], tuple[Counts]]:
        return type(self), (self.core,)
