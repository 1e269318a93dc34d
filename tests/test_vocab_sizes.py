"""Several vocabulary sizes from one training: each tokenizer is what a training for its size gives."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import PATTERNS, TIE_BREAKS, byte_texts, corpora, special_token_lists
from tinybpe import Tokenizer, WordCounts
from tinybpe.cli import main
from tinybpe.errors import VocabError
from tinybpe.reference import ReferenceTokenizer, TieBreak

SPECIAL = "<|endoftext|>"


@given(
    corpus=corpora,
    specials=special_token_lists,
    pattern=st.sampled_from(PATTERNS),
    tie_break=st.sampled_from(TIE_BREAKS),
    num_merges=st.integers(0, 40),
    num_more=st.integers(0, 40),
    probe=byte_texts,
)
def test_equal_to_the_reference(
    corpus: list[str | bytes],
    specials: list[str],
    pattern: str,
    tie_break: TieBreak,
    num_merges: int,
    num_more: int,
    probe: bytes,
) -> None:
    size = 256 + len(specials) + num_merges
    reference = ReferenceTokenizer.train(corpus, size, specials, pattern, tie_break)
    tokenizer = Tokenizer.train_from_iterator(
        corpus, size + num_more, special_tokens=specials, pattern=pattern, tie_break=tie_break
    ).truncated(size)
    assert tokenizer.merges == reference.merges
    assert tokenizer.vocab == reference.vocab
    assert tokenizer.special_tokens == reference.special_tokens
    assert tokenizer.encode(probe, allowed_special="all") == reference.encode(probe)


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_merges_that_join_to_the_bytes_of_another_token(tie_break: TieBreak) -> None:
    # Text never has the last part of `abc` and `xyz`, since other merges come first: it learns them anew.
    merges = [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"x", b"y"), (b"y", b"z"), (b"x", b"yz")]
    tokens = [bytes([value]) for value in range(256)] + [left + right for left, right in merges]
    initial = Tokenizer.from_vocab(dict(enumerate(tokens)), merges)
    counts = WordCounts.from_words(
        {b"abc": 20, b"mn": 8, b"xyz": 7, b"mno": 6, b"abcd": 5}, special_tokens=[SPECIAL]
    )
    sizes = range(263, 270)
    several = [
        Tokenizer.train_from_counts(counts, vocab_size=size, tie_break=tie_break, initial=initial)
        for size in sizes
    ]
    assert several[-1].merges[6:] == [
        (b"ab", b"c"),
        (b"m", b"n"),
        (b"xy", b"z"),
        (b"mn", b"o"),
        (b"abc", b"d"),
    ]
    assert several[-1].vocab_size == (268 if tie_break == "bytes" else 266)
    assert [several[-1].truncated(size) for size in sizes] == several


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_every_way_of_training(stories: str, tmp_path: Path, tie_break: TieBreak) -> None:
    path = tmp_path / "stories.txt"
    path.write_text(stories, encoding="utf-8")
    specials = [SPECIAL, "<|pad|>"]
    counts = WordCounts.from_iterator([stories], special_tokens=specials)

    def train(size: int) -> list[Tokenizer]:
        return [
            Tokenizer.train(path, size, special_tokens=specials, tie_break=tie_break),
            Tokenizer.train_from_iterator([stories], size, special_tokens=specials, tie_break=tie_break),
            Tokenizer.train_from_counts(counts, vocab_size=size, tie_break=tie_break),
        ]

    for size in (258, 300, 700):
        assert [tokenizer.truncated(size) for tokenizer in train(700)] == train(size)


@given(
    first=corpora,
    corpus=corpora,
    specials=special_token_lists,
    num_old=st.integers(0, 4),
    first_tie_break=st.sampled_from(TIE_BREAKS),
    tie_break=st.sampled_from(TIE_BREAKS),
    num_merges=st.lists(st.integers(1, 40), min_size=2, max_size=3),
)
def test_after_going_on_from_a_tokenizer(
    first: list[str | bytes],
    corpus: list[str | bytes],
    specials: list[str],
    num_old: int,
    first_tie_break: TieBreak,
    tie_break: TieBreak,
    num_merges: list[int],
) -> None:
    old = specials[:num_old]
    initial = Tokenizer.train_from_iterator(
        first, 256 + len(old) + 20, special_tokens=old, tie_break=first_tie_break
    )
    ordinary = set(initial.vocab.values())
    new = [token for token in specials[num_old:] if token.encode() not in ordinary]
    counts = WordCounts.from_iterator(corpus, special_tokens=old + new)

    def train(size: int) -> Tokenizer:
        return Tokenizer.train_from_counts(counts, vocab_size=size, tie_break=tie_break, initial=initial)

    sizes = [initial.vocab_size + len(new) + number for number in num_merges]
    largest = train(max(sizes))
    assert [largest.truncated(size) for size in sizes] == [train(size) for size in sizes]


def test_after_going_on_with_foreign_ids(stories: str) -> None:
    trained = Tokenizer.train_from_iterator([stories], 300)
    shuffled = {7 * token_id + 1: token for token_id, token in trained.vocab.items()}
    initial = Tokenizer.from_vocab(shuffled | {3: b"<s>"}, trained.merges, ["<s>"])
    counts = WordCounts.from_iterator([stories], special_tokens=["<pad>", "<s>"])
    sizes = [initial.vocab_size + 1 + number for number in (0, 1, 50, 100)]
    several = [Tokenizer.train_from_counts(counts, vocab_size=size, initial=initial) for size in sizes]
    assert [several[-1].truncated(size) for size in sizes] == several


def test_more_than_there_is_changes_nothing() -> None:
    tokenizer = Tokenizer.train_from_iterator(["abc"], 10_000, special_tokens=[SPECIAL])
    assert tokenizer.vocab_size == 259
    assert tokenizer.truncated(260) is tokenizer
    assert tokenizer.truncated(259) == tokenizer


@pytest.mark.fault("E6")
@pytest.mark.parametrize("special", ["a", "aa"])
def test_a_special_token_with_the_bytes_of_another(special: str) -> None:
    counts = WordCounts.from_words({b"aab": 3, b"b": 1}, special_tokens=[special])
    several = [Tokenizer.train_from_counts(counts, vocab_size=size) for size in (257, 258, 259)]
    assert [several[-1].truncated(size) for size in (257, 258, 259)] == several
    for tokenizer in several:
        assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer


def test_special_tokens_that_do_not_follow_stay() -> None:
    vocab = {i + 1: bytes([i]) for i in range(256)} | {0: b"<s>", 257: b"ab", 258: b"<x>", 259: b"abc"}
    tokenizer = Tokenizer.from_vocab(
        vocab | {270: b"<y>", 280: b"<z>"}, [(b"a", b"b"), (b"ab", b"c")], ["<s>", "<x>", "<y>", "<z>"]
    )
    assert tokenizer.truncated(281) == tokenizer
    smaller = tokenizer.truncated(270)
    assert smaller.special_tokens == {"<s>": 0, "<x>": 258, "<y>": 259, "<z>": 269}
    assert smaller.merges == [(b"a", b"b")]
    with pytest.raises(VocabError, match=r"vocab_size=269 is too small: .* need 270"):
        tokenizer.truncated(269)


def test_ids_in_another_order_than_merges_are_refused() -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"bc", 257: b"ab"}
    tokenizer = Tokenizer.from_vocab(vocab, [(b"a", b"b"), (b"b", b"c")])
    assert tokenizer.truncated(258) == tokenizer
    with pytest.raises(VocabError, match=r"b'ab' has id 257"):
        tokenizer.truncated(257)


@pytest.mark.parametrize("vocab_size", [-1, 0, 256])
def test_no_room_for_the_bytes(vocab_size: int) -> None:
    tokenizer = Tokenizer.train_from_iterator(["low lower"], 260, special_tokens=[SPECIAL])
    with pytest.raises(VocabError, match=rf"vocab_size={vocab_size} is too small: .* need 257"):
        tokenizer.truncated(vocab_size)
    assert tokenizer.truncated(257).merges == []


@pytest.mark.parametrize("vocab_size", [True, 300.0, "10k", None, [300]])
def test_vocab_size_of_wrong_type(vocab_size: int) -> None:
    with pytest.raises(TypeError, match="vocab_size"):
        Tokenizer.train_from_iterator(["low lower"], 258).truncated(vocab_size)


# --- The command --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, stories: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text."""
    monkeypatch.chdir(tmp_path)
    Path("stories.md").write_text(stories, encoding="utf-8")
    return tmp_path


def train(*arguments: str, sizes: Sequence[int | str] = (400, 300, 100_000)) -> int:
    """Run `tinybpe train`, whose input is what `arguments` say."""
    return main(["train", "--vocab-size", *map(str, sizes), *arguments])


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_a_directory_for_each_size(
    folder: Path, capsys: pytest.CaptureFixture[str], tie_break: TieBreak
) -> None:
    assert train("--input", "stories.md", "--out", "runs/tok/", "--tie-break", tie_break) == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tok-100000", "tok-300", "tok-400"]
    for size in (400, 300, 100_000):
        expected = Tokenizer.train("stories.md", size, tie_break=tie_break)
        assert Tokenizer.load(f"runs/tok-{size}") == expected
        assert f"runs/tok-{size}: {expected.vocab_size:,} ids" in printed
    assert printed.count("no more pairs to merge") == 1
    assert "fewer than 100,000" in printed
    assert "tinybpe encode --tok runs/tok-100000" in printed


def test_a_single_size_keeps_the_name(folder: Path) -> None:
    assert train("--out", "tok", "stories.md", "--quiet", sizes=[300]) == 0
    assert Tokenizer.load("tok").vocab_size == 300


@pytest.mark.parametrize("name", ["350", "1k"])
def test_a_size_is_a_size_although_a_file_has_its_name(folder: Path, name: str) -> None:
    Path(name).write_text("no text to train on")
    assert train("--input", "stories.md", "--out", "tok", "--quiet", sizes=[300, name]) == 0
    for size in (300, {"350": 350, "1k": 1000}[name]):
        assert Tokenizer.load(f"tok-{size}") == Tokenizer.train("stories.md", size)


def test_sizes_in_several_flags_and_files_after_them(folder: Path) -> None:
    Path("500").write_text("a file whose name is a number is given before the sizes, or as ./500")
    more = ["--vocab-size", "350", "./500", "--out", "tok", "--quiet"]
    assert train(*more, sizes=[300, "stories.md"]) == 0
    both = ["stories.md", "500"]
    assert [Tokenizer.load(f"tok-{size}") for size in (300, 350)] == [
        Tokenizer.train(both, size) for size in (300, 350)
    ]


@pytest.mark.fault("T5", "T14")
@pytest.mark.parametrize(
    ("sizes", "out", "code", "message"),
    [
        ([300, 256], "tok", 2, "is too small"),
        ([300, 2**31 + 1], "tok", 2, "too large"),
        ([300, 400], "taken", 1, "taken-400: holds other files"),
        ([300, 400], "file", 1, "file-400: Not a directory"),
        ([300, 400], ".", 1, "is no name to add sizes to"),
        ([300, 400], "..", 1, "is no name to add sizes to"),
        ([300, 300], "tok", 2, "300 is given twice"),
        ([300, "40O"], "tok", 2, "'40O' is no whole number"),
        ([300, "stories.md", "missing"], "tok", 1, "missing: No such file"),
        (["stories.md", 300], "tok", 2, "'stories.md' is no whole number"),
        ([], "tok", 2, "expected at least one argument"),
    ],
)
def test_wrong_sizes_and_places_are_refused_before_the_work(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    sizes: list[int | str],
    out: str,
    code: int,
    message: str,
) -> None:
    Path("taken-400").mkdir()
    Path("taken-400/notes.txt").touch()
    Path("file-400").touch()
    before = sorted(folder.rglob("*"))
    try:
        got = train("--input", "stories.md", "--special", SPECIAL, "--out", out, sizes=sizes)
    except SystemExit as stopped:
        got = stopped.code  # type: ignore[assignment]
    assert got == code
    assert message in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
