"""Training: the core learns exactly the merges of the reference, whatever the threads, files and order."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import PATTERNS, TIE_BREAKS, byte_texts, corpora, special_token_lists
from tinybpe import SpecialTokenError, Tokenizer, WordCounts
from tinybpe.errors import PatternError, TinyBPEWarning, TrainingError
from tinybpe.patterns import PATTERNS as NAMED
from tinybpe.reference import ReferenceTokenizer, TieBreak

SPECIAL = "<|endoftext|>"


@given(
    corpus=corpora,
    specials=special_token_lists,
    pattern=st.sampled_from(PATTERNS),
    tie_break=st.sampled_from(TIE_BREAKS),
    num_merges=st.integers(0, 80),
    num_threads=st.sampled_from([None, 1, 2, 3]),
    probe=byte_texts,
)
def test_equals_reference(
    corpus: list[str | bytes],
    specials: list[str],
    pattern: str,
    tie_break: TieBreak,
    num_merges: int,
    num_threads: int | None,
    probe: bytes,
) -> None:
    size = 256 + len(specials) + num_merges
    reference = ReferenceTokenizer.train(corpus, size, specials, pattern, tie_break)
    tokenizer = Tokenizer.train_from_iterator(
        corpus,
        size,
        special_tokens=specials,
        pattern=pattern,
        tie_break=tie_break,
        num_threads=num_threads,
    )
    assert tokenizer.merges == reference.merges
    assert tokenizer.vocab == reference.vocab
    assert tokenizer.special_tokens == reference.special_tokens
    assert tokenizer.encode(probe, allowed_special="all") == reference.encode(probe)


@pytest.mark.fault("T8", "T9")
@given(
    corpus=st.lists(byte_texts, max_size=4),
    specials=special_token_lists,
    pattern=st.sampled_from(PATTERNS),
    num_threads=st.sampled_from([1, 2, 3]),
)
def test_files_equal_texts(corpus: list[bytes], specials: list[str], pattern: str, num_threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.txt" for index in range(len(corpus) + 1)]
        for path, text in zip(paths, [*corpus, b""], strict=True):
            path.write_bytes(text)
        from_files = Tokenizer.train(
            paths, 320, special_tokens=specials, pattern=pattern, num_threads=num_threads
        )
    from_texts = Tokenizer.train_from_iterator(corpus, 320, special_tokens=specials, pattern=pattern)
    assert from_files == from_texts


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
@pytest.mark.parametrize("pattern", NAMED)
def test_real_text_equals_reference(stories: str, pattern: str, tie_break: TieBreak) -> None:
    reference = ReferenceTokenizer.train([stories], 420, [SPECIAL], pattern, tie_break)
    tokenizer = Tokenizer.train_from_iterator(
        [stories],
        420,
        special_tokens=[SPECIAL],
        pattern=pattern,
        tie_break=tie_break,
    )
    assert tokenizer.merges == reference.merges
    assert tokenizer.encode(stories, allowed_special="all") == reference.encode(stories)


@pytest.mark.fault("T7")
def test_threads_files_and_order_do_not_matter(stories: str, tmp_path: Path) -> None:
    # Large enough to be read in several ranges, once with documents to cut at and once without.
    documents = stories.split(SPECIAL)
    shuffled = random.Random(0)
    for specials, glue in ([SPECIAL], SPECIAL), ([], " "):
        chosen = [shuffled.choice(documents) for _ in range(6000)]
        whole = tmp_path / "whole.txt"
        whole.write_text(glue.join(chosen), encoding="utf-8")
        halves = [tmp_path / "second.txt", tmp_path / "first.txt"]
        halves[1].write_text(glue.join(chosen[:3000]) + (SPECIAL if specials else ""), encoding="utf-8")
        halves[0].write_text(glue.join(chosen[3000:]), encoding="utf-8")
        trained = [
            Tokenizer.train(whole, 500, special_tokens=specials, num_threads=num_threads)
            for num_threads in (None, 1, 2, 3)
        ]
        if specials:
            trained.append(Tokenizer.train(halves, 500, special_tokens=specials))
        assert len({tokenizer.sha256 for tokenizer in trained}) == 1


@pytest.mark.fault("T3")
@pytest.mark.parametrize("text", ["a", " ", "\u3000", "\n", "0", "ab", "e\u0301", "\U0001f469\u200d"])
def test_one_long_word(text: str) -> None:
    corpus = [text * 5000]
    reference = ReferenceTokenizer.train(corpus, 275)
    assert Tokenizer.train_from_iterator(corpus, 275).merges == reference.merges


@pytest.mark.fault("T6")
def test_stops_early_when_no_pair_is_left() -> None:
    tokenizer = Tokenizer.train_from_iterator(["abc"], vocab_size=10_000, special_tokens=[SPECIAL])
    assert tokenizer.vocab_size == 256 + 2 + 1
    assert tokenizer.special_tokens == {SPECIAL: 258}


@pytest.mark.fault("T4")
@pytest.mark.parametrize("corpus", [[], [""], [SPECIAL], ["a", "b"]])
def test_no_pairs_leaves_the_bytes(corpus: list[str]) -> None:
    tokenizer = Tokenizer.train_from_iterator(corpus, vocab_size=300, special_tokens=[SPECIAL])
    assert tokenizer.merges == []
    assert tokenizer.vocab_size == 257
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


def test_contract_size() -> None:
    corpus = [" ".join(str(i) for i in range(2000))]
    tokenizer = Tokenizer.train_from_iterator(corpus, vocab_size=500, special_tokens=[SPECIAL])
    assert tokenizer.vocab_size == 500
    assert len(tokenizer.merges) == 500 - 256 - 1


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, str, int, int]] = []
    path = tmp_path / "text.txt"
    path.write_text("once upon a time " * 100)
    Tokenizer.train(path, 300, progress=lambda *report: seen.append(report))
    assert seen
    assert all(isinstance(stage, str) and done >= 0 and total >= 0 for stage, _, done, total in seen)


@pytest.mark.fault("T1")
def test_progress_that_raises_stops_training(stories: str) -> None:
    def angry(*_: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        Tokenizer.train_from_iterator([stories] * 50, 1000, progress=angry)


# --- Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.fault("T5")
@pytest.mark.parametrize("vocab_size", [0, -1, 255, 256, 2**32, 2**70])
def test_vocab_size_out_of_range(vocab_size: int) -> None:
    with pytest.raises(TrainingError, match=str(vocab_size)):
        Tokenizer.train_from_iterator(["text"], vocab_size, special_tokens=[SPECIAL])


@pytest.mark.fault("T5")
@pytest.mark.parametrize("vocab_size", [True, 300.0, "10k", None])
def test_vocab_size_of_wrong_type(vocab_size: object) -> None:
    with pytest.raises(TypeError, match="vocab_size"):
        Tokenizer.train_from_iterator(["text"], vocab_size)  # type: ignore[arg-type]


@pytest.mark.fault("T9")
@pytest.mark.parametrize("special_tokens", [[""], ["<a>", "<a>"]])
def test_special_tokens_that_cannot_be(special_tokens: list[str]) -> None:
    with pytest.raises(SpecialTokenError):
        Tokenizer.train_from_iterator(["text"], 300, special_tokens=special_tokens)


@pytest.mark.parametrize("special_tokens", [SPECIAL, b"x", [b"x"], [3]])
def test_special_tokens_of_wrong_type(special_tokens: list[str]) -> None:
    with pytest.raises(TypeError, match="special_tokens"):
        Tokenizer.train_from_iterator(["text"], 300, special_tokens=special_tokens)


@pytest.mark.fault("V6")
@pytest.mark.parametrize("pattern", ["(", "[", "(?P<x", r"\p{Nope}"])
def test_pattern_that_is_no_regex(pattern: str) -> None:
    with pytest.raises(PatternError):
        Tokenizer.train_from_iterator(["text"], 300, pattern=pattern)


def test_unknown_tie_break() -> None:
    with pytest.raises(ValueError, match="tie_break"):
        Tokenizer.train_from_iterator(["text"], 300, tie_break="random")  # type: ignore[arg-type]


@pytest.mark.parametrize("num_threads", [0, -1])
def test_num_threads_too_small(num_threads: int) -> None:
    with pytest.raises(ValueError, match="num_threads"):
        Tokenizer.train_from_iterator(["text"], 300, num_threads=num_threads)


def test_no_files() -> None:
    with pytest.raises(TrainingError, match="no file"):
        Tokenizer.train([], 300)


@pytest.mark.fault("T11")
def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Tokenizer.train(tmp_path / "missing.txt", 300)
    assert str(caught.value.filename).endswith("missing.txt")


@pytest.mark.fault("T11")
def test_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Tokenizer.train(tmp_path, 300)


def test_one_string_is_no_iterable_of_texts() -> None:
    with pytest.raises(TypeError, match="list of texts"):
        Tokenizer.train_from_iterator("one text", 300)


@pytest.mark.fault("T10")
@pytest.mark.parametrize("item", [None, 3, ["nested"]])
def test_item_of_wrong_type(item: object) -> None:
    with pytest.raises(TypeError, match="1"):
        Tokenizer.train_from_iterator(["fine", item], 300)  # type: ignore[list-item]


@pytest.mark.fault("T10")
def test_iterator_that_raises() -> None:
    def texts() -> Iterator[str]:
        yield "fine"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        Tokenizer.train_from_iterator(texts(), 300)


# --- Long pieces and memory ---------------------------------------------------------------------------------


@pytest.mark.fault("T3")
def test_a_very_long_piece_is_named(tmp_path: Path) -> None:
    path = tmp_path / "base64.txt"
    path.write_text("zz" + "ab" * 50_000 + " and text")
    counts = WordCounts.from_files(path)
    for train in (
        lambda: Tokenizer.train(path, 260),
        lambda: Tokenizer.train_from_iterator([path.read_bytes()], 260),
        lambda: Tokenizer.train_from_counts(counts, vocab_size=260),
    ):
        with pytest.warns(TinyBPEWarning, match="has 100002 bytes: `zzabab") as caught:
            train()
        assert [warning.filename for warning in caught] == [__file__]


def test_pieces_up_to_the_limit_pass_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    Tokenizer.train_from_iterator(["a" * 2**16], 260)
    assert not recwarn.list
    Tokenizer.train_from_iterator(["a" * (2**16 + 1)], 260)
    assert len(recwarn.list) == 1


@pytest.mark.fault("T12")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_max_memory_refuses_text_of_too_many_words(tmp_path: Path, num_threads: int) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text(" ".join(map(str, range(200_000))))
    longer = [f"{number:020}" for number in range(20_000)]
    for limit in (1, 1_000_000, "1MB", "0.5 MiB"):
        with pytest.raises(TrainingError, match="max_memory") as caught:
            Tokenizer.train(path, 300, num_threads=num_threads, max_memory=limit)
        assert caught.match(r"over \d+ bytes")
        with pytest.raises(TrainingError, match="max_memory"):
            WordCounts.from_iterator(longer, num_threads=num_threads, max_memory=limit)
    unlimited = Tokenizer.train(path, 300, num_threads=num_threads)
    assert Tokenizer.train(path, 300, num_threads=num_threads, max_memory="1GB") == unlimited
    assert Tokenizer.train(path, 300, num_threads=num_threads, max_memory=10**30) == unlimited


@pytest.mark.parametrize("max_memory", [0, -1, "", "GB", "2 XB", "-2GB", "0B", "1e9", "2GBs"])
def test_max_memory_that_is_no_amount(max_memory: int | str) -> None:
    with pytest.raises(ValueError, match="max_memory"):
        Tokenizer.train_from_iterator(["text"], 300, max_memory=max_memory)


@pytest.mark.parametrize("max_memory", [2.0, True, b"2GB"])
def test_max_memory_of_wrong_type(max_memory: int) -> None:
    with pytest.raises(TypeError, match="max_memory"):
        Tokenizer.train_from_iterator(["text"], 300, max_memory=max_memory)
