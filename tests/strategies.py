"""What Hypothesis draws for the tokenizer: texts that make ties, runs, odd splits and broken UTF-8 common."""

from __future__ import annotations

import pickle
import random

from hypothesis import strategies as st
from tinybpe import Tokenizer
from tinybpe.reference import PATTERNS as NAMED
from tinybpe.reference import ReferenceTokenizer, TieBreak

EMPTY_MATCHES = r"b*"
# Custom ones: with gaps between matches, with empty matches, and with look-ahead.
CUSTOM_PATTERNS = [r"\p{L}+|[0-9]{1,2}", EMPTY_MATCHES, r"[a-z]+(?=\s)|\s+|[^\s]"]
PATTERNS = [*NAMED, *CUSTOM_PATTERNS]
TIE_BREAKS: list[TieBreak] = ["bytes", "huggingface"]

# Special tokens that overlap, touch, start each other, and hold spaces, newlines or more than ASCII.
SPECIAL_TOKENS = ["<|endoftext|>", "<|a|>", "<|a|>b", "|>", "><", "b a", "\n\n", "é<", "\U0001f642", "aa"]

# The core has the classes of Unicode 16 and the reference those of its `regex` package, so texts keep to
# characters that Python's own, older tables know; U+0295 changed its class since.
characters = st.characters(exclude_categories=["Cn", "Cs"], exclude_characters="\u0295")

_LETTERS = list("'sStTdDmMlLvVrReE0123aBcé\u0301ſǅʰªΣσ漢字あア/_.,-\u00bd\u0663\U0001f44d")
_SPACES = list(" \n\r\t\v\u0085\u00a0\u2003\u3000\u200d")
_GROUPS = ["'ll", "'ve", "'re", "'S", "'ſ", "  ", "\r\n", "e\u0301", "\U0001f469\u200d\U0001f4bb", "<|a|>"]
_tricky = st.sampled_from([*_LETTERS, *_SPACES, *_GROUPS])
_fragments = st.sampled_from([*SPECIAL_TOKENS, "<|", "<|a", "<|endo", "b", " ", "a", "<", "low", " é", "\n"])

texts = st.one_of(
    st.text(alphabet="ab", max_size=60),
    st.text(alphabet="ab '\n", max_size=60),
    st.lists(_tricky, max_size=40).map("".join),
    st.lists(_fragments, max_size=20).map("".join),
    st.text(alphabet=characters, max_size=40),
    st.tuples(characters, st.integers(1, 300), st.text(alphabet="a \n", max_size=3)).map(
        lambda t: t[0] * t[1] + t[2]
    ),
)

_UNASSIGNED = ["\u0378", "\ufdd0", "\uffff", "\U0001fffe", "\U000e0fff", "\U0010ffff"]
_ODD = [
    *_LETTERS,
    *_SPACES * 2,
    *_GROUPS * 2,
    *_UNASSIGNED,
    *"'\u02b0\u0301\u0e31\u0903\u20dd\ufe0f\u200b\ufeff\u1680\u2028\u2167\u0966\u2460\U0001d7d8\ud55c\U00020000",
    "'ſ'LL",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f",
    "\U0001f1e6\U0001f1f9",
    "123456",
    "ZeroOne",
    "\n\n ",
]


def adversarial_texts(number: int) -> list[str]:
    """Texts of what patterns treat in ways of their own, the same in each run, more than Hypothesis draws."""
    chance = random.Random(number)
    return ["".join(chance.choices(_ODD, k=chance.randrange(1, 16))) for _ in range(number)]


byte_texts = st.one_of(
    st.binary(max_size=60),
    texts.map(str.encode),
    st.lists(st.one_of(texts.map(str.encode), st.binary(min_size=1, max_size=3)), max_size=6).map(b"".join),
    st.tuples(texts, st.integers(0, 4)).map(lambda t: t[0].encode()[t[1] :]),
    st.tuples(texts, st.integers(1, 4)).map(lambda t: t[0].encode()[: -t[1]]),
)

special_token_lists = st.lists(st.sampled_from(SPECIAL_TOKENS), unique=True, max_size=4)

corpora = st.lists(st.one_of(texts, byte_texts), max_size=8)


@st.composite
def tokenizers(draw: st.DrawFn) -> tuple[Tokenizer, ReferenceTokenizer]:
    """A tokenizer with learnt merges and the reference of the same parts."""
    corpus = draw(corpora)
    specials = draw(special_token_lists)
    pattern = draw(st.sampled_from(PATTERNS))
    tie_break = draw(st.sampled_from(TIE_BREAKS))
    size = 256 + len(specials) + draw(st.integers(0, 60))
    reference = ReferenceTokenizer.train(corpus, size, specials, pattern, tie_break)
    tokenizer = Tokenizer.from_vocab(reference.vocab, reference.merges, specials, pattern)
    return tokenizer, reference


def copy_of(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that went through pickle, with nothing shared."""
    copied = pickle.loads(pickle.dumps(tokenizer))
    assert isinstance(copied, Tokenizer)
    return copied
