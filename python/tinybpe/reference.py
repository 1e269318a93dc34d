"""Byte-level BPE in plain Python: the executable specification of `tinybpe`.

Read it from top to bottom to learn what the Rust core computes; the tests hold the core to it. It needs the
standard library and the `regex` package, imports nothing else of `tinybpe`, and is slow on purpose: pairs are
counted afresh for every merge, O(merges x text), where the core updates the counts that a merge changes.

Text is bytes. Special tokens are cut out first, the rest is cut into pieces by a regex, and no merge ever
crosses a piece. Symbols are byte strings: ids 0-255 are the single bytes, merge k makes id 256 + k, special
tokens follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import regex

Pair = tuple[bytes, bytes]
TieBreak = Literal["bytes", "huggingface"]

BYTES = tuple(bytes([value]) for value in range(256))

Pattern = str | tuple[str, ...]


def _like_cl100k(number: str, letter: str = r"\p{L}", in_letter: str = r"\p{L}") -> tuple[str, ...]:
    return (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letter}+|{number}"
        rf"| ?[^\s{in_letter}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )


def _like_o200k(number: str, contraction: str, after_other: str = r"[\r\n/]*", letter: str = "") -> str:
    upper = rf"(?:{letter}[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}])"
    lower = rf"(?:{letter}[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}])"
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{contraction}|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{contraction}"
        rf"|{number}| ?[^\s\p{{L}}\p{{N}}]+{after_other}|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Each name with its regexes: the first cuts a text, each other one the pieces of the one before.
PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt2": (_GPT2,),
    "cl100k": _like_cl100k(r"\p{N}{1,3}"),
    "o200k": (_like_o200k(r"\p{N}{1,3}", _CONTRACTION),),
    "qwen2": _like_cl100k(r"\p{N}"),
    "qwen3_5": _like_cl100k(r"\p{N}", r"[\p{L}\p{M}]", r"\p{L}\p{M}"),
    "nanochat": _like_cl100k(r"\p{N}{1,2}"),
    "tekken": (_like_o200k(r"\p{N}", ""),),
    "kimi": (r"\p{Han}+|" + _like_o200k(r"\p{N}{1,3}", _CONTRACTION, r"[\r\n]*", r"(?!\p{Han})"),),
    "deepseek": (
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "starcoder": (r"\p{N}", _GPT2),
    "bloom": (r" ?[^(\s|.,!?…。，、।۔،)]+",),
}


def to_bytes(text: str | bytes) -> bytes:
    """Return the bytes of a text: a `str` is its UTF-8, bytes are taken as they are."""
    return text.encode("utf-8") if isinstance(text, str) else bytes(text)


# --- Text to pieces -----------------------------------------------------------------------------------------


def split_special(text: bytes, special_tokens: Iterable[str]) -> Iterator[tuple[bytes, bool]]:
    """Cut special tokens out of a text, the leftmost first and of those that start together the longest.

    Yields:
        Stretches of text in order, each with whether it is a special token; empty stretches are left out.
    """
    longest_first = sorted((token.encode() for token in special_tokens), key=len, reverse=True)
    start = position = 0
    while position < len(text):
        token = next((token for token in longest_first if text.startswith(token, position)), None)
        if token is None:
            position += 1
            continue
        if start < position:
            yield text[start:position], False
        yield token, True
        start = position = position + len(token)
    if start < len(text):
        yield text[start:], False


def split_pieces(text: bytes, pattern: Pattern) -> Iterator[bytes]:
    """Cut a text without special tokens into the pieces within which merges happen.

    A pattern is a name, a regex, or several regexes, of which each cuts the pieces of the one before.

    A byte that is no part of a valid UTF-8 character is a piece of its own, and a regex sees each run of
    valid characters between such bytes as a whole text. What the regex leaves out is a piece too, so no
    byte is ever lost; where it matches nothing, the text is cut.
    """
    first, *others = PATTERNS.get(pattern, (pattern,)) if isinstance(pattern, str) else pattern
    compiled = regex.compile(first)
    for run in regex.split("([\udc80-\udcff])", text.decode("utf-8", "surrogateescape")):
        cuts = []
        position = 0
        while position < len(run) and (match := compiled.search(run, position)):
            cuts += match.span()
            position = match.end() if match.group() else match.end() + 1
        start = 0
        for cut in [*cuts, len(run)]:
            if start < cut:
                piece = run[start:cut].encode("utf-8", "surrogateescape")
                yield from split_pieces(piece, tuple(others)) if others else [piece]
                start = cut


# --- Pieces to merges ---------------------------------------------------------------------------------------


def merge_pair(symbols: tuple[bytes, ...], pair: Pair) -> tuple[bytes, ...]:
    """Join each occurrence of a pair of neighbours, from left to right, overlaps once."""
    merged: list[bytes] = []
    position = 0
    while position < len(symbols):
        step = 2 if symbols[position : position + 2] == pair else 1
        merged.append(b"".join(symbols[position : position + step]))
        position += step
    return tuple(merged)


def gpt2_character(byte: int) -> int:
    """Return the code point that stands for a byte in GPT-2's files; Hugging Face sorts bytes by it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return byte if byte in printable else 256 + [b for b in range(256) if b not in printable].index(byte)


def train_merges(
    texts: Iterable[str | bytes],
    num_tokens: int,
    special_tokens: Iterable[str] = (),
    pattern: Pattern = "gpt2",
    tie_break: TieBreak = "bytes",
    initial: Iterable[Pair] = (),
) -> list[Pair]:
    """Learn merges until there are `num_tokens` tokens, special tokens not counted, or no pair is left.

    The pair with the highest count is merged. Of several, `"bytes"` takes the greatest pair of byte strings,
    and `"huggingface"` the pair of the smallest ids, as its library numbers tokens. Two pairs may join to the
    same bytes: `"bytes"` counts the second as one more token, `"huggingface"` counts different byte strings
    alone. A pair that merged and comes up again, made of other parts, does not merge again.

    The merges of `initial` come first, each applied once, in order; the learning goes on from there.
    """
    special_tokens = list(special_tokens)
    words = Counter(
        tuple(BYTES[value] for value in piece)
        for text in texts
        for stretch, is_special in split_special(to_bytes(text), special_tokens)
        if not is_special
        for piece in split_pieces(stretch, pattern)
    )
    order = {token: index for index, token in enumerate(sorted(BYTES, key=lambda b: gpt2_character(b[0])))}
    merges: list[Pair] = []

    def apply(pair: Pair) -> None:
        merges.append(pair)
        order.setdefault(pair[0] + pair[1], len(order))
        merged: Counter[tuple[bytes, ...]] = Counter()
        for word, count in words.items():
            merged[merge_pair(word, pair)] += count
        words.clear()
        words.update(merged)

    for pair in initial:
        apply(pair)
    while (len(order) if tie_break == "huggingface" else 256 + len(merges)) < num_tokens:
        counts: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                counts[pair] += count
        for pair in merges:
            counts.pop(pair, None)
        if not counts:
            break
        highest = max(counts.values())
        tied = [pair for pair, count in counts.items() if count == highest]
        apply(
            max(tied)
            if tie_break == "bytes"
            else min(tied, key=lambda pair: (order[pair[0]], order[pair[1]]))
        )
    return merges


# --- The tokenizer ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReferenceTokenizer:
    """A vocabulary with its merges in order of rank, its special tokens and its pattern.

    Example:
        >>> tokenizer = ReferenceTokenizer.train(["low lower lowest"], 259, special_tokens=["<|end|>"])
        >>> tokenizer.merges
        [(b'o', b'w'), (b'l', b'ow')]
        >>> tokenizer.encode("low<|end|>")
        [257, 258]
        >>> tokenizer.decode([257, 258])
        b'low<|end|>'
    """

    vocab: dict[int, bytes]
    merges: list[Pair]
    special_tokens: dict[str, int]
    pattern: Pattern = "gpt2"

    @classmethod
    def train(
        cls,
        texts: Iterable[str | bytes],
        vocab_size: int,
        special_tokens: Iterable[str] = (),
        pattern: Pattern = "gpt2",
        tie_break: TieBreak = "bytes",
    ) -> ReferenceTokenizer:
        """Learn a vocabulary of at most `vocab_size` ids, the special tokens among them."""
        special_tokens = list(special_tokens)
        merges = train_merges(texts, vocab_size - len(special_tokens), special_tokens, pattern, tie_break)
        tokens = [*BYTES, *(left + right for left, right in merges)]
        if tie_break == "huggingface":
            tokens = list(dict.fromkeys(tokens))
        specials = {token: len(tokens) + index for index, token in enumerate(special_tokens)}
        vocab = dict(enumerate([*tokens, *(token.encode() for token in special_tokens)]))
        return cls(vocab, merges, specials, pattern)

    def encode(self, text: str | bytes, *, ordinary: bool = False) -> list[int]:
        """Return the ids of a text; special tokens become their ids, unless `ordinary` takes them as text."""
        special_ids = set(self.special_tokens.values())
        ids = {token: i for i, token in sorted(self.vocab.items(), reverse=True) if i not in special_ids}
        ranks: dict[Pair, int] = {}
        for rank, pair in enumerate(self.merges):
            ranks.setdefault(pair, rank)
        encoded = []
        for stretch, is_special in split_special(to_bytes(text), [] if ordinary else self.special_tokens):
            if is_special:
                encoded.append(self.special_tokens[stretch.decode()])
                continue
            for piece in split_pieces(stretch, self.pattern):
                symbols = tuple(BYTES[value] for value in piece)
                while pairs := [pair for pair in pairwise(symbols) if pair in ranks]:
                    symbols = merge_pair(symbols, min(pairs, key=ranks.__getitem__))
                encoded += [ids[symbol] for symbol in symbols]
        return encoded

    def decode(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of the ids."""
        return b"".join(self.vocab[i] for i in ids)
