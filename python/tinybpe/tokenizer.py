"""The public tokenizer: arguments are checked and named here, the work is done by the extension.

`Tokenizer` is immutable, so it can be shared by threads, sent to other processes and used as a key. `encode`
keeps tiktoken's contract: text that spells a special token is refused unless the caller says what it means,
so that no user's text becomes a control token unasked. A corpus is different: there special tokens are what
they spell, so `encode_file` and `encode_iterable` turn them into their ids.
"""

import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tinybpe._tinybpe import Core
from tinybpe.arguments import (
    StrPath,
    Text,
    check_errors,
    check_flags,
    check_max_memory,
    check_num_threads,
    check_texts,
    check_type,
    is_iterable,
    listed,
    listed_paths,
    listed_strings,
    path_string,
    whole_number,
    wrong_type,
)
from tinybpe.corpus import check_form, parquet_sources, parquet_texts
from tinybpe.errors import (
    SpecialTokenError,
    TinyBPEWarning,
    TokenFileError,
    TrainingError,
    UnknownTokenError,
)
from tinybpe.ids import Ids, listed_ids
from tinybpe.patterns import Pattern, as_string
from tinybpe.progress import Progress, reporter
from tinybpe.token_file import FileCount, Format, TokenFileInfo, token_file_options, written_info
from tinybpe.truncation import Parts, truncated_parts
from tinybpe.word_counts import WordCounts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TieBreak = Literal["bytes", "huggingface"]

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256
MAX_VOCAB_SIZE = 2**31


class Tokenizer:
    """A byte-level BPE tokenizer.

    Make one with `train`, `train_from_iterator`, `train_from_counts`, `load`, `from_gpt2`, `from_tiktoken` or
    `from_vocab`. Two tokenizers are equal if they give every text the same ids (the same `sha256`).

    Names that other libraries use work here as well:

    | here | elsewhere | of |
    |---|---|---|
    | `vocab_size` | `n_vocab` | tiktoken |
    | `token_id(token)` | `encode_single_token(token)` | tiktoken |
    | `token_bytes(token_id)` | `decode_single_token_bytes(token_id)` | tiktoken |
    | `token_id(token)`, or None | `token_to_id(token)` | tokenizers |
    | `token_bytes(token_id)`, or None | `id_to_token(token_id)` | tokenizers |
    | `vocab`, from token to id | `get_vocab()` | tokenizers |

    A token is bytes here, as in tiktoken: `tokenizers` spells it with other characters (`Ġlow` for ` low`). A
    tokenizer is not called like a function: padding, masks and tensors are made by `transformers`, which
    loads what `save` writes.

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
        self._special_tokens = core.added_tokens(True)

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
                pairs. For several sizes train the largest once; `truncated` gives the others.
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
        vocab_size, special_tokens = check_training(vocab_size, special_tokens, tie_break)
        num_threads, memory = check_num_threads(num_threads), check_max_memory(max_memory)
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
        vocab_size, special_tokens = check_training(vocab_size, special_tokens, tie_break)
        num_threads, memory = check_num_threads(num_threads), check_max_memory(max_memory)
        check_texts("texts", texts)
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
        initial: "Tokenizer | None" = None,
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
        check_type("counts", counts, WordCounts, "WordCounts")
        check_type("initial", initial, (Tokenizer, type(None)), "a Tokenizer, or None")
        vocab_size, _ = check_training(vocab_size, counts.special_tokens, tie_break)
        before = initial._core if initial is not None else None
        with reporter(progress) as callback:
            return cls(Core.train_counts(counts.core, vocab_size, tie_break, before, callback))

    @classmethod
    def load(
        cls,
        path: StrPath,
        *,
        family: str | None = None,
        pattern: Pattern | None = None,
        special_tokens: Mapping[str, int | None] | Iterable[str] = (),
    ) -> Self:
        """Read what `save` wrote, or a tokenizer of another library.

        The format is known by what is in the file: `tokenizer.json` of Hugging Face, tiktoken's ranks under
        any name, Mistral's `tekken.json`, SentencePiece's BPE `.model`, GGUF, GPT-2's `vocab.json` beside its
        `merges.txt`; or a folder that has one of them.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.save("tok")
            >>> Tokenizer.load("tok") == tokenizer
            True

        Args:
            path: A file or a folder.
            family: For a file of ranks, which holds neither pattern nor special tokens: `llama3`, `qwen`,
                `glm4`, `kimi`, `whisper`, `cl100k_base`, `o200k_base`, ..., which bring both. A name that is
                not known is an error that lists them.
            pattern: For a file of ranks of no such family; see `from_tiktoken`.
            special_tokens: Those that belong to ranks or to a `vocab.json`; see `from_tiktoken`.

        Raises:
            VocabFileError: A file is damaged, or of no format that is read, or it needs something that would
                give other ids here, or its format lacks what was not given.
            OSError: A file cannot be read.
        """
        check_type("family", family, (str, type(None)), "the name of a family, or None")
        regex = as_string(pattern) if pattern is not None else None
        specials = _with_ids(special_tokens)
        return cls(Core.load(path_string("path", path), family, regex, specials))

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
        paths = path_string("vocab", vocab), path_string("merges", merges)
        return cls(Core.from_gpt2(*paths, listed_strings("special_tokens", special_tokens)))

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
            VocabFileError: The file is damaged.
            OSError: The file cannot be read.
        """
        specials = _with_ids(special_tokens)
        return cls(Core.from_tiktoken(path_string("path", path), as_string(pattern), specials))

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
        specials = [(token, None) for token in listed_strings("special_tokens", special_tokens)]
        regex = as_string(pattern)
        for token_id, token in check_type("vocab", vocab, Mapping, "a dict of ids and their bytes").items():
            whole_number("an id in vocab", token_id, "a whole number, as in {97: b'a'}")
            check_type(f"vocab[{token_id!r}]", token, bytes, "the bytes of the token, as in {97: b'a'}")
        pairs = listed("merges", merges, "a list of pairs of bytes")
        for index, pair in enumerate(pairs):
            is_pair = isinstance(pair, tuple | list) and len(pair) == 2
            if not is_pair or not all(isinstance(part, bytes) for part in pair):
                raise wrong_type(f"merges[{index}]", pair, "two bytes objects, such as (b'l', b'o')")
        return cls(Core.from_parts(dict(vocab), [(left, right) for left, right in pairs], specials, regex))

    def truncated(self, vocab_size: int) -> Self:
        """Return the tokenizer that the same training gives for a smaller `vocab_size`.

        Training makes one token after another, so the tokens of a smaller vocabulary are the first of a
        larger one: train the largest, and truncate it to the others. Each is what a training for its size
        gives, with any way of training and any tie break.

        Example:
            >>> texts, special = ["low lower lowest"], ["<|endoftext|>"]
            >>> large = Tokenizer.train_from_iterator(texts, vocab_size=260, special_tokens=special)
            >>> small = large.truncated(258)
            >>> small == Tokenizer.train_from_iterator(texts, vocab_size=258, special_tokens=special)
            True
            >>> large.special_tokens, small.special_tokens
            ({'<|endoftext|>': 259}, {'<|endoftext|>': 257})

        Args:
            vocab_size: Ids wanted in all. The last tokens are left out, and the special tokens after them
                move down. With no more ids than this, the tokenizer itself is returned. After a training
                that went on from an `initial` tokenizer, this must be more than that one's ids with the
                special tokens that were added; smaller ones are parts of `initial`.

        Raises:
            VocabError: `vocab_size` has no room for the bytes and the special tokens, or the tokenizer, made
                elsewhere, has ids in another order than merges.
        """
        vocab_size = whole_number("vocab_size", vocab_size)
        if vocab_size > self.vocab_size:
            return self
        tokens = self.vocab
        for token_id in self._special_tokens.values():
            del tokens[token_id]
        parts = truncated_parts(Parts(tokens, self.merges, self._special_tokens), vocab_size)
        specials = list(parts.special_tokens.items())
        return type(self)(Core.from_parts(parts.tokens, parts.merges, specials, self.pattern_regex))

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
        directory = path_string("directory", directory)
        check_flags(overwrite=overwrite)
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._core.save(directory, overwrite)

    # --- Text to ids ----------------------------------------------------------------------------------------

    def encode(
        self,
        text: Text,
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
        add_special_tokens: bool = False,
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
            add_special_tokens: Put the ids before and after the text that an imported tokenizer asks for,
                such as the begin of a text. One that was trained here has none.

        Raises:
            SpecialTokenError: The text holds a disallowed special token, or an argument names an unknown one.
            VocabError: The text holds a character that an imported vocabulary has no token for.
            ValueError: The `str` holds half a surrogate pair, which has no bytes.
        """
        check_flags(add_special_tokens=add_special_tokens)
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        ids = self._core.encode(text, allowed, disallowed)
        return self._with_template(ids) if add_special_tokens else ids

    def _with_template(self, ids: list[int]) -> list[int]:
        before, after = self._core.template
        return [*before, *ids, *after]

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
    ) -> "NDArray[np.uint16] | NDArray[np.uint32]":
        """Return what `encode` does as an array.

        Returns:
            An array (num_tokens,), uint16 if the vocabulary fits, else uint32; moved, not copied.

        Raises:
            SpecialTokenError: See `encode`.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        return self._core.encode_to_numpy(text, allowed, disallowed)

    def encode_ordinary_to_numpy(self, text: Text) -> "NDArray[np.uint16] | NDArray[np.uint32]":
        """Return what `encode_ordinary` does as an array, (num_tokens,), of the type of `encode_to_numpy`.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.encode_ordinary_to_numpy("low low").tolist()
            [257, 32, 257]
        """
        return self._core.encode_to_numpy(text, (), ())

    def encode_with_offsets(
        self,
        text: Text,
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return what `encode` does, and where each token is in the text.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.encode_with_offsets("a low")
            ([97, 32, 257], [(0, 1), (1, 2), (2, 5)])
            >>> tokenizer.encode_with_offsets("é!")
            ([195, 169, 33], [(0, 1), (0, 1), (1, 2)])
            >>> tokenizer.encode_with_offsets("é!".encode())
            ([195, 169, 33], [(0, 1), (1, 2), (2, 3)])

        Returns:
            The ids, and for each a pair (start, end): `text[start:end]` is what the token has bytes of.
            Offsets count characters in a `str` and bytes in bytes. Of a character that several tokens share,
            each has all of it, as in `tokenizers`; so its tokens overlap.

        Raises:
            SpecialTokenError: See `encode`.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        return self._core.encode_with_spans(text, allowed, disallowed, isinstance(text, str))

    def tokenize(
        self,
        text: Text,
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
    ) -> list[bytes]:
        r"""Return the tokens of a text as bytes, which joined are the text.

        Always bytes, since a token may end within a character.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).tokenize("lowé")
            [b'low', b'\xc3', b'\xa9']

        Raises:
            SpecialTokenError: See `encode`.
        """
        ids = self.encode(text, allowed_special=allowed_special, disallowed_special=disallowed_special)
        return self._core.tokens(ids)

    def encode_batch(
        self,
        texts: Iterable[Text],
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
        add_special_tokens: bool = False,
        num_threads: int | None = None,
    ) -> list[list[int]]:
        """Return what `encode` gives for each text, on all cores.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).encode_batch(["low", "", "slow"])
            [[257], [], [115, 257]]

        Raises:
            SpecialTokenError: See `encode`; one bad text fails the whole call.
        """
        check_flags(add_special_tokens=add_special_tokens)
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        check_texts("texts", texts)
        batch = self._core.encode_batch(list(texts), allowed, disallowed, check_num_threads(num_threads))
        return [self._with_template(ids) for ids in batch] if add_special_tokens else batch

    def encode_ordinary_batch(
        self, texts: Iterable[Text], *, num_threads: int | None = None
    ) -> list[list[int]]:
        """Return what `encode_ordinary` gives for each text, on all cores."""
        check_texts("texts", texts)
        return self._core.encode_batch(list(texts), (), (), check_num_threads(num_threads))

    def encode_batch_to_numpy(
        self,
        texts: Iterable[Text],
        *,
        allowed_special: Collection[str] | Literal["all"] = (),
        disallowed_special: Collection[str] | Literal["all"] = "all",
        num_threads: int | None = None,
    ) -> "tuple[NDArray[np.uint16] | NDArray[np.uint32], NDArray[np.uint64]]":
        """Return the ids of all texts in one array.

        Returns:
            The ids, (num_tokens,), and offsets, (num_texts + 1,): text i has `ids[offsets[i]:offsets[i +
            1]]`.

        Raises:
            SpecialTokenError: See `encode`; one bad text fails the whole call.
        """
        allowed, disallowed = self._special_arguments(allowed_special, disallowed_special)
        check_texts("texts", texts)
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
        check_texts("texts", texts)
        check_flags(ordinary=ordinary)
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
        paths = listed_paths(inputs, "inputs")
        if not paths:
            raise ValueError("no file to encode; give at least one path")
        check_form(paths, field, column)
        output = path_string("output", output)
        is_text = field is None and column is None
        is_set = shards is not None or shard_tokens is not None
        is_ordinary = not is_text if ordinary is None else ordinary
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
        if is_text and is_set and (is_ordinary or not self._ends_documents(end_of_document)):
            _check_cuts(paths)
        with reporter(progress) as callback:
            if column is not None:
                texts, sources = parquet_texts(paths, column), parquet_sources(paths)
                written = self._core.encode_documents(texts, sources, output, options, callback)
            else:
                written = self._core.encode_file(paths, field, output, options, callback)
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
        check_texts("documents", documents)
        output = path_string("output", output)
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
            written = self._core.encode_documents(documents, [], output, options, callback)
        return written_info(output, *written, is_set=shard_tokens is not None, shard_tokens=shard_tokens)

    def _ends_documents(self, end_of_document: str | None) -> bool:
        """Whether a token ends documents in plain text."""
        if end_of_document is not None:
            return end_of_document != ""
        return self._core.end_of_document(True) is not None

    def count_files(
        self,
        inputs: StrPath | Iterable[StrPath],
        *,
        field: str | None = None,
        column: str | None = None,
        end_of_document: str | None = None,
        ordinary: bool | None = None,
        num_threads: int | None = None,
        progress: Progress = None,
    ) -> list[FileCount]:
        """Count what `encode_file` would write for each file, without writing it, in constant memory.

        Example:
            >>> _ = Path("stories.txt").write_text("low lower")
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.count_files("stories.txt")
            [FileCount(path='stories.txt', num_tokens=5, num_documents=1, num_bytes=9)]

        Args:
            inputs: See `encode_file`, like the others.
            field: See `encode_file`.
            column: See `encode_file`.
            end_of_document: See `encode_file`.
            ordinary: See `encode_file`.
            num_threads: See `encode_file`.
            progress: See `train`.

        Raises:
            SpecialTokenError: See `encode_file`.
            InputError: See `encode_file`.
            OSError: A file cannot be read.
        """
        paths = listed_paths(inputs, "inputs")
        if not paths:
            raise ValueError("no file to count; give at least one path")
        check_form(paths, field, column)
        is_text = field is None and column is None
        options = token_file_options(
            ordinary=not is_text if ordinary is None else ordinary,
            end_of_document=end_of_document,
            num_threads=num_threads,
        )
        with reporter(progress) as callback:
            if column is None:
                counts = self._core.count_files(paths, field, options, callback)
            else:
                documents = (parquet_texts([path], column) for path in paths)
                counts = [self._core.count_documents(texts, options, callback) for texts in documents]
        return [
            FileCount(path=path, num_tokens=num_tokens, num_documents=num_documents, num_bytes=num_bytes)
            for path, (num_tokens, num_documents, num_bytes) in zip(paths, counts, strict=True)
        ]

    # --- Ids to text ----------------------------------------------------------------------------------------

    def normalize(self, text: Text) -> str:
        """Return the text as it is before it is split: changed only by imported tokenizers that ask for it.

        `decode(encode(text))` gives this text where the vocabulary has all of its characters.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).normalize("low")
            'low'
        """
        return self._core.normalize(text).decode("utf-8", "replace")

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
        check_errors(errors)
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Ids) -> bytes:
        r"""Return the exact bytes of the ids.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).decode_bytes([257, 195])
            b'low\xc3'

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
        """
        return self._core.decode_bytes(listed_ids(ids), True)

    def decode_tokens(self, ids: Ids) -> bytes:
        r"""Return the bytes of the ids' tokens one after the other: `decode_bytes` of ids amid a text.

        The two differ for imported tokenizers alone that put a space before a text and take it off again.

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
        """
        return self._core.decode_bytes(listed_ids(ids), False)

    def decode_batch(self, batch: Iterable[Ids], errors: str = "replace") -> list[str]:
        """Return what `decode` gives for each list of ids.

        Raises:
            UnknownTokenError: See `decode`; one bad id fails the whole call.
        """
        check_errors(errors)
        texts = []
        for index, ids in enumerate(listed("batch", batch, "a list of lists of ids")):
            try:
                texts.append(self._core.decode_bytes(listed_ids(ids, f"batch[{index}]"), True))
            except UnknownTokenError as error:
                raise UnknownTokenError(f"batch[{index}]: {error}") from None
            except TypeError as error:
                raise TypeError(
                    str(error) if "batch[" in str(error) else f"batch[{index}]: {error}"
                ) from None
        return [text.decode("utf-8", errors) for text in texts]

    def decode_with_offsets(self, ids: Ids) -> tuple[str, list[int]]:
        """Return the text of the ids, and for each the index of the character where it begins.

        A token that begins within a character gets the index of that character. The numbers are tiktoken's.

        Example:
            >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
            >>> tokenizer.decode_with_offsets([257, 195, 169, 257])
            ('lowélow', [0, 3, 3, 4])

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
            UnicodeDecodeError: The bytes are not UTF-8, so they have no characters to count.
        """
        known = listed_ids(ids)
        text = self._core.decode_bytes(known, True).decode("utf-8")
        return text, [start for start, _ in self._core.spans(known, True)]

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
    def added_tokens(self) -> dict[str, int]:
        """The id of each added token that is not special: those are tokens in every text. In order of ids.

        Only imported tokenizers have some.
        """
        return self._core.added_tokens(False)

    @property
    def eot_token(self) -> int | None:
        """The id of the special token that ends a text, or None if the tokenizer does not tell.

        That is `<|endoftext|>`, else what published tokenizers have in its place (`</s>`, `<|end_of_text|>`,
        ...).
        """
        return self._core.end_of_document(False)

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
        return self._core.tokens([whole_number("token_id", token_id, "an id")])[0]

    def token_id(self, token: Text) -> int:
        """Return the id of one token, given as its bytes or text; special tokens too.

        Raises:
            UnknownTokenError: The vocabulary has no such token.
        """
        found = self.token_to_id(token)
        if found is None:
            raise UnknownTokenError(
                f"{token!r} is no token of this vocabulary; `encode` splits it into several"
            )
        return found

    def encode_single_token(self, token: Text) -> int:
        """`token_id` under tiktoken's name."""
        return self.token_id(token)

    def decode_single_token_bytes(self, token_id: int) -> bytes:
        """`token_bytes` under tiktoken's name."""
        return self.token_bytes(token_id)

    def token_to_id(self, token: Text) -> int | None:
        """Return what `token_id` does, or None where the vocabulary has no such token, as in `tokenizers`."""
        check_type("token", token, (str, bytes), "a str or bytes")
        return self._core.token_id(token.encode() if isinstance(token, str) else token)

    def id_to_token(self, token_id: int) -> bytes | None:
        """Return what `token_bytes` does, or None where the vocabulary has no such id, as in `tokenizers`."""
        try:
            return self.token_bytes(token_id)
        except UnknownTokenError:
            return None

    def get_vocab(self) -> dict[bytes, int]:
        """Return the id of every token, special tokens included; a new dict each time.

        Example:
            >>> Tokenizer.train_from_iterator(["low lower"], vocab_size=258).get_vocab()[b"low"]
            257
        """
        ids: dict[bytes, int] = {}
        for token_id, token in self.vocab.items():
            ids.setdefault(token, token_id)
        # Of ids with the same bytes, the one that `token_id` gives.
        return ids | {special.encode(): self.token_id(special) for special in self._special_tokens}

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
        if isinstance(names, str) and names == "all":
            return None
        if isinstance(names, str) or not is_iterable(names):
            example = f", such as {{{names!r}}}" if isinstance(names, str) else ""
            raise wrong_type(argument, names, f"a set of special tokens{example}, or 'all'")
        known = list(names)
        for name in known:
            check_type(f"an item of {argument}", name, str, "a special token, as a str")
            if name not in self._special_tokens:
                listed_names = ", ".join(f"`{token}`" for token in self._special_tokens) or "none"
                raise SpecialTokenError(
                    f"{argument} has {name!r}, which is no special token of this tokenizer; it has "
                    f"{listed_names}"
                )
        return known


def _with_ids(special_tokens: Mapping[str, int | None] | Iterable[str]) -> list[tuple[str, int | None]]:
    """Check special tokens, and give those without an id none."""
    ids = special_tokens if isinstance(special_tokens, Mapping) else {}
    for token, token_id in ids.items():
        if token_id is not None:
            whole_number(f"special_tokens[{token!r}]", token_id, "an id, or None for the next free one")
    # Repeated tokens are for the extension to refuse, so a list stays a list.
    names = listed_strings("special_tokens", special_tokens)
    return [(token, ids.get(token)) for token in names]


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


def check_training(vocab_size: int, special_tokens: Iterable[str], tie_break: str) -> tuple[int, list[str]]:
    """Return the size as an int and the special tokens as a list.

    Raises:
        TypeError: An argument is of the wrong type.
        TrainingError: `vocab_size` is too small or too large.
    """
    specials = listed_strings("special_tokens", special_tokens)
    check_type("tie_break", tie_break, str, "'bytes' or 'huggingface'")
    vocab_size = whole_number("vocab_size", vocab_size)
    minimum = NUM_BYTES + len(specials)
    if vocab_size < minimum:
        raise TrainingError(
            f"vocab_size={vocab_size} is too small: {NUM_BYTES} bytes and {len(specials)} special tokens "
            f"need {minimum}, and each merge one more"
        )
    if vocab_size > MAX_VOCAB_SIZE:
        raise TrainingError(f"vocab_size={vocab_size} is too large; the limit is {MAX_VOCAB_SIZE}")
    return vocab_size, specials
