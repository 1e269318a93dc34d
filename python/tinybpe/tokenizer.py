"""The public tokenizer: arguments are checked and named here, the work is done by the extension.

`Tokenizer` is immutable, so it can be shared by threads, sent to other processes and used as a key. `encode`
keeps tiktoken's contract: text that spells a special token is refused unless the caller says what it means,
so that no user's text becomes a control token unasked. A corpus is different: there special tokens are what
they spell, so `encode_file` and `encode_iterable` turn them into their ids.
"""

from __future__ import annotations

import codecs
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tinybpe._tinybpe import Core
from tinybpe.arguments import (
    StrPath,
    Text,
    check_max_memory,
    check_not_one_text,
    check_num_threads,
    listed_paths,
    listed_strings,
)
from tinybpe.corpus import check_form, parquet_sources, parquet_texts
from tinybpe.errors import (
    SpecialTokenError,
    TinyBPEWarning,
    TokenFileError,
    TrainingError,
    UnknownTokenError,
)
from tinybpe.patterns import Pattern, as_string
from tinybpe.progress import Progress, reporter
from tinybpe.token_file import Format, TokenFileInfo, token_file_options, written_info
from tinybpe.word_counts import WordCounts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = Iterable[int] | NDArray[np.integer[Any]]
    IdArray = NDArray[np.uint16] | NDArray[np.uint32]

TieBreak = Literal["bytes", "huggingface"]

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256
MAX_VOCAB_SIZE = 2**31
MAX_INT64 = 2**63


class Tokenizer:
    """A byte-level BPE tokenizer.

    Make one with `train`, `train_from_iterator`, `train_from_counts`, `load`, `from_gpt2`, `from_tiktoken` or
    `from_vocab`. Two tokenizers are equal if they give every text the same ids (the same `sha256`).

    Example:
        >>> texts, special = ["low lower lowest"], ["<|endoftext|>"]
        >>> tokenizer = Tokenizer.train_from_iterator(texts, vocab_size=259, special_tokens=special)
        >>> tokenizer
        Tokenizer(vocab_size=259, pattern='gpt2', special_tokens=['<|endoftext|>'])
        >>> tokenizer.encode("lowest")
        [257, 101, 115, 116]
    """

    __slots__ = ("_core", "_special_tokens")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._special_tokens = core.special_tokens()

    # --- Making one -----------------------------------------------------------------------------------------

    @classmethod
    def train(
        cls,
        files: StrPath | Iterable[StrPath],
        vocab_size: int,
        *,
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
        tie_break: TieBreak = "bytes",
        num_threads: int | None = None,
        max_memory: int | str | None = None,
        field: str | None = None,
        column: str | None = None,
        progress: Progress = None,
    ) -> Self:
        """Learn a vocabulary from text files, read as bytes; `.gz` and `.zst` are decompressed.

        Example:
            >>> _ = Path("stories.txt").write_text("once upon a time<|endoftext|>once more")
            >>> Tokenizer.train("stories.txt", 262, special_tokens=["<|endoftext|>"]).vocab_size
            262

        Args:
            files: One path or several. Their order does not matter.
            vocab_size: Ids wanted in all: 256 bytes, merges, special tokens. Fewer where the text has no more
                pairs.
            special_tokens: Cut out of the text before anything is counted; they get the last ids, in this
                order.
            pattern: A name of `tinybpe.patterns.PATTERNS`, a regex, or a list of regexes, of which each
                splits the pieces of the one before; no merge crosses the pieces into which it cuts the text.
            tie_break: Which of the pairs with the highest count is merged: `bytes`, the greatest pair of byte
                strings, or `huggingface`, the one that the library `tokenizers` takes.
            num_threads: Threads to use, all cores by default. The result does not depend on it.
            max_memory: What the table of distinct words may take, in bytes or as `"2GB"`. Text that needs
                more is refused.
            field: The files are lines of JSON, and this field holds the text. No merge crosses a line.
            column: The files are Parquet, and this column holds the text.
            progress: True shows a bar on stderr; a function is called with `(stage, unit, done, total)`.

        Raises:
            TrainingError: `vocab_size` is less than 256 and the special tokens, there is no file, or the
                words need more than `max_memory`.
            SpecialTokenError: A special token is empty or given twice.
            PatternError: `pattern` is not a regex.
            InputError: A file is not what `field` or `column` say, or damaged.
            OSError: A file cannot be read.
        """
        special_tokens = _check_training(vocab_size, special_tokens)
        check_num_threads(num_threads)
        memory = check_max_memory(max_memory)
        paths = listed_paths(files)
        if not paths:
            raise TrainingError("no file to train on; give at least one path")
        check_form(paths, field, column)
        options = (vocab_size, special_tokens, as_string(pattern), tie_break, num_threads, memory)
        with reporter(progress) as callback:
            if column is not None:
                core = Core.train_iterator(parquet_texts(paths, column), *options, callback)
            else:
                core = Core.train_files(paths, field, *options, callback)
        tokenizer = cls(core)
        _warn_of_no_merges(tokenizer, vocab_size)
        return tokenizer

    @classmethod
    def train_from_iterator(
        cls,
        texts: Iterable[Text],
        vocab_size: int,
        *,
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
        tie_break: TieBreak = "bytes",
        num_threads: int | None = None,
        max_memory: int | str | None = None,
        progress: Progress = None,
    ) -> Self:
        """Learn a vocabulary from texts in memory or made on the fly; no merge crosses the end of one.

        Example:
            >>> Tokenizer.train_from_iterator((f"line {i}" for i in range(100)), vocab_size=260).merges[0]
            (b'n', b'e')

        Args:
            texts: Any iterable of `str` or bytes, read once and not kept.
            vocab_size: As in `train`, like all the others.
            special_tokens: See `train`.
            pattern: See `train`.
            tie_break: See `train`.
            num_threads: See `train`.
            max_memory: See `train`.
            progress: See `train`.

        Raises:
            TypeError: An item is neither `str` nor bytes.
            TrainingError: See `train`, like the other errors.
        """
        special_tokens = _check_training(vocab_size, special_tokens)
        check_num_threads(num_threads)
        memory = check_max_memory(max_memory)
        check_not_one_text("texts", texts)
        with reporter(progress) as callback:
            core = Core.train_iterator(
                texts,
                vocab_size,
                special_tokens,
                as_string(pattern),
                tie_break,
                num_threads,
                memory,
                callback,
            )
        tokenizer = cls(core)
        _warn_of_no_merges(tokenizer, vocab_size)
        return tokenizer

    @classmethod
    def train_from_counts(
        cls,
        counts: WordCounts,
        *,
        vocab_size: int,
        tie_break: TieBreak = "bytes",
        initial: Tokenizer | None = None,
        progress: Progress = None,
    ) -> Self:
        """Learn a vocabulary from words counted before, perhaps on other machines.

        Equal to training on all the text that was counted. Pattern and special tokens are those of the
        counts.

        With `initial`, its merges are applied to the words first, in order of rank, and the learning goes on
        from there, so the new merges rank after all of its own and encoding begins as with it. Each of its
        ids stays, special tokens included. New tokens get the ids after its highest, in order of rank; then
        follow the special tokens of the counts that it does not have. Going on from the first merges of a
        training, on the same counts, gives the others.

        Example:
            >>> counts = WordCounts.from_iterator(["low lower"]) + WordCounts.from_iterator(["lowest"])
            >>> Tokenizer.train_from_counts(counts, vocab_size=258).merges
            [(b'o', b'w'), (b'l', b'ow')]
            >>> first = Tokenizer.train_from_counts(counts, vocab_size=257)
            >>> Tokenizer.train_from_counts(counts, vocab_size=258, initial=first).merges
            [(b'o', b'w'), (b'l', b'ow')]

        Args:
            counts: What to learn from.
            vocab_size: Ids wanted in all, those of `initial` among them; see `train`.
            tie_break: See `train`.
            initial: A tokenizer to go on from. The counts must have its pattern and cut out all of its
                special tokens.
            progress: See `train`.

        Raises:
            TrainingError: `vocab_size` is too small, the counts do not fit `initial`, or `initial` has a
                token that its merges do not make.
        """
        if not isinstance(counts, WordCounts):
            raise TypeError(f"counts is a {type(counts).__name__}; give WordCounts")
        if initial is not None and not isinstance(initial, Tokenizer):
            raise TypeError(f"initial is a {type(initial).__name__}; give a Tokenizer")
        _check_training(vocab_size, counts.special_tokens)
        before = initial._core if initial is not None else None
        with reporter(progress) as callback:
            return cls(Core.train_counts(counts.core, vocab_size, tie_break, before, callback))

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read what `save` wrote, or a byte-level BPE `tokenizer.json` of Hugging Face.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.save("tok")
            >>> Tokenizer.load("tok") == tokenizer
            True

        Raises:
            VocabFileError: A file is damaged, or it needs something that would give other ids here.
            OSError: A file cannot be read.
        """
        return cls(Core.load(os.fspath(path)))

    @classmethod
    def from_gpt2(cls, vocab: StrPath, merges: StrPath, special_tokens: Iterable[str] = ()) -> Self:
        """Read a `vocab.json` and a `merges.txt` in GPT-2's format, with GPT-2's pattern.

        Args:
            vocab: Path of the JSON object from token to id.
            merges: Path of the merges, one per line in order of rank.
            special_tokens: Those in the vocabulary keep their id, others get the next free ones.

        Raises:
            VocabFileError: A file is damaged, or the two do not belong together.
            OSError: A file cannot be read.
        """
        return cls(
            Core.from_gpt2(
                os.fspath(vocab), os.fspath(merges), listed_strings("special_tokens", special_tokens)
            )
        )

    @classmethod
    def from_tiktoken(
        cls, path: StrPath, pattern: Pattern, special_tokens: Mapping[str, int | None] | Iterable[str] = ()
    ) -> Self:
        """Read a `.tiktoken` file, whose format holds neither pattern nor special tokens.

        Args:
            path: Lines of base64 tokens and ranks.
            pattern: The pattern that belongs to it: `gpt2` for r50k, `cl100k`, `o200k`, another name of
                `tinybpe.patterns.PATTERNS`, a regex, or a list of regexes.
            special_tokens: With their ids, or with None or as a list for the next free ids.

        Raises:
            VocabFileError: The file is damaged, or no merges explain its ranks.
            OSError: The file cannot be read.
        """
        if isinstance(special_tokens, Mapping):
            specials = list(special_tokens.items())
        else:
            specials = [(token, None) for token in listed_strings("special_tokens", special_tokens)]
        return cls(Core.from_tiktoken(os.fspath(path), as_string(pattern), specials))

    @classmethod
    def from_vocab(
        cls,
        vocab: Mapping[int, bytes],
        merges: Iterable[tuple[bytes, bytes]],
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
    ) -> Self:
        """Build a tokenizer from its parts, ids as given.

        Example:
            >>> vocab = {i: bytes([i]) for i in range(256)} | {300: b"lo"}
            >>> Tokenizer.from_vocab(vocab, [(b"l", b"o")]).encode("lo")
            [300]

        Args:
            vocab: The bytes of each id; all 256 single bytes must be there.
            merges: Pairs of tokens in order of rank.
            special_tokens: Those in the vocabulary keep their id, others get the next free ones.
            pattern: See `train`.

        Raises:
            VocabError: A byte is missing, a merge names an unknown token, or two ids have the same bytes.
        """
        specials = listed_strings("special_tokens", special_tokens)
        return cls(
            Core.from_parts(
                dict(vocab), [(left, right) for left, right in merges], specials, as_string(pattern)
            )
        )

    def save(self, directory: StrPath, *, overwrite: bool = False) -> None:
        """Write `vocab.json`, `merges.txt`, `tokenizer.json` and `tokenizer_config.json` into a directory.

        Each file is written beside its place and renamed, so a crash leaves the old one or the new one.
        Hugging Face's `tokenizers` and `transformers` read the directory as it is. Saving what is there
        already changes nothing.

        Args:
            directory: Made if it is not there. Other files in it stay.
            overwrite: Replace another tokenizer that is there.

        Raises:
            OutputError: A file of another tokenizer is there; nothing was written.
            OSError: The directory cannot be made or written.
        """
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._core.save(os.fspath(directory), overwrite)

    # --- Text to ids ----------------------------------------------------------------------------------------

    def encode(
        self,
        text: Text,
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
    ) -> list[int]:
        """Return the ids of a text, which may spell special tokens only as far as you allow.

        Example:
            >>> special = ["<|endoftext|>"]
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], 259, special_tokens=special)
            >>> tokenizer.encode("low<|endoftext|>", allowed_special="all")
            [257, 258]
            >>> len(tokenizer.encode("low<|endoftext|>", disallowed_special=()))
            14

        Args:
            text: A `str`, or bytes, which need not be valid UTF-8.
            allowed_special: Special tokens that become their ids; all with `"all"`.
            disallowed_special: Special tokens that raise; by default all that are not allowed. What is in
                neither is encoded as the text that it is.

        Raises:
            SpecialTokenError: The text holds a disallowed special token, or an argument names an unknown one.
            ValueError: The `str` holds half a surrogate pair, which has no bytes.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        return self._core.encode(text, allowed, disallowed)

    def encode_ordinary(self, text: Text) -> list[int]:
        """Return the ids of a text in which special tokens are text like any other.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).encode_ordinary("low")
            [257]

        Raises:
            ValueError: See `encode`.
        """
        return self._core.encode(text, (), ())

    def encode_to_numpy(
        self,
        text: Text,
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
    ) -> IdArray:
        """Return what `encode` does as an array.

        Returns:
            An array (num_tokens,), uint16 if the vocabulary fits, else uint32; moved, not copied.

        Raises:
            SpecialTokenError: See `encode`.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        return self._core.encode_to_numpy(text, allowed, disallowed)

    def encode_batch(
        self,
        texts: Iterable[Text],
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
        num_threads: int | None = None,
    ) -> list[list[int]]:
        """Return what `encode` gives for each text, on all cores.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).encode_batch(["low", "", "slow"])
            [[257], [], [115, 257]]

        Raises:
            SpecialTokenError: See `encode`; one bad text fails the whole call.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        check_not_one_text("texts", texts)
        return self._core.encode_batch(list(texts), allowed, disallowed, check_num_threads(num_threads))

    def encode_ordinary_batch(
        self, texts: Iterable[Text], *, num_threads: int | None = None
    ) -> list[list[int]]:
        """Return what `encode_ordinary` gives for each text, on all cores."""
        check_not_one_text("texts", texts)
        return self._core.encode_batch(list(texts), (), (), check_num_threads(num_threads))

    def encode_batch_to_numpy(
        self,
        texts: Iterable[Text],
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
        num_threads: int | None = None,
    ) -> tuple[IdArray, NDArray[np.uint64]]:
        """Return the ids of all texts in one array.

        Returns:
            The ids, (num_tokens,), and offsets, (num_texts + 1,): text i has `ids[offsets[i]:offsets[i +
            1]]`.

        Raises:
            SpecialTokenError: See `encode`; one bad text fails the whole call.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        check_not_one_text("texts", texts)
        return self._core.encode_batch_to_numpy(
            list(texts), allowed, disallowed, check_num_threads(num_threads)
        )

    def encode_iterable(self, texts: Iterable[Text], *, ordinary: bool = False) -> Iterator[int]:
        """Yield the ids of a text that comes in chunks, as soon as they are certain.

        The chunks may be cut anywhere, also within a character where they are bytes: the ids are those of the
        whole. Special tokens become their ids, as in a corpus.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> list(tokenizer.encode_iterable(["l", "ow lo", "w"]))
            [257, 32, 257]

        Args:
            texts: The chunks, such as an open file.
            ordinary: Take special tokens as text.
        """
        check_not_one_text("texts", texts)
        stream = self._core.stream(ordinary)
        for text in texts:
            yield from stream.push(text)
        yield from stream.finish()

    def encode_file(
        self,
        inputs: StrPath | Iterable[StrPath],
        output: StrPath,
        *,
        field: str | None = None,
        column: str | None = None,
        end_of_document: str | None = None,
        ordinary: bool | None = None,
        format: Format | None = None,
        dtype: Literal["uint16", "uint32"] | None = None,
        docs: bool = False,
        shards: int | None = None,
        shard_tokens: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
        num_threads: int | None = None,
        progress: Progress = None,
    ) -> TokenFileInfo:
        r"""Encode text files into one token file or several, in constant memory.

        A file appears when it is whole, its sidecar `OUTPUT.json` after it; the same input gives the same
        bytes whatever the number of threads.

        Plain text is a corpus, in which special tokens are what they spell: they become their ids, and the
        one that ends documents ends them. Lines of JSON and rows of Parquet are documents by themselves: each
        gets the token that ends documents, and what its text spells is text, unless `ordinary` is False.

        Example:
            >>> _ = Path("stories.txt").write_text("low lower")
            >>> special = ["<|endoftext|>"]
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], 259, special_tokens=special)
            >>> info = tokenizer.encode_file("stories.txt", "stories.bin")
            >>> info.num_tokens, info.dtype
            (5, 'uint16')
            >>> _ = Path("stories.jsonl").write_text('{"text": "low"}\n{"text": "lower"}\n')
            >>> tokenizer.encode_file("stories.jsonl", "lines.bin", field="text").num_tokens
            6

        Args:
            inputs: One path or several, encoded in this order; `-` is standard input. `.gz` and `.zst` are
                decompressed.
            output: The token file. One that is there is replaced only if this call makes it again: from the
                same inputs by name and size, with the same tokenizer and options, with the same ids.
            field: The files are lines of JSON, and this field holds the text.
            column: The files are Parquet, and this column holds the text. Needs `pyarrow`.
            end_of_document: The special token that ends documents: by default `<|endoftext|>`, else the only
                one that the tokenizer has; `""` for none.
            ordinary: Take special tokens in the text as text: by default only where `field` or `column` say
                what a document is.
            format: `bin`, `npy`, `llm.c` or `datatrove`; by default what the name says (`x.npy`, `x.ds`),
                else `bin`, the ids alone.
            dtype: Of the ids; by default what the name says (`x.uint32.bin`), else uint16 if the vocabulary
                fits.
            docs: Also write `OUTPUT.docs`, the token offset of each document's end (uint64).
            shards: Write this many files, `x-00000-of-00004.bin` and so on, cut at documents into about equal
                shares of the input's bytes; for files whose size is known.
            shard_tokens: Write files, `x-00000.bin` and so on, that end with the document that brings them to
                this many tokens; for any input.
            resume: Keep the whole files of an earlier run of shards that was stopped, and go on after them;
                the same inputs and options are checked.
            overwrite: Replace whatever file is there, unless it is one that is read.
            num_threads: Threads to use, all cores by default. The result does not depend on it.
            progress: See `train`; encoding also counts `tokens`, without a total.

        Returns:
            What the file holds; of shards the sums, with each of them in `shards`.

        Raises:
            TokenFileError: `dtype`, `format` or shards do not fit the output or the inputs, another encoder
                is writing there, or there is nothing of the same run to resume.
            OutputError: An output is a file that is read, or another file that is there already.
            SpecialTokenError: `end_of_document` is no special token, or documents need one and none is given.
            InputError: A file is not what `field` or `column` say, or damaged.
            OSError: A file cannot be read or written.
        """
        paths = listed_paths(inputs)
        if not paths:
            raise ValueError("no file to encode; give at least one path")
        check_form(paths, field, column)
        is_text = field is None and column is None
        is_set = shards is not None or shard_tokens is not None
        is_ordinary = not is_text if ordinary is None else ordinary
        if is_text and is_set and (is_ordinary or not self._ends_documents(end_of_document)):
            _check_cuts(paths)
        options = token_file_options(
            ordinary=is_ordinary,
            end_of_document=end_of_document,
            format=format,
            dtype=dtype,
            docs=docs,
            shards=shards,
            shard_tokens=shard_tokens,
            resume=resume,
            overwrite=overwrite,
            also_read=paths if column is not None else [],
            num_threads=num_threads,
        )
        with reporter(progress) as callback:
            if column is not None:
                texts, sources = parquet_texts(paths, column), parquet_sources(paths)
                written = self._core.encode_documents(texts, sources, os.fspath(output), options, callback)
            else:
                written = self._core.encode_file(paths, field, os.fspath(output), options, callback)
        return written_info(output, *written, is_set=is_set, shard_tokens=shard_tokens)

    def encode_documents(
        self,
        documents: Iterable[Text],
        output: StrPath,
        *,
        end_of_document: str | None = None,
        ordinary: bool = True,
        format: Format | None = None,
        dtype: Literal["uint16", "uint32"] | None = None,
        docs: bool = False,
        shard_tokens: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
        num_threads: int | None = None,
        progress: Progress = None,
    ) -> TokenFileInfo:
        """Encode documents, in memory or made on the fly, into one token file or several.

        Each document gets the token that ends documents.

        Example:
            >>> special = ["<|endoftext|>"]
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], 259, special_tokens=special)
            >>> tokenizer.encode_documents(("low" for _ in range(3)), "low.bin").num_tokens
            6

        Args:
            documents: Any iterable of `str` or bytes, read once and not kept.
            output: The token file. What is there stays: that these documents make it again cannot be known.
            end_of_document: See `encode_file`, like the others.
            ordinary: Take special tokens in the documents as text.
            format: See `encode_file`.
            dtype: See `encode_file`.
            docs: See `encode_file`.
            shard_tokens: See `encode_file`.
            resume: See `encode_file`. The documents must be the same as before, which cannot be checked;
                those that are written already are read and passed over.
            overwrite: See `encode_file`.
            num_threads: See `encode_file`.
            progress: See `encode_file`.

        Raises:
            TypeError: An item is neither `str` nor bytes.
            TokenFileError: See `encode_file`, like the other errors.
        """
        check_not_one_text("documents", documents)
        options = token_file_options(
            ordinary=ordinary,
            end_of_document=end_of_document,
            format=format,
            dtype=dtype,
            docs=docs,
            shards=None,
            shard_tokens=shard_tokens,
            resume=resume,
            overwrite=overwrite,
            also_read=[],
            num_threads=num_threads,
        )
        with reporter(progress) as callback:
            written = self._core.encode_documents(documents, [], os.fspath(output), options, callback)
        return written_info(output, *written, is_set=shard_tokens is not None, shard_tokens=shard_tokens)

    def _ends_documents(self, end_of_document: str | None) -> bool:
        """Whether a token ends documents in plain text, as the extension chooses it."""
        if end_of_document is not None:
            return end_of_document != ""
        return END_OF_TEXT in self._special_tokens or len(self._special_tokens) == 1

    # --- Ids to text ----------------------------------------------------------------------------------------

    def decode(self, ids: Ids, errors: str = "replace") -> str:
        r"""Return the text of the ids.

        Ids may end within a character: use `StreamDecoder` for ids that come one by one, `decode_bytes` for
        exact bytes.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).decode([257, 195])
            'low�'

        Args:
            ids: Integers, in any iterable or an array.
            errors: What to do with bytes that are not UTF-8, as in `bytes.decode`.

        Raises:
            UnknownTokenError: An id is not in the vocabulary; the message says which and where.
            UnicodeDecodeError: `errors` is `strict` and the bytes are not UTF-8.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Ids) -> bytes:
        r"""Return the exact bytes of the ids.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).decode_bytes([257, 195])
            b'low\xc3'

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
        """
        listed = ids if isinstance(ids, list) else _listed(ids)
        try:
            return self._core.decode_bytes(listed)
        except OverflowError:
            # Beyond what the extension takes as a number, so the first such id has not been named yet.
            at, unknown = next((at, i) for at, i in enumerate(listed) if not -MAX_INT64 <= i < MAX_INT64)
            raise UnknownTokenError(f"unknown token id {unknown} at position {at}") from None

    def decode_batch(self, batch: Iterable[Ids], errors: str = "replace") -> list[str]:
        """Return what `decode` gives for each list of ids."""
        return [self.decode(ids, errors) for ids in batch]

    # --- Looking in -----------------------------------------------------------------------------------------

    @property
    def vocab(self) -> dict[int, bytes]:
        """The bytes of every id, special tokens included; a new dict each time."""
        return self._core.vocab()

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        """The merges in order of rank; a new list each time."""
        return self._core.merges()

    @property
    def vocab_size(self) -> int:
        """The highest id plus one: the number of rows that a model's embedding needs."""
        return self._core.vocab_size

    @property
    def n_vocab(self) -> int:
        """`vocab_size` under tiktoken's name."""
        return self._core.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """The id of each special token, in order of ids."""
        return dict(self._special_tokens)

    @property
    def eot_token(self) -> int | None:
        """The id of `<|endoftext|>`, or None if that is no special token here."""
        return self._special_tokens.get(END_OF_TEXT)

    @property
    def pattern(self) -> str:
        """The name of the pattern, or the regex itself if it has none; of a sequence its JSON."""
        return self._core.pattern_name or self._core.pattern

    @property
    def pattern_regex(self) -> str:
        """The regex of the pattern; of a sequence its JSON."""
        return self._core.pattern

    @property
    def pattern_not_compiled(self) -> str | None:
        """Why a regex engine splits text, which is slow; `None` if the pattern is compiled."""
        return self._core.pattern_not_compiled

    @property
    def sha256(self) -> str:
        """The hex digest of all that decides ids: tokens, merges, special tokens, pattern."""
        return self._core.sha256

    @property
    def files(self) -> list[str]:
        """The files that it was read from, if any; nothing that is written with it replaces them."""
        return [os.fspath(path) for path in self._core.files]

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one id.

        Raises:
            UnknownTokenError: The vocabulary has no such id.
        """
        return self.decode_bytes([token_id])

    def token_id(self, token: Text) -> int:
        """Return the id of one token, given as its bytes or text; special tokens too.

        Raises:
            UnknownTokenError: The vocabulary has no such token.
        """
        found = self._core.token_id(token.encode() if isinstance(token, str) else token)
        if found is None:
            raise UnknownTokenError(
                f"{token!r} is no token of this vocabulary; `encode` splits it into several"
            )
        return found

    def __len__(self) -> int:
        return self._core.vocab_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self._core.sha256 == other._core.sha256

    def __hash__(self) -> int:
        return hash(self._core.sha256)

    def __repr__(self) -> str:
        specials = list(self._special_tokens)
        shown = repr(specials) if len(specials) <= 4 else f"<{len(specials)} of them>"
        return f"Tokenizer(vocab_size={self.vocab_size}, pattern={self.pattern!r}, special_tokens={shown})"

    def __reduce__(self) -> tuple[type[Self], tuple[Core]]:
        return type(self), (self._core,)

    def _special_arguments(
        self, allowed: Collection[str] | Literal["all"], disallowed: Collection[str] | Literal["all"]
    ) -> tuple[list[str] | None, list[str] | None]:
        """Check the arguments and take what is allowed out of what is disallowed; None stands for all."""
        allowed_names = self._special_names("allowed_special", allowed)
        disallowed_names = self._special_names("disallowed_special", disallowed)
        if allowed_names is None:
            return None, []
        if allowed_names:
            refused = self._special_tokens if disallowed_names is None else disallowed_names
            disallowed_names = [name for name in refused if name not in allowed_names]
        return allowed_names, disallowed_names

    def _special_names(self, argument: str, names: Collection[str] | Literal["all"]) -> list[str] | None:
        if isinstance(names, str):
            if names == "all":
                return None
            raise TypeError(
                f"{argument}={names!r} is one string; give a set, such as {{{names!r}}}, or 'all'"
            )
        for name in names:
            if name not in self._special_tokens:
                known = ", ".join(f"`{token}`" for token in self._special_tokens) or "none"
                raise SpecialTokenError(
                    f"{argument} has {name!r}, which is no special token of this tokenizer; it has {known}"
                )
        return list(names)


class StreamDecoder:
    r"""Ids to text as a model generates them: a character appears when its last byte does.

    Example:
        >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
        >>> decoder = StreamDecoder(tokenizer)
        >>> [decoder.push(i) for i in tokenizer.encode("low\N{SNOWMAN}")]
        ['low', '', '', '☃']
        >>> decoder.push(0xE2), decoder.finish()
        ('', '�')
    """

    def __init__(self, tokenizer: Tokenizer, errors: str = "replace") -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, ids: int | Ids) -> str:
        """Take the next id, or several, and return the characters that they complete.

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
        """
        if isinstance(ids, int):
            ids = [ids]
        return self._decoder.decode(self._tokenizer.decode_bytes(ids))

    def finish(self) -> str:
        """Return what an unfinished character at the end decodes to; the decoder starts afresh."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


def _listed(ids: Ids) -> list[int] | NDArray[np.integer[Any]]:
    """Return ids as the extension takes them: a list, or an array of the types in token files."""
    if isinstance(ids, int | str | bytes):
        raise TypeError(f"ids={ids!r}: give a list of ids, such as [{ids!r}]")
    array: Any = ids
    dtype = getattr(array, "dtype", None)
    if getattr(dtype, "kind", "i") not in "iu":
        raise TypeError(f"ids are {dtype}; give integers")
    if hasattr(array, "__array_interface__") and str(dtype) in ("uint16", "uint32"):
        return ids  # type: ignore[return-value]
    # Other arrays and tensors have `tolist`; the iterators of tensors give tensors, not numbers.
    return array.tolist() if hasattr(array, "tolist") else list(ids)


def _check_cuts(paths: list[str]) -> None:
    """Say before the work that text without document ends can be cut between files alone."""
    reason = (
        "plain text is cut into shards at the token that ends documents, and none does here: give "
        "`end_of_document`, or a tokenizer with a special token for it"
    )
    if len(paths) == 1:
        raise TokenFileError(f"{paths[0]}: cannot be cut: {reason}")
    warnings.warn(f"files are cut between inputs alone: {reason}", TinyBPEWarning, stacklevel=3)


def _warn_of_no_merges(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Warn of a training that learned nothing though it should have."""
    if vocab_size > NUM_BYTES + len(tokenizer.special_tokens) and not tokenizer.merges:
        message = "nothing to learn from: the text is empty, or has no two bytes in one piece"
        warnings.warn(message, TinyBPEWarning, stacklevel=3)


def _check_training(vocab_size: int, special_tokens: Iterable[str]) -> list[str]:
    specials = listed_strings("special_tokens", special_tokens)
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
        raise TypeError(f"vocab_size={vocab_size!r} is a {type(vocab_size).__name__}; give a whole number")
    minimum = NUM_BYTES + len(specials)
    if vocab_size < minimum:
        raise TrainingError(
            f"vocab_size={vocab_size} is too small: {NUM_BYTES} bytes and {len(specials)} special tokens "
            f"need {minimum}, and each merge one more"
        )
    if vocab_size > MAX_VOCAB_SIZE:
        raise TrainingError(f"vocab_size={vocab_size} is too large; the limit is {MAX_VOCAB_SIZE}")
    return specials
