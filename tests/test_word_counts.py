"""Word counts: parts that are counted apart and merged in any order train what one process trains."""

from __future__ import annotations

import pickle
import tempfile
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import PATTERNS, TIE_BREAKS, byte_texts, corpora, special_token_lists
from tinybpe import Tokenizer, WordCounts
from tinybpe.errors import PatternError, SpecialTokenError, TrainingError, VocabFileError
from tinybpe.reference import TieBreak, split_pieces, split_special, to_bytes, train_merges


@given(
    corpus=corpora,
    specials=special_token_lists,
    pattern=st.sampled_from(PATTERNS),
    tie_break=st.sampled_from(TIE_BREAKS),
    data=st.data(),
)
def test_every_split_and_merge_tree_trains_the_same(
    corpus: list[str | bytes],
    specials: list[str],
    pattern: str,
    tie_break: TieBreak,
    data: st.DataObject,
) -> None:
    num_parts = data.draw(st.integers(1, 4))
    part_of = [data.draw(st.integers(0, num_parts - 1)) for _ in corpus]
    parts = [
        WordCounts.from_iterator(
            [text for text, home in zip(corpus, part_of, strict=True) if home == part],
            special_tokens=specials,
            pattern=pattern,
            num_threads=data.draw(st.sampled_from([None, 1, 2])),
        )
        for part in range(num_parts)
    ]
    while len(parts) > 1:
        left = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        right = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.insert(data.draw(st.integers(0, len(parts))), left + right)
    whole = WordCounts.from_iterator(corpus, special_tokens=specials, pattern=pattern)
    assert parts[0] == whole
    size = 256 + len(specials) + 60
    assert Tokenizer.train_from_counts(
        parts[0], vocab_size=size, tie_break=tie_break
    ) == Tokenizer.train_from_iterator(
        corpus, size, special_tokens=specials, pattern=pattern, tie_break=tie_break
    )


@given(corpus=corpora, specials=special_token_lists, pattern=st.sampled_from(PATTERNS))
def test_words_are_the_pieces_of_the_reference(
    corpus: list[str | bytes], specials: list[str], pattern: str
) -> None:
    expected: dict[bytes, int] = {}
    for text in corpus:
        for stretch, is_special in split_special(to_bytes(text), specials):
            for piece in [] if is_special else split_pieces(stretch, pattern):
                expected[piece] = expected.get(piece, 0) + 1
    counts = WordCounts.from_iterator(corpus, special_tokens=specials, pattern=pattern)
    assert list(counts) == sorted(expected.items())
    assert len(counts) == len(expected)
    assert (counts.pattern, counts.special_tokens) == (pattern, specials)
    assert WordCounts.from_words(expected, special_tokens=specials, pattern=pattern) == counts


@given(corpus=st.lists(byte_texts, max_size=4), specials=special_token_lists)
def test_files_equal_texts_and_copies_equal_themselves(corpus: list[bytes], specials: list[str]) -> None:
    counts = WordCounts.from_iterator(corpus, special_tokens=specials)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.txt" for index in range(len(corpus) + 1)]
        for path, text in zip(paths, [*corpus, b""], strict=True):
            path.write_bytes(text)
        assert WordCounts.from_files(paths, special_tokens=specials) == counts
        assert WordCounts.from_files(paths[-1], special_tokens=specials) + counts == counts
        saved, again = Path(folder) / "a.counts", Path(folder) / "b.counts"
        counts.save(saved)
        loaded = WordCounts.load(saved)
        loaded.save(again)
        assert loaded == counts
        assert saved.read_bytes() == again.read_bytes()
    assert pickle.loads(pickle.dumps(counts)) == counts


def test_merging_adds_up() -> None:
    parts = [WordCounts.from_words({word: 2**40}) for word in (b"a", b"b", b"a")]
    assert dict(reduce(WordCounts.merge, parts)) == {b"a": 2**41, b"b": 2**40}
    with pytest.raises(TrainingError, match=r"2\^63"):
        WordCounts.from_words({b"a": 2**63 - 1}).merge(parts[0])
    with pytest.raises(TypeError):
        parts[0] + {b"a": 1}


@pytest.mark.fault("T13")
@pytest.mark.parametrize(
    ("other", "match"),
    [
        (WordCounts.from_words({}, pattern="cl100k"), "patterns"),
        (WordCounts.from_words({}, pattern=r"\w+"), "patterns"),
        (WordCounts.from_words({}, special_tokens=["<a>"]), "special tokens"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(other: WordCounts, match: str) -> None:
    counts = WordCounts.from_words({b"low": 1})
    for left, right in ((counts, other), (other, counts)):
        assert left != right
        with pytest.raises(TrainingError, match=match):
            left.merge(right)


def test_the_name_of_a_pattern_and_its_regex_are_one() -> None:
    regex = Tokenizer.train_from_iterator([], 256).pattern_regex
    assert WordCounts.from_words({}, pattern=regex) == WordCounts.from_words({}, pattern="gpt2")


@pytest.mark.fault("T13")
def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.counts"
    WordCounts.from_iterator(["once upon a time"]).save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VocabFileError, match=r"x\.counts"):
        WordCounts.load(path)
    path.write_text("{}\n")
    with pytest.raises(VocabFileError, match=r"WordCounts\.save"):
        WordCounts.load(path)
    with pytest.raises(FileNotFoundError):
        WordCounts.load(tmp_path / "missing")


@pytest.mark.fault("T2")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"a": 1}, TypeError),
        ({b"a": 1.0}, TypeError),
        ({b"a": True}, TypeError),
        ({b"a": 0}, TrainingError),
        ({b"a": -1}, TrainingError),
        ({b"a": 2**63}, TrainingError),
    ],
)
def test_words_that_cannot_be(words: dict[bytes, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        WordCounts.from_words(words)


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no file"):
        WordCounts.from_files([])
    with pytest.raises(FileNotFoundError):
        WordCounts.from_files(tmp_path / "missing.txt")
    with pytest.raises(TypeError, match="list of texts"):
        WordCounts.from_iterator("one text")
    with pytest.raises(ValueError, match="num_threads"):
        WordCounts.from_iterator(["text"], num_threads=0)
    with pytest.raises(PatternError):
        WordCounts.from_iterator(["text"], pattern="(")
    with pytest.raises(SpecialTokenError):
        WordCounts.from_words({}, special_tokens=["a", "a"])
    counts = WordCounts.from_iterator(["text"], special_tokens=["<a>"])
    with pytest.raises(TrainingError, match="257"):
        Tokenizer.train_from_counts(counts, vocab_size=256)
    with pytest.raises(TypeError, match="WordCounts"):
        Tokenizer.train_from_counts({b"text": 1}, vocab_size=300)  # type: ignore[arg-type]


def test_progress_tells_both_phases(stories: str) -> None:
    seen: list[str] = []
    counts = WordCounts.from_iterator([stories], progress=lambda stage, *_: seen.append(stage))
    Tokenizer.train_from_counts(counts, vocab_size=300, progress=lambda stage, *_: seen.append(stage))
    assert list(dict.fromkeys(seen)) == ["counting", "merging"]
    whole: list[str] = []
    Tokenizer.train_from_iterator([stories], 300, progress=lambda stage, *_: whole.append(stage))
    assert list(dict.fromkeys(whole)) == ["counting", "merging"]


# --- Going on from a tokenizer ------------------------------------------------------------------------------


@given(
    first=corpora,
    corpus=corpora,
    specials=special_token_lists,
    num_old=st.integers(0, 4),
    pattern=st.sampled_from(PATTERNS),
    tie_break=st.sampled_from(TIE_BREAKS),
    first_tie_break=st.sampled_from(TIE_BREAKS),
    num_merges=st.integers(0, 40),
)
@example(["aa"], ["aaa"], ["aa"], 0, "gpt2", "bytes", "bytes", 1)  # an ordinary token that is to be special
def test_going_on_equals_the_reference(
    first: list[str | bytes],
    corpus: list[str | bytes],
    specials: list[str],
    num_old: int,
    pattern: str,
    tie_break: TieBreak,
    first_tie_break: TieBreak,
    num_merges: int,
) -> None:
    old, new = specials[:num_old], specials[num_old:]
    initial = Tokenizer.train_from_iterator(
        first, 256 + len(old) + 30, special_tokens=old, pattern=pattern, tie_break=first_tie_break
    )
    ordinary = set(initial.vocab.values()) - {token.encode() for token in old}
    new = [token for token in new if token.encode() not in ordinary]
    counts = WordCounts.from_iterator(corpus, special_tokens=new + old, pattern=pattern)
    size = initial.vocab_size + num_merges + len(new)
    tokenizer = Tokenizer.train_from_counts(counts, vocab_size=size, tie_break=tie_break, initial=initial)

    num_initial = len(ordinary) if tie_break == "huggingface" else 256 + len(initial.merges)
    expected = train_merges(
        corpus, num_initial + num_merges, new + old, pattern, tie_break, initial=initial.merges
    )
    assert tokenizer.merges == expected
    assert initial.vocab.items() <= tokenizer.vocab.items()
    made = [left + right for left, right in expected[len(initial.merges) :]]
    if tie_break == "huggingface":
        made = [token for token in dict.fromkeys(made) if token not in ordinary]
    added = [*made, *(token.encode() for token in new)]
    assert tokenizer.vocab == initial.vocab | dict(enumerate(added, initial.vocab_size))
    assert tokenizer.special_tokens == initial.special_tokens | {
        token: initial.vocab_size + len(made) + index for index, token in enumerate(new)
    }


def test_going_on_with_foreign_ids(stories: str) -> None:
    trained = Tokenizer.train_from_iterator([stories], 300)
    shuffled = {7 * token_id + 1: token for token_id, token in trained.vocab.items()}
    initial = Tokenizer.from_vocab(shuffled | {3: b"<s>"}, trained.merges, ["<s>"])
    counts = WordCounts.from_iterator([stories], special_tokens=["<pad>", "<s>"])
    size = initial.vocab_size + 101
    tokenizer = Tokenizer.train_from_counts(counts, vocab_size=size, initial=initial)
    assert tokenizer.vocab_size == size
    assert tokenizer.merges == Tokenizer.train_from_iterator([stories], 400).merges
    assert tokenizer.special_tokens == {"<s>": 3, "<pad>": size - 1}
    assert initial.vocab.items() <= tokenizer.vocab.items()
    again = Tokenizer.train_from_counts(counts, vocab_size=size, initial=tokenizer)
    assert again == tokenizer


def test_initial_tokenizers_that_do_not_fit() -> None:
    counts = WordCounts.from_iterator(["low lower"])
    initial = Tokenizer.train_from_iterator(["low lower"], 300, special_tokens=["<s>"])

    def refused(match: str, initial: Tokenizer, counts: WordCounts = counts, size: int = 400) -> None:
        with pytest.raises(TrainingError, match=match):
            Tokenizer.train_from_counts(counts, vocab_size=size, initial=initial)

    refused("<s>", initial)
    refused("pattern", Tokenizer.train_from_iterator([], 256, pattern="cl100k"))
    cut = WordCounts.from_iterator(["low lower"], special_tokens=["<s>", "<t>"])
    least = initial.vocab_size + 1
    refused(f"the least is {least}", initial, cut, least - 1)
    refused("too large", initial, cut, 2**31 + 1)
    refused("ordinary token", initial, WordCounts.from_words({}, special_tokens=["<s>", "low"]))
    single = {i: bytes([i]) for i in range(256)}
    refused("no merge", Tokenizer.from_vocab(single | {256: b"lo"}, []))
    late = [(b"lo", b"w"), (b"l", b"o")]
    refused("no earlier merge", Tokenizer.from_vocab(single | {256: b"lo", 257: b"low"}, late))
    with pytest.raises(TypeError, match="initial"):
        Tokenizer.train_from_counts(counts, vocab_size=300, initial="tok")  # type: ignore[arg-type]
