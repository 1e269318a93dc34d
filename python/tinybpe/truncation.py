"""The first tokens of a vocabulary, as a smaller vocabulary: one training gives every size up to its own.

Training makes one token after another and looks at the size only to stop, so a smaller size has the first
tokens and the first merges of a larger one. Ids stay, but for special tokens that follow all other tokens:
they move down.

A training that went on from a tokenizer made elsewhere may hold merges that join to the bytes of another
token. With the tie break `huggingface` such a merge makes no token, and training stops at the merge that
makes the last one; with `bytes` it makes one more. A vocabulary does not hold its tie break, so the merge of
each token is looked up by the bytes that it makes.

Linear in the number of tokens and merges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tinybpe.errors import VocabError

Pair = tuple[bytes, bytes]


class Parts(NamedTuple):
    """What a tokenizer is made of, but for its pattern."""

    tokens: dict[int, bytes]
    """Ordinary tokens by id."""
    merges: list[Pair]
    """In order of rank."""
    special_tokens: dict[str, int]
    """Their ids, in ascending order."""


def truncated_parts(parts: Parts, vocab_size: int) -> Parts:
    """Return the parts of a vocabulary of at most `vocab_size` ids.

    Example:
        >>> tokens = {i: bytes([i]) for i in range(256)} | {256: b"ow", 257: b"low"}
        >>> parts = Parts(tokens, [(b"o", b"w"), (b"l", b"ow")], {"<s>": 258})
        >>> truncated_parts(parts, 258)[1:]
        ([(b'o', b'w')], {'<s>': 257})

    Raises:
        VocabError: Bytes or special tokens would not fit, or tokens do not have ids in the order of their
            merges.
    """
    tokens, merges, special_tokens = parts
    # Training gives ids to special tokens last; those of a tokenizer that it went on from have smaller ids.
    highest = max(tokens)
    num_dropped = max([highest, *special_tokens.values()]) + 1 - vocab_size
    moved = {name: token_id for name, token_id in special_tokens.items() if token_id > highest}
    end = min(moved.values(), default=highest + 1) - num_dropped
    staying = [token_id for token_id in special_tokens.values() if token_id < highest]
    staying += [token_id for token_id, token in tokens.items() if len(token) == 1]
    if max(staying) >= end:
        raise VocabError(
            f"vocab_size={vocab_size} is too small: the bytes and special tokens of this tokenizer need "
            f"{vocab_size + max(staying) + 1 - end}"
        )

    made = sorted(token_id for token_id, token in tokens.items() if len(token) > 1)
    if len(made) == len(merges) and all(
        tokens[token_id] == left + right for token_id, (left, right) in zip(made, merges, strict=True)
    ):
        # As most trainings leave it, one merge for each token: a third of the time.
        num_merges = bisect_left(made, end)
        ranks = {}
    else:
        num_merges = 0
        ranks = merge_ranks(tokens, merges)
    for token_id, rank in ranks.items():
        if token_id < end:
            num_merges = max(num_merges, rank + 1)
    for token_id, rank in ranks.items():
        if token_id >= end and rank < num_merges:
            raise VocabError(
                f"the token {tokens[token_id]!r} has id {token_id}, but its merge {rank} comes before that "
                "of a smaller id: only a tokenizer with ids in the order of its merges can be truncated"
            )
    return Parts(
        {token_id: token for token_id, token in tokens.items() if token_id < end},
        merges[:num_merges],
        {name: token_id - (num_dropped if name in moved else 0) for name, token_id in special_tokens.items()},
    )


def merge_ranks(tokens: Mapping[int, bytes], merges: Sequence[Pair]) -> dict[int, int]:
    """Return the rank of the merge that made each token, by id; those that no merge makes are left out.

    The smallest id of some bytes came with the first merge that makes them. Any other id of the same bytes
    came with the last such merge before the one of the next id.

    Example:
        >>> merges = [(b"a", b"b"), (b"ab", b"c"), (b"b", b"c"), (b"a", b"bc")]
        >>> merge_ranks({256: b"ab", 257: b"abc", 258: b"bc", 259: b"abc"}, merges)
        {259: 3, 258: 2, 257: 1, 256: 0}
    """
    descending = sorted(tokens.items(), reverse=True)
    smallest = {token: token_id for token_id, token in descending}
    made = [left + right for left, right in merges]
    first = {token: rank for rank, token in zip(reversed(range(len(made))), reversed(made), strict=True)}
    makers: dict[bytes, list[int]] = {}
    if len(smallest) < len(tokens):
        for rank, token in enumerate(made):
            makers.setdefault(token, []).append(rank)
    ranks: dict[int, int] = {}
    next_rank = len(merges)
    for token_id, token in descending:
        if token not in first:
            continue
        if smallest[token] == token_id:
            next_rank = first[token]
        else:
            before = [rank for rank in makers[token] if rank < next_rank]
            next_rank = before[-1] if before else makers[token][-1]
        ranks[token_id] = next_rank
    return ranks
