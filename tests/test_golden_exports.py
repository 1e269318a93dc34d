"""What `Tokenizer.save` writes loads in other libraries as it is, with equal ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers as hf
from conftest import shared_file
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts
from tinybpe import Tokenizer
from tinybpe.errors import VocabError
from tinybpe.export import PROBES, check_ids, export
from tinybpe.reference import PATTERNS, TieBreak

SPECIAL = "<|endoftext|>"
SPECIALS = [SPECIAL, "<|user|>", "<|user|>x"]


@pytest.fixture(scope="module")
def saved(stories: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, Path]]:
    """A tokenizer for each pattern, and where it is saved."""
    made = {}
    for pattern in PATTERNS:
        tokenizer = Tokenizer.train_from_iterator([stories], 500, special_tokens=SPECIALS, pattern=pattern)
        folder = tmp_path_factory.mktemp(pattern)
        tokenizer.save(folder)
        made[pattern] = (tokenizer, folder)
    return made


@pytest.mark.fault("S5")
@given(text=texts, pattern=st.sampled_from(list(PATTERNS)))
def test_tokenizers_gives_equal_ids(
    saved: dict[str, tuple[Tokenizer, Path]], text: str, pattern: str
) -> None:
    tokenizer, folder = saved[pattern]
    loaded = loaded_once(folder)
    ids = tokenizer.encode(text, allowed_special="all")
    assert loaded.encode(text).ids == ids
    assert loaded.decode(ids, skip_special_tokens=False) == text


_loaded: dict[Path, hf.Tokenizer] = {}


def loaded_once(folder: Path) -> hf.Tokenizer:
    if folder not in _loaded:
        _loaded[folder] = hf.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return _loaded[folder]


@pytest.mark.fault("S5")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_transformers_gives_equal_ids(
    saved: dict[str, tuple[Tokenizer, Path]], stories: str, pattern: str
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer, folder = saved[pattern]
    loaded = transformers.AutoTokenizer.from_pretrained(str(folder))
    for text in (stories, *PROBES, "x".join(SPECIALS)):
        ids = tokenizer.encode(text, allowed_special="all")
        assert loaded.encode(text, add_special_tokens=False) == ids
        assert loaded.decode(ids) == text
    assert loaded.eos_token == SPECIAL
    assert len(loaded) == tokenizer.vocab_size


@pytest.mark.fault("S5")
@pytest.mark.parametrize("tie_break", ["bytes", "huggingface"])
@pytest.mark.parametrize("to", ["hf", "gpt2", "tiktoken"])
def test_export(stories: str, tmp_path: Path, to: str, tie_break: TieBreak) -> None:
    tokenizer = Tokenizer.train_from_iterator(
        [stories],
        700,
        special_tokens=[SPECIAL],
        tie_break=tie_break,
    )
    assert export(tokenizer, to, tmp_path / "out") == ("tiktoken" if to == "tiktoken" else "tokenizers")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_of_gpt2(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_gpt2(
        shared_file("gpt2_vocab.json"), shared_file("gpt2_merges.txt"), special_tokens=[SPECIAL]
    )
    for to in ("hf", "gpt2", "tiktoken"):
        assert export(tokenizer, to, tmp_path / to) is not None
    assert (tmp_path / "tiktoken").read_bytes() == shared_file("vocabs/r50k_base.tiktoken").read_bytes()


@pytest.mark.fault("S5")
def test_other_ids_are_an_error(stories: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([stories], 500)
    check_ids(tokenizer, "ours", tokenizer.encode)
    with pytest.raises(VocabError, match="theirs gives other ids"):
        check_ids(tokenizer, "theirs", lambda text: list(text.encode()))
